/**
 * nk_requantize() in five instructions, for most constants that occur.
 *
 * With a doubled accumulator a2 = 2 * acc and a shift to the right, nk_requantize() computes
 *
 *     high = (a2 * multiplier + 2^31) >> 32                       rounded product
 *     y = (high + 2^(right - 1) - (high < 0 ? 1 : 0)) >> right    halves away from zero
 *
 * plus the output's offset. The offset times 2^right can be added before the shift as well. For a
 * multiplier of at least 2^30, high < 0 where a2 < 0. The exception is acc = -1 with a multiplier
 * of 2^30, where high = 0 and y = 0 either way. So y = SMMLAR(a2, multiplier, constant + (a2 >>
 * 31)) >> right.
 */
#ifndef NK_DOUBLED_H_
#define NK_DOUBLED_H_

#include "../ref/nk_arithmetic.h"
#include "nk_simd.h"

/** The constants of a channel for nk_requantize_doubled(). */
typedef struct nk_doubled_stage {
  int32_t multiplier;
  /** 2^(right - 1) + output offset * 2^right. */
  int32_t constant;
  int32_t right;
} nk_doubled_stage;

/** Whether a multiplier, not negative, is normalised (or zero). */
static inline bool nk_is_fast_multiplier(int32_t multiplier) {
  return multiplier == 0 || multiplier >= 1 << 30;
}

/** shift in -22 .. -1, so that the constant has room beside any product. */
static inline nk_doubled_stage nk_doubled_stage_of(int32_t multiplier, int32_t shift,
                                                   int32_t output_offset) {
  const nk_doubled_stage stage = {
      multiplier,
      (1 << (-shift - 1)) + output_offset * (1 << -shift),
      -shift,
  };
  return stage;
}

/** nk_requantize() of acc2 / 2 with a clamp to -128 .. 127. */
static inline int8_t nk_requantize_doubled(int32_t acc2, const nk_doubled_stage *stage) {
  const int32_t sum = nk_smmlar(acc2, stage->multiplier, stage->constant + (acc2 >> 31));
  return (int8_t)nk_saturate_to_8_bits(sum >> stage->right);
}

/**
 * The same for an output offset of -128, as after a relu, and any multiplier. The term (high < 0 ?
 * 1 : 0) matters for results below zero alone, and all these are clamped to -128.
 */
static inline int8_t nk_requantize_doubled_relu(int32_t acc2, const nk_doubled_stage *stage) {
  const int32_t sum = nk_smmlar(acc2, stage->multiplier, stage->constant);
  return (int8_t)nk_saturate_to_8_bits(sum >> stage->right);
}

#endif  // NK_DOUBLED_H_
