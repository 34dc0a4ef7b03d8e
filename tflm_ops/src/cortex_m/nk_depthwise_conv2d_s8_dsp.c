#include "../ref/nk_arithmetic.h"
#include "nk_depthwise.h"

/** Channels of a dense filter. */
typedef struct dense_source {
  nk_depthwise_source base;
  const nk_depthwise_conv2d_params *params;
  /** Of the channels at hand. */
  int32_t bias[NK_DEPTHWISE_TILE_CHANNELS];
  int8_t shift[NK_DEPTHWISE_TILE_CHANNELS];
} dense_source;

static void fetch(nk_depthwise_source *source, int32_t first, int32_t count,
                  nk_depthwise_tables *tables) {
  dense_source *from = (dense_source *)source;
  const nk_depthwise_conv2d_params *p = from->params;
  const int32_t size = p->filter_dims.h * p->filter_dims.w;
  const int8_t *weights = p->filter + first * size;
  tables->weights = weights;
  for (int32_t c = 0; c < count; ++c) {
    int32_t sum = 0;
    for (int32_t i = size; i > 0; --i, ++weights) {
      sum += *weights;
    }
    from->bias[c] = nk_wrapping_add(p->bias[first + c], p->input_offset * sum);
    from->shift[c] = (int8_t)p->shift[first + c];
  }
  tables->bias = from->bias;
  tables->multiplier = p->multiplier + first;
  tables->shift = from->shift;
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
  dense_source source = {.base = {fetch}, .params = params};
  uint32_t words[NK_DEPTHWISE_TILE_LEAST_PAIRS * NK_DEPTHWISE_PAIR_WORDS];
  nk_depthwise_s8_dsp(&layer, &source.base, input, output, words, NK_DEPTHWISE_TILE_LEAST_PAIRS);
}
