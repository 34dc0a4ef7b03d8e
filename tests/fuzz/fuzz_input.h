/**
 * Takes the parameters of a call from a fuzzer's bytes, one after the other; zeros follow the last
 * byte, so that every input of a fuzzer is a whole call.
 */
#ifndef FUZZ_INPUT_H_
#define FUZZ_INPUT_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes that are not taken yet. */
typedef struct fuzz_input {
  const uint8_t *at;
  size_t left;
} fuzz_input;

static inline uint8_t take_byte(fuzz_input *in) {
  if (in->left == 0) {
    return 0;
  }
  --in->left;
  return *in->at++;
}

/** Any int32. */
static inline int32_t take_int32(fuzz_input *in) {
  uint32_t value = 0;
  for (int32_t i = 0; i < 4; ++i) {
    value |= (uint32_t)take_byte(in) << 8 * i;
  }
  return (int32_t)value;
}

/** low .. low + 255 at most, and never more than `high`. */
static inline int32_t take_between(fuzz_input *in, int32_t low, int32_t high) {
  return low + take_byte(in) % (high - low + 1);
}

/** low .. high, and for one byte in 16 a number that may be out of range. */
static inline int32_t take_number(fuzz_input *in, int32_t low, int32_t high) {
  static const int32_t kExtremes[] = {INT32_MIN, INT32_MAX, -1, 0, 1, 255, 256, 65535, 65536};
  const uint8_t choice = take_byte(in);
  if (choice < 8) {
    return take_int32(in);
  }
  if (choice < 16) {
    return kExtremes[take_byte(in) % (sizeof(kExtremes) / sizeof(kExtremes[0]))];
  }
  const uint32_t span = (uint32_t)((int64_t)high - low) + 1;
  const uint32_t any = choice * 0x01010101u ^ (span > 128 ? (uint32_t)take_int32(in) : 0);
  return (int32_t)(low + (int64_t)(span == 0 ? any : any % span));
}

/** Stops the fuzzer, which then keeps the input. */
static inline void fuzz_fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  abort();
}

/** A block of just `size` bytes, so that a sanitizer sees every step beyond it. */
static inline void *fuzz_allocate(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) {
    fuzz_fail("out of memory");
  }
  return memory;
}

/** A block of bytes that depend on the input. */
static inline void *take_block(fuzz_input *in, size_t size) {
  uint8_t *memory = (uint8_t *)fuzz_allocate(size);
  uint32_t state = take_byte(in) * 0x9e3779b9u;
  for (size_t i = 0; i < size; ++i) {
    state = state * 1664525u + 1013904223u;
    memory[i] = in->left > 0 ? take_byte(in) : (uint8_t)(state >> 24);
  }
  return memory;
}

#ifdef __cplusplus
}
#endif

#endif  // FUZZ_INPUT_H_
