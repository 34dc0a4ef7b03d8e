#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_elementwise.h"

/** The larger element where `larger`, else the smaller. */
static inline nk_status choose(bool larger, const nk_dims4 *input1_dims, const int8_t *input1,
                               const nk_dims4 *input2_dims, const int8_t *input2,
                               const nk_dims4 *output_dims, int8_t *output) {
  if (input1_dims == NULL || input1 == NULL || input2_dims == NULL || input2 == NULL ||
      output_dims == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  if (!nk_broadcasts(input1_dims, input2_dims, output_dims)) {
    return NK_ERROR_SHAPE;
  }
  const nk_dims4 step1 = nk_broadcast_strides(input1_dims);
  const nk_dims4 step2 = nk_broadcast_strides(input2_dims);
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t h = 0; h < output_dims->h; ++h) {
      for (int32_t w = 0; w < output_dims->w; ++w) {
        const int8_t *a = input1 + n * step1.n + h * step1.h + w * step1.w;
        const int8_t *b = input2 + n * step2.n + h * step2.h + w * step2.w;
        for (int32_t c = 0; c < output_dims->c; ++c) {
          const int32_t x = a[c * step1.c];
          const int32_t y = b[c * step2.c];
          *output++ = (int8_t)(larger ? nk_max(x, y) : nk_min(x, y));
        }
      }
    }
  }
  return NK_OK;
}

nk_status nk_maximum_s8(const nk_dims4 *input1_dims, const int8_t *input1,
                        const nk_dims4 *input2_dims, const int8_t *input2,
                        const nk_dims4 *output_dims, int8_t *output) {
  return choose(true, input1_dims, input1, input2_dims, input2, output_dims, output);
}

nk_status nk_minimum_s8(const nk_dims4 *input1_dims, const int8_t *input1,
                        const nk_dims4 *input2_dims, const int8_t *input2,
                        const nk_dims4 *output_dims, int8_t *output) {
  return choose(false, input1_dims, input1, input2_dims, input2, output_dims, output);
}
