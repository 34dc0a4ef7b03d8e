#include "../../include/nk_ops.h"
#include "../cortex_m/nk_short_sum.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_elementwise.h"

nk_status nk_sub_s8(const nk_sub_params *params, const nk_dims4 *input1_dims, const int8_t *input1,
                    const nk_dims4 *input2_dims, const int8_t *input2, const nk_dims4 *output_dims,
                    int8_t *output) {
  if (params == NULL || input1_dims == NULL || input1 == NULL || input2_dims == NULL ||
      input2 == NULL || output_dims == NULL || output == NULL || !nk_add_params_are_valid(params)) {
    return NK_ERROR_ARGUMENT;
  }
  if (!nk_broadcasts(input1_dims, input2_dims, output_dims)) {
    return NK_ERROR_SHAPE;
  }
  const nk_output_stage stage = {params->output_offset, params->activation_min,
                                 params->activation_max};
  const int32_t unit = 1 << params->left_shift;
  const nk_dims4 step1 = nk_broadcast_strides(input1_dims);
  const nk_dims4 step2 = nk_broadcast_strides(input2_dims);
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t h = 0; h < output_dims->h; ++h) {
      for (int32_t w = 0; w < output_dims->w; ++w) {
        const int8_t *a = input1 + n * step1.n + h * step1.h + w * step1.w;
        const int8_t *b = input2 + n * step2.n + h * step2.h + w * step2.w;
        if (nk_has_short_sum(params) && step1.c == 1 && step2.c == 1) {
          nk_short_sum_s8(params, a, b, output, output_dims->c);
          output += output_dims->c;
          continue;
        }
        for (int32_t c = 0; c < output_dims->c; ++c) {
          const int32_t scaled1 =
              nk_multiply_by_quantized_multiplier((a[c * step1.c] + params->input1_offset) * unit,
                                                  params->input1_multiplier, params->input1_shift);
          const int32_t scaled2 =
              nk_multiply_by_quantized_multiplier((b[c * step2.c] + params->input2_offset) * unit,
                                                  params->input2_multiplier, params->input2_shift);
          *output++ = nk_requantize(nk_wrapping_sub(scaled1, scaled2), params->output_multiplier,
                                    params->output_shift, &stage);
        }
      }
    }
  }
  return NK_OK;
}
