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

/** Fraction bits of the accumulator, and of the factors beyond them. */
#define NK_SHORT_SUM_BITS 20
#define NK_SHORT_SUM_FACTOR_BITS 8

/** Whether the parameters of a sum or a difference hold the short form. */
static inline bool nk_has_short_sum(const nk_add_params *p) {
  return p->short_factor1 != 0 || p->short_factor2 != 0 || p->short_constant != 0;
}

/** Adds `count` pairs; y may be a or b. */
void nk_short_sum(const nk_add_params *params, const int8_t *a, const int8_t *b, int8_t *y,
                  int32_t count);

#endif  // NK_SHORT_SUM_H_
