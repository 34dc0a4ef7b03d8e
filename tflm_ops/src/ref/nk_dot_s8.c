#include "nk_arithmetic.h"

int32_t nk_dot_s8(const int8_t *x, const int8_t *w, int32_t count, int32_t input_offset) {
  int32_t acc = 0;
  for (int32_t i = 0; i < count; ++i) {
    acc = nk_wrapping_add(acc, w[i] * (x[i] + input_offset));
  }
  return acc;
}
