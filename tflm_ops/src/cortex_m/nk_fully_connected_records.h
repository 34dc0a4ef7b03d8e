/**
 * The loops of a fully connected layer over the records of one output channel. Only
 * nk_fully_connected_s8_dsp.c, which explains the loops, includes this file.
 */
#ifndef NK_FULLY_CONNECTED_RECORDS_H_
#define NK_FULLY_CONNECTED_RECORDS_H_

#include <stdint.h>

#include "../ref/nk_arithmetic.h"
#include "nk_simd.h"

/** A place in the records and a sum. */
typedef struct record_sum {
  const uint8_t *record;
  int32_t sum;
} record_sum;

/**
 * Adds `count` records, at least one, of a delta and one weight to the sum. Two records are one
 * word: 10 instructions in 5 cycles. The products of an iteration are summed up in the next one.
 */
static inline record_sum add_1(const uint8_t *record, int32_t count, const int8_t *x, int32_t sum) {
  const int8_t *at = x;
#if NK_HAS_SIMD32 && NK_USE_UNALIGNED
  int32_t pairs = count >> 1;
  if (pairs > 0) {
    const int8_t *at0;
    uint32_t two, w = 0;
    int32_t v0 = 0, v1 = 0;
    __asm__ volatile(
        "ldr    %[two], [%[p]], #4\n\t"
        "1:\n\t"
        "uxtab  %[at0], %[at1], %[two]\n\t"
        "smlabb %[sum], %[v0], %[w], %[sum]\n\t"
        "uxtab  %[at1], %[at0], %[two], ror #16\n\t"
        "subs   %[n], %[n], #1\n\t"
        "ldrsb  %[v0], [%[at0]]\n\t"
        "smlabt %[sum], %[v1], %[w], %[sum]\n\t"
        "sxtb16 %[w], %[two], ror #8\n\t"
        "ldr    %[two], [%[p]], #4\n\t"
        "ldrsb  %[v1], [%[at1]]\n\t"
        "bne    1b\n\t"
        "smlabb %[sum], %[v0], %[w], %[sum]\n\t"
        "smlabt %[sum], %[v1], %[w], %[sum]"
        : [p] "+r"(record), [n] "+r"(pairs), [at1] "+r"(at), [sum] "+r"(sum), [w] "+r"(w),
          [v0] "+r"(v0), [v1] "+r"(v1), [at0] "=&r"(at0), [two] "=&r"(two)
        :
        : "cc", "memory");
    record -= 4;  // the word that was loaded ahead
    count &= 1;
  }
#endif
  for (; count > 0; --count, record += 2) {
    at += record[0];
    sum = nk_wrapping_add(sum, *at * (int8_t)record[1]);
  }
  return (record_sum){record, sum};
}

/**
 * The same for two weights a record: 10 instructions in 5 cycles. The next delta is loaded ahead,
 * the products of an iteration are summed up in the next one.
 */
static inline record_sum add_2(const uint8_t *record, int32_t count, const int8_t *x, int32_t sum) {
#if NK_HAS_SIMD32
  int32_t delta, w0, w1, v0 = 0, v1 = 0;
  __asm__ volatile(
      "ldrb   %[d], [%[p]]\n\t"
      "mov    %[w0], #0\n\t"
      "mov    %[w1], #0\n\t"
      "1:\n\t"
      "add    %[at], %[at], %[d], lsl #1\n\t"
      "ldrb   %[d], [%[p], #3]!\n\t"
      "smlabb %[sum], %[v0], %[w0], %[sum]\n\t"
      "ldrsb  %[w0], [%[p], #-2]\n\t"
      "smlabb %[sum], %[v1], %[w1], %[sum]\n\t"
      "ldrsb  %[v0], [%[at]]\n\t"
      "ldrsb  %[w1], [%[p], #-1]\n\t"
      "subs   %[n], %[n], #1\n\t"
      "ldrsb  %[v1], [%[at], #1]\n\t"
      "bne    1b\n\t"
      "smlabb %[sum], %[v0], %[w0], %[sum]\n\t"
      "smlabb %[sum], %[v1], %[w1], %[sum]"
      : [p] "+r"(record), [n] "+r"(count), [at] "+r"(x), [sum] "+r"(sum), [v0] "+r"(v0),
        [v1] "+r"(v1), [w0] "=&r"(w0), [w1] "=&r"(w1), [d] "=&r"(delta)
      :
      : "cc", "memory");
#else
  for (; count > 0; --count, record += 3) {
    x += 2 * record[0];
    sum = nk_wrapping_add(sum, x[0] * (int8_t)record[1] + x[1] * (int8_t)record[2]);
  }
#endif
  return (record_sum){record, sum};
}

/**
 * The same for four weights a record, all in one word: 12 instructions in 6 cycles. The next delta
 * is loaded ahead.
 */
static inline record_sum add_4(const uint8_t *record, int32_t count, const int8_t *x, int32_t sum) {
#if NK_HAS_SIMD32 && NK_USE_UNALIGNED
  uint32_t delta, w, v, w02, v02;
  __asm__ volatile(
      "ldrb   %[d], [%[p]]\n\t"
      "1:\n\t"
      "add    %[at], %[at], %[d], lsl #2\n\t"
      "ldr    %[w], [%[p], #1]\n\t"
      "sxtb16 %[w02], %[w]\n\t"
      "ldrb   %[d], [%[p], #5]!\n\t"
      "sxtb16 %[w], %[w], ror #8\n\t"
      "ldr    %[v], [%[at]]\n\t"
      "sxtb16 %[v02], %[v]\n\t"
      "subs   %[n], %[n], #1\n\t"
      "sxtb16 %[v], %[v], ror #8\n\t"
      "smlad  %[sum], %[w02], %[v02], %[sum]\n\t"
      "smlad  %[sum], %[w], %[v], %[sum]\n\t"
      "bne    1b"
      : [p] "+r"(record), [n] "+r"(count), [at] "+r"(x), [sum] "+r"(sum), [d] "=&r"(delta),
        [w] "=&r"(w), [v] "=&r"(v), [w02] "=&r"(w02), [v02] "=&r"(v02)
      :
      : "cc", "memory");
#else
  for (; count > 0; --count, record += 5) {
    x += 4 * record[0];
    const uint32_t w = nk_load_word(record + 1);
    const uint32_t v = nk_load_word(x);
    sum = nk_smlad(nk_sxtb16(w), nk_sxtb16(v), sum);
    sum = nk_smlad(nk_sxtb16_odd(w), nk_sxtb16_odd(v), sum);
  }
#endif
  return (record_sum){record, sum};
}

/** The rare records with 16-bit deltas, of any block size. */
static inline record_sum add_wide(const uint8_t *record, int32_t count, int32_t block_size,
                                  const int8_t *x, int32_t sum) {
  for (; count > 0; --count) {
    x += (record[0] | record[1] << 8) * block_size;
    record += 2;
    for (int32_t i = 0; i < block_size; ++i) {
      sum = nk_wrapping_add(sum, x[i] * (int8_t)*record++);
    }
  }
  return (record_sum){record, sum};
}

#endif  // NK_FULLY_CONNECTED_RECORDS_H_
