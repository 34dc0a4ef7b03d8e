#include "nk_depthwise_s8_portable.h"
#include "nk_portable.h"

void nk_depthwise_conv2d_s8_portable(const nk_depthwise_conv2d_params *params,
                                     const nk_dims4 *input_dims, const int8_t *input,
                                     const nk_dims4 *output_dims, int8_t *output) {
  const nk_depthwise_layer layer = {
      .y = {input_dims->h, output_dims->h, params->filter_dims.h, params->stride_h, 1,
            params->pad_top},
      .x = {input_dims->w, output_dims->w, params->filter_dims.w, params->stride_w, 1,
            params->pad_left},
      .batches = input_dims->n,
      .in_channels = input_dims->c,
      .depth_multiplier = params->depth_multiplier,
      .input_offset = params->input_offset,
      .stage = {params->output_offset, params->activation_min, params->activation_max},
  };
  const int32_t size = params->filter_dims.h * params->filter_dims.w;
  int8_t plane[NK_PLANE_BYTES];
  for (int32_t o = 0; o < params->filter_dims.n; ++o) {
    const int8_t *const weights = params->filter + o * size;
    int32_t sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += weights[i];
    }
    const nk_plane_channel channel = {weights,
                                      nk_wrapping_add(params->bias[o], params->input_offset * sum),
                                      params->multiplier[o], params->shift[o]};
    nk_depthwise_s8_portable(&layer, o, &channel, input, output, plane, NK_PLANE_BYTES);
  }
  if (layer.stage.min > INT8_MIN || layer.stage.max < INT8_MAX) {
    nk_clamp_s8(output, nk_dims4_size(output_dims), layer.stage.min, layer.stage.max);
  }
}
