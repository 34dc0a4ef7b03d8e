#include "../ref/nk_arithmetic.h"
#include "nk_depthwise.h"

/** Channels of a dense filter. */
typedef struct dense_source {
  nk_depthwise_source base;
  const nk_depthwise_conv2d_params *params;
} dense_source;

static void fetch(nk_depthwise_source *source, int32_t index, nk_depthwise_channel *channel) {
  const nk_depthwise_conv2d_params *p = ((const dense_source *)source)->params;
  const int32_t size = p->filter_dims.h * p->filter_dims.w;
  const int8_t *weights = p->filter + index * size;
  int32_t sum = 0;
  for (int32_t i = 0; i < size; ++i) {
    sum += weights[i];
  }
  channel->weights = weights;
  channel->folded_bias = nk_wrapping_add(p->bias[index], p->input_offset * sum);
  channel->multiplier = p->multiplier[index];
  channel->shift = p->shift[index];
}

void nk_depthwise_conv2d_s8_dsp(const nk_depthwise_conv2d_params *params,
                                const nk_dims4 *input_dims, const int8_t *input,
                                const nk_dims4 *output_dims, int8_t *output) {
  const nk_depthwise_layer layer = {
      .y = {input_dims->h, output_dims->h, params->filter_dims.h, params->stride_h,
            params->dilation_h, params->pad_top},
      .x = {input_dims->w, output_dims->w, params->filter_dims.w, params->stride_w,
            params->dilation_w, params->pad_left},
      .batches = input_dims->n,
      .in_channels = input_dims->c,
      .depth_multiplier = params->depth_multiplier,
      .input_offset = params->input_offset,
      .stage = {params->output_offset, params->activation_min, params->activation_max},
  };
  dense_source source = {{fetch}, params};
  _Alignas(4) int16_t values[NK_DEPTHWISE_TILE_VALUES];
  nk_depthwise_s8_dsp(&layer, &source.base, input, output, values);
}
