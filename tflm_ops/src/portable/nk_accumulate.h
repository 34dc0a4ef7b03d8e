/** Sums in registers. */
#ifndef NK_ACCUMULATE_H_
#define NK_ACCUMULATE_H_

#include "../cortex_m/nk_target.h"
#include "../ref/nk_arithmetic.h"

/**
 * *sum += x modulo 2^32. The first Thumb instructions can add to the registers above r7, and do
 * little else with them. There the sums belong, so that the loop has the registers below for the
 * rest. A compiler keeps sums below, and moves pointers up and down.
 */
static NK_ALWAYS_INLINE void nk_accumulate_wrapping(int32_t *sum, int32_t x) {
#if NK_USE_THUMB1 && defined(__GNUC__) && defined(__thumb__)
  __asm__("add %0, %1" : "+h"(*sum) : "l"(x));
#else
  *sum = nk_wrapping_add(*sum, x);
#endif
}

/** The same for a sum that fits into 32 bits, which compilers make better code of. */
static NK_ALWAYS_INLINE void nk_accumulate(int32_t *sum, int32_t x) {
#if NK_USE_THUMB1
  nk_accumulate_wrapping(sum, x);
#else
  *sum += x;
#endif
}

#endif  // NK_ACCUMULATE_H_
