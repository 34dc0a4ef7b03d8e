#include "../ref/nk_arithmetic.h"
#include "nk_short_sum.h"
#include "nk_simd.h"

// The loop of fours takes 13 registers: too many without optimisation, which keeps a frame pointer.
#if NK_HAS_SIMD32 && defined(__OPTIMIZE__)
#define USE_FOURS 1
#else
#define USE_FOURS 0
#endif

#if USE_FOURS

// clang-format off

// SMLAW multiplies by a half of a word; the upper bytes of both halves hold operands, the lower bytes
// are zero. EVEN takes the bytes 0 and 2 of a word, ODD the bytes 1 and 3.
#define EVEN(to, word) "and %[" #to "], %[mask], %[" #word "], lsl #8\n\t"
#define ODD(word) "and %[" #word "], %[mask], %[" #word "]\n\t"
#define MAC(half, to, factor, word, addend) \
  "smlaw" #half " %[" #to "], %[" #factor "], %[" #word "], %[" #addend "]\n\t"
#define SATURATE(x) "ssat %[" #x "], #8, %[" #x "], asr #20\n\t"
_Static_assert(NK_SHORT_SUM_BITS == 20 && NK_SHORT_SUM_FACTOR_BITS == 8, "as above");

/**
 * Adds four pairs at a time, in 14 modelled cycles; `fours` is at least 1. No word is read behind the
 * operands.
 */
static NK_NOINLINE void sum_fours(const nk_add_params *p, const int8_t *a, const int8_t *b,
                                  int8_t *y, int32_t fours) {
  const uint32_t mask = 0xff00ff00;
  const int8_t *end = a + 4 * fours;
  int32_t wa, wb, y0, y1, y2;
  __asm__ volatile("ldr %[wa], [%[a]], #4\n\t"
                   "ldr %[wb], [%[b]], #4\n\t"
                   ".balign 4\n"
                   "1:\n\t"
                   EVEN(y1, wa)
                   MAC(b, y0, factor1, y1, constant)
                   MAC(t, y1, factor1, y1, constant)
                   EVEN(y2, wb)
                   ODD(wa)
                   MAC(b, y0, factor2, y2, y0)
                   MAC(t, y1, factor2, y2, y1)
                   "cmp %[a], %[end]\n\t"
                   ODD(wb)
                   MAC(b, y2, factor1, wa, constant)
                   MAC(b, y2, factor2, wb, y2)
                   SATURATE(y1)
                   MAC(t, wa, factor1, wa, constant)
                   SATURATE(y0)
                   "strb %[y0], [%[y]], #4\n\t"
                   SATURATE(y2)
                   MAC(t, y0, factor2, wb, wa)
                   "strb %[y1], [%[y], #-2]\n\t"
                   "it ne\n\t"
                   "ldrne %[wa], [%[a]], #4\n\t"
                   "strb %[y2], [%[y], #-3]\n\t"
                   SATURATE(y0)
                   "strb %[y0], [%[y], #-1]\n\t"
                   "it ne\n\t"
                   "ldrne %[wb], [%[b]], #4\n\t"
                   "bne 1b\n\t"
                   : [wa] "=&r"(wa), [wb] "=&r"(wb), [y0] "=&r"(y0), [y1] "=&r"(y1),
                     [y2] "=&r"(y2), [a] "+r"(a), [b] "+r"(b), [y] "+r"(y)
                   : [factor1] "r"(p->short_factor1), [factor2] "r"(p->short_factor2),
                     [constant] "r"(p->short_constant), [mask] "r"(mask), [end] "r"(end)
                   : "cc", "memory");
}

// clang-format on

#endif

void nk_short_sum_s8(const nk_add_params *params, const int8_t *a, const int8_t *b, int8_t *y,
                     int32_t count) {
  int32_t done = 0;
#if USE_FOURS
  if (count >= 4 && nk_loads_words_at(a) && nk_loads_words_at(b)) {
    sum_fours(params, a, b, y, count / 4);
    done = count / 4 * 4;
  }
#endif
  for (int32_t i = done; i < count; ++i) {
    y[i] = nk_short_sum_pair(params, a[i], b[i]);
  }
  if (params->activation_min > INT8_MIN || params->activation_max < INT8_MAX) {
    nk_clamp_s8(y, count, params->activation_min, params->activation_max);
  }
}
