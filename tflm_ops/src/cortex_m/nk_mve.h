/** What the kernels for Helium share. */
#ifndef NK_MVE_H_
#define NK_MVE_H_

#include "nk_target.h"

#if NK_USE_MVE

#include <arm_mve.h>
#include <stdint.h>

/** memcpy() of 0 bytes or more, 3 instructions for 16 bytes. */
static inline void nk_mve_copy(int8_t *to, const int8_t *from, int32_t bytes) {
  __asm__ volatile(
      "   wlstp.8 lr, %[bytes], 2f\n"
      "1: vldrb.8 q0, [%[from]], #16\n"
      "   vstrb.8 q0, [%[to]], #16\n"
      "   letp lr, 1b\n"
      "2:\n"
      : [to] "+r"(to), [from] "+r"(from)
      : [bytes] "r"(bytes)
      : "q0", "lr", "memory");
}

/** memset() of 0 bytes or more. */
static inline void nk_mve_fill(int8_t *to, int32_t value, int32_t bytes) {
  __asm__ volatile(
      "   vdup.8 q0, %[value]\n"
      "   wlstp.8 lr, %[bytes], 2f\n"
      "1: vstrb.8 q0, [%[to]], #16\n"
      "   letp lr, 1b\n"
      "2:\n"
      : [to] "+r"(to)
      : [value] "r"(value), [bytes] "r"(bytes)
      : "q0", "lr", "memory");
}

/** Constants of nk_requantize() for each accumulator of a vector. */
typedef struct nk_mve_stage {
  int32x4_t bias;
  int32x4_t multiplier;
  int32x4_t shift;
} nk_mve_stage;

/** The constants of four neighbouring channels. */
static inline nk_mve_stage nk_mve_stage_of(const int32_t *bias, const int32_t *multiplier,
                                           const int8_t *shift) {
  const nk_mve_stage stage = {vldrwq_s32(bias), vldrwq_s32(multiplier), vldrbq_s32(shift)};
  return stage;
}

/**
 * nk_requantize() of three vectors of accumulators, up to the output's offset and the clamping.
 * Step by step, because Helium has eight registers for vectors.
 */
static inline void nk_mve_scale_three(const nk_mve_stage *stage, int32x4_t *a, int32x4_t *b,
                                      int32x4_t *c) {
  const int32x4_t left = vmaxq_s32(stage->shift, vdupq_n_s32(0));
  const int32x4_t x = vqrdmulhq_s32(vshlq_s32(vaddq_s32(*a, stage->bias), left), stage->multiplier);
  const int32x4_t y = vqrdmulhq_s32(vshlq_s32(vaddq_s32(*b, stage->bias), left), stage->multiplier);
  const int32x4_t z = vqrdmulhq_s32(vshlq_s32(vaddq_s32(*c, stage->bias), left), stage->multiplier);
  // VRSHL rounds halves up; a negative number with a shift becomes smaller by one before.
  const int32x4_t right = vminq_s32(stage->shift, vdupq_n_s32(0));
  *a = vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
  *b = vrshlq_s32(vqaddq_s32(y, vshrq_n_s32(vandq_s32(y, right), 31)), right);
  *c = vrshlq_s32(vqaddq_s32(z, vshrq_n_s32(vandq_s32(z, right), 31)), right);
}

/** The outputs: with their offset, between min and max. */
static inline int32x4_t nk_mve_clamp(int32x4_t acc, int32_t offset, int32x4_t min, int32x4_t max) {
  return vminq_s32(vmaxq_s32(vaddq_n_s32(acc, offset), min), max);
}

#endif  // NK_USE_MVE

#endif  // NK_MVE_H_
