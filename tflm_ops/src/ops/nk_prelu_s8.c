#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_elementwise.h"

static bool params_are_valid(const nk_prelu_params *p) {
  return nk_is_input_offset(p->input_offset) && nk_is_input_offset(p->alpha_offset) &&
         nk_is_output_offset(p->output_offset) &&
         nk_is_multiplier(p->positive_multiplier, p->positive_shift) &&
         nk_is_multiplier(p->negative_multiplier, p->negative_shift);
}

nk_status nk_prelu_s8(const nk_prelu_params *params, const nk_dims4 *input_dims,
                      const int8_t *input, const nk_dims4 *alpha_dims, const int8_t *alpha,
                      const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || alpha_dims == NULL ||
      alpha == NULL || output_dims == NULL || output == NULL || !params_are_valid(params)) {
    return NK_ERROR_ARGUMENT;
  }
  if (!nk_broadcasts(input_dims, alpha_dims, output_dims)) {
    return NK_ERROR_SHAPE;
  }
  const nk_output_stage stage = {params->output_offset, INT8_MIN, INT8_MAX};
  const nk_dims4 input_step = nk_broadcast_strides(input_dims);
  const nk_dims4 alpha_step = nk_broadcast_strides(alpha_dims);
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t h = 0; h < output_dims->h; ++h) {
      for (int32_t w = 0; w < output_dims->w; ++w) {
        const int8_t *x = input + n * input_step.n + h * input_step.h + w * input_step.w;
        const int8_t *a = alpha + n * alpha_step.n + h * alpha_step.h + w * alpha_step.w;
        for (int32_t c = 0; c < output_dims->c; ++c) {
          const int32_t value = x[c * input_step.c] + params->input_offset;
          const int32_t slope = a[c * alpha_step.c] + params->alpha_offset;
          *output++ = value >= 0 ? nk_requantize(value, params->positive_multiplier,
                                                 params->positive_shift, &stage)
                                 : nk_requantize(value * slope, params->negative_multiplier,
                                                 params->negative_shift, &stage);
        }
      }
    }
  }
  return NK_OK;
}
