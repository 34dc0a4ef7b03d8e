/**
 * An input of the fuzzers that read packed streams: a head of bytes for the rest of the call, then
 * the stream, whose checksums and counts a mutation mends.
 */
#ifndef PACKED_INPUT_H_
#define PACKED_INPUT_H_

#include "fuzz_input.h"

#define FUZZ_HEAD_BYTES 48

/** The head, the stream after it, and the dimensions that the head begins with. */
typedef struct packed_input {
  fuzz_input head;
  const uint8_t *stream;
  size_t stream_size;
} packed_input;

#ifdef __cplusplus
extern "C" {
#endif

/** False where the bytes are too few for a head. */
static inline int split_input(const uint8_t *data, size_t size, packed_input *made) {
  if (size < FUZZ_HEAD_BYTES) {
    return 0;
  }
  made->head.at = data;
  made->head.left = FUZZ_HEAD_BYTES;
  made->stream = data + FUZZ_HEAD_BYTES;
  made->stream_size = size - FUZZ_HEAD_BYTES;
  return 1;
}

/** A dimension: two bytes, so that most are small and all of 1 .. 65535 can be reached. */
static inline int32_t take_dimension(fuzz_input *in) {
  const int32_t low = take_byte(in);
  return low | take_byte(in) << 8;
}

#ifdef __cplusplus
}
#endif

#endif  // PACKED_INPUT_H_
