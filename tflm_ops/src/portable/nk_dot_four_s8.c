#include "nk_dot_four_s8.h"

#include "nk_accumulate.h"

static NK_ALWAYS_INLINE void dot_four(const int8_t *x, const int8_t *const *w, int32_t count,
                                      int32_t input_offset, int32_t *sums) {
  const int8_t *const w0 = w[0];
  const int8_t *const w1 = w[1];
  const int8_t *const w2 = w[2];
  const int8_t *const w3 = w[3];
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  for (int32_t k = 0; k < count; ++k) {
    const int32_t value = x[k] + input_offset;
    nk_accumulate_wrapping(&s0, w0[k] * value);
    nk_accumulate_wrapping(&s1, w1[k] * value);
    nk_accumulate_wrapping(&s2, w2[k] * value);
    nk_accumulate_wrapping(&s3, w3[k] * value);
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

void nk_dot_four_s8(const int8_t *x, const int8_t *const *w, int32_t count, int32_t input_offset,
                    int32_t *sums) {
  if (input_offset == 0) {
    dot_four(x, w, count, 0, sums);
  } else {
    dot_four(x, w, count, input_offset, sums);
  }
}
