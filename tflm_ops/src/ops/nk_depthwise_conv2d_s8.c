#include "../cortex_m/nk_depthwise.h"
#include "../cortex_m/nk_simd.h"
#include "../portable/nk_depthwise_s8_portable.h"
#include "../portable/nk_portable.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "../ref/nk_reference.h"

nk_status nk_depthwise_conv2d_s8(const nk_depthwise_conv2d_params *params,
                                 const nk_dims4 *input_dims, const int8_t *input,
                                 const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || output_dims == NULL ||
      output == NULL || params->filter == NULL || params->bias == NULL ||
      params->multiplier == NULL || params->shift == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  const nk_axis y = {input_dims->h,    output_dims->h,     params->filter_dims.h,
                     params->stride_h, params->dilation_h, params->pad_top};
  const nk_axis x = {input_dims->w,    output_dims->w,     params->filter_dims.w,
                     params->stride_w, params->dilation_w, params->pad_left};
  if (!nk_axis_has_valid_window(&y) || !nk_axis_has_valid_window(&x) ||
      !nk_is_input_offset(params->input_offset) || !nk_is_output_offset(params->output_offset) ||
      !nk_is_activation_range(params->activation_min, params->activation_max)) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_dims4_size(input_dims) == 0 || nk_dims4_size(output_dims) == 0 ||
      nk_dims4_size(&params->filter_dims) == 0 || input_dims->n != output_dims->n ||
      params->filter_dims.c != 1 || output_dims->c != params->filter_dims.n ||
      (int64_t)input_dims->c * params->depth_multiplier != output_dims->c ||
      !nk_axis_has_valid_sizes(&y) || !nk_axis_has_valid_sizes(&x)) {
    return NK_ERROR_SHAPE;
  }
  if (!nk_are_channel_multipliers(params->multiplier, params->shift, params->filter_dims.n)) {
    return NK_ERROR_ARGUMENT;
  }
  const bool is_tuned = nk_has_simd32() ? nk_depthwise_s8_dsp_supports(&y, &x)
                                        : nk_depthwise_s8_portable_supports(&y, &x);
  if (!is_tuned || output_dims->c > UINT16_MAX) {
    nk_depthwise_conv2d_s8_ref(params, input_dims, input, output_dims, output);
  } else if (nk_has_simd32()) {
    nk_depthwise_conv2d_s8_dsp(params, input_dims, input, output_dims, output);
  } else {
    nk_depthwise_conv2d_s8_portable(params, input_dims, input, output_dims, output);
  }
  return NK_OK;
}
