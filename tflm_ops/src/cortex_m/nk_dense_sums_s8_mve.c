/** The sums of dense layers with Helium (docs/kernels_helium.md): 16 inputs and four channels at a
 * time. */
#include "nk_dense_sums_s8_mve.h"

#include "../ref/nk_arithmetic.h"
#include "nk_target.h"

#if NK_USE_MVE

#include <arm_mve.h>

#define CHANNELS 4

/** In the order of the registers of multiply(). */
typedef struct operands {
  const int8_t *x;
  const int8_t *weights[CHANNELS];
  int32_t length;
} operands;

/** The sum of the products of four channels. */
static inline int32x4_t multiply(const operands *of) {
  register const operands *at __asm__("r12") = of;
  int32x4_t sums;
  __asm__ volatile(
      "   ldm %[at], {r1, r3, r5, r9, r11, lr}\n"
      "   mov r0, #0\n"
      "   mov r2, #0\n"
      "   mov r4, #0\n"
      "   mov r6, #0\n"
      "   dlstp.8 lr, lr\n"
      "1: vldrb.8 q0, [r1], #16\n"
      "   vldrb.8 q1, [r3], #16\n"
      "   vmladava.s8 r0, q0, q1\n"
      "   vldrb.8 q2, [r5], #16\n"
      "   vmladava.s8 r2, q0, q2\n"
      "   vldrb.8 q1, [r9], #16\n"
      "   vmladava.s8 r4, q0, q1\n"
      "   vldrb.8 q2, [r11], #16\n"
      "   vmladava.s8 r6, q0, q2\n"
      "   letp lr, 1b\n"
      "   vmov %q[sums][2], %q[sums][0], r0, r4\n"
      "   vmov %q[sums][3], %q[sums][1], r2, r6\n"
      : [at] "+r"(at), [sums] "=&w"(sums)
      :
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r9", "r11", "lr", "q0", "q1", "q2", "memory");
  return sums;
}

/** The sum of the weights of a channel, at least one. */
static inline int32_t add_up(const int8_t *weights, int32_t length) {
  int32_t sum = 0;
  __asm__ volatile(
      "   dlstp.8 lr, %[length]\n"
      "1: vldrb.8 q0, [%[weights]], #16\n"
      "   vaddva.s8 %[sum], q0\n"
      "   letp lr, 1b\n"
      : [weights] "+r"(weights), [sum] "+Te"(sum)
      : [length] "r"(length)
      : "q0", "lr", "memory");
  return sum;
}

void nk_dense_sums_s8_mve(const int8_t *weights, int32_t count, int32_t length, int32_t offset,
                          const int8_t *x, const int32_t *from, int32_t *sums) {
  for (int32_t i = 0; i < count; i += CHANNELS) {
    // Where fewer than four are left, the last one several times.
    const int32_t last = nk_min(count - i, CHANNELS) - 1;
    const int8_t *const w = weights + i * length;
    const operands of = {
        x,
        {w, w + nk_min(1, last) * length, w + nk_min(2, last) * length, w + last * length},
        length};
    const mve_pred16_t present = vctp32q((uint32_t)(count - i));
    vstrwq_p_s32(sums + i, vaddq_s32(multiply(&of), vldrwq_z_s32(from + i, present)), present);
  }
  if (offset != 0) {
    for (int32_t i = 0; i < count; ++i) {
      sums[i] = nk_wrapping_add(sums[i], offset * add_up(weights + i * length, length));
    }
  }
}

#endif  // NK_USE_MVE
