/**
 * A sum of two int8 operands, short enough for the inside of another loop (docs/kernels.md,
 * "Additions").
 *
 *     y = saturate((((factor1 * a) >> 8) + ((factor2 * b) >> 8) + constant) >> 20)
 *
 * A pair of operands has 65536 values, so whether this equals TFLite's formula is known before.
 */
#ifndef NK_SHORT_SUM_H_
#define NK_SHORT_SUM_H_

#include <stdbool.h>
#include <stdint.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "nk_simd.h"

/** Fraction bits of the accumulator, and of the factors beyond them. */
#define NK_SHORT_SUM_BITS 20
#define NK_SHORT_SUM_FACTOR_BITS 8

/** Whether the parameters of a sum or a difference hold the short form. */
static inline bool nk_has_short_sum(const nk_add_params *p) {
  return p->short_factor1 != 0 || p->short_factor2 != 0 || p->short_constant != 0;
}

/** Adds one pair, without the clamp. */
static inline int8_t nk_short_sum_pair(const nk_add_params *p, int8_t a, int8_t b) {
  const int32_t part1 = (int32_t)(((int64_t)p->short_factor1 * a) >> NK_SHORT_SUM_FACTOR_BITS);
  const int32_t part2 = (int32_t)(((int64_t)p->short_factor2 * b) >> NK_SHORT_SUM_FACTOR_BITS);
  const int32_t acc = nk_wrapping_add(nk_wrapping_add(part1, part2), p->short_constant);
  return (int8_t)nk_saturate_to_8_bits(acc >> NK_SHORT_SUM_BITS);
}

/** Adds `count` pairs; y may be a or b. */
void nk_short_sum_s8(const nk_add_params *params, const int8_t *a, const int8_t *b, int8_t *y,
                     int32_t count);

#endif  // NK_SHORT_SUM_H_
