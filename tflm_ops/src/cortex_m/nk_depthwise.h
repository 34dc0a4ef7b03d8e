/**
 * The fast kernels behind nk_depthwise_conv2d_s8() and, for depthwise layers, nk_nested_conv_s8().
 * The kernels trust their arguments, which these two functions have checked, and give the same
 * result as the references.
 */
#ifndef NK_DEPTHWISE_H_
#define NK_DEPTHWISE_H_

#include <stdbool.h>
#include <stdint.h>

#include "../../include/nk_nested_conv.h"
#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_depthwise_tile.h"

#ifdef __cplusplus
extern "C" {
#endif

/** nk_depthwise_conv2d_s8_ref() through nk_depthwise_s8_dsp(), which must support the layer. */
void nk_depthwise_conv2d_s8_dsp(const nk_depthwise_conv2d_params *params,
                                const nk_dims4 *input_dims, const int8_t *input,
                                const nk_dims4 *output_dims, int8_t *output);

/** Runs a layer that nk_nested_depthwise_s8_dsp_supports(); `level` is one that the stream has, and
 * `scratch` has the bytes of nk_nested_conv_s8_get_buffer_size(). */
void nk_nested_depthwise_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch);

/** Largest kernel of nk_depthwise_s8_dsp(), in weights. */
#define NK_DEPTHWISE_DSP_MAX_WEIGHTS 25

/** A depthwise layer apart from its weights, with the sizes of its tensors. */
typedef struct nk_depthwise_layer {
  nk_axis y;
  nk_axis x;
  int32_t batches;
  int32_t in_channels;
  /** Output channels per input channel. */
  int32_t depth_multiplier;
  int32_t input_offset;
  nk_output_stage stage;
} nk_depthwise_layer;

/** One output channel. */
typedef struct nk_depthwise_channel {
  /** [kernel_h][kernel_w], at least until the next channel is fetched. */
  const int8_t *weights;
  /** The bias plus input_offset times the sum of the weights. */
  int32_t folded_bias;
  int32_t multiplier;
  int32_t shift;
} nk_depthwise_channel;

/** The source of the channels. */
typedef struct nk_depthwise_source {
  /**
   * Fills in channel `index`. The kernel calls fetch for channel 0, 1, ..., the last, and for a
   * large image several times, from 0 again.
   */
  void (*fetch)(struct nk_depthwise_source *source, int32_t index, nk_depthwise_channel *channel);
} nk_depthwise_source;

/** Whether nk_depthwise_s8_dsp() can run a layer: 3x3 or 5x5, undilated, 1 or 2 columns a step. */
static inline bool nk_depthwise_s8_dsp_supports(const nk_axis *y, const nk_axis *x) {
  return y->kernel == x->kernel && (x->kernel == 3 || x->kernel == 5) && x->stride <= 2 &&
         y->stride <= NK_DEPTHWISE_TILE_ROWS && y->dilation == 1 && x->dilation == 1;
}

/** The axes of a packed stream's layer. */
static inline nk_axis nk_stream_axis_y(const nk_stream *s, const nk_conv_dims *dims) {
  const nk_axis y = {dims->input_h, dims->output_h, s->kernel_h,
                     s->stride_h,   s->dilation_h,  s->pad_top};
  return y;
}

static inline nk_axis nk_stream_axis_x(const nk_stream *s, const nk_conv_dims *dims) {
  const nk_axis x = {dims->input_w, dims->output_w, s->kernel_w,
                     s->stride_w,   s->dilation_w,  s->pad_left};
  return x;
}

/** Whether a packed stream holds a depthwise layer that nk_depthwise_s8_dsp() supports. */
static inline bool nk_nested_depthwise_s8_dsp_supports(const nk_stream *stream,
                                                       const nk_conv_dims *dims) {
  const nk_axis y = nk_stream_axis_y(stream, dims);
  const nk_axis x = nk_stream_axis_x(stream, dims);
  return stream->kind == NK_KIND_DEPTHWISE && nk_depthwise_s8_dsp_supports(&y, &x);
}

/**
 * Runs a supported layer, on cores with the instructions of nk_simd.h; tuned for the Cortex-M7.
 *
 * - values: working memory, [NK_DEPTHWISE_TILE_VALUES] at the start of a word.
 */
void nk_depthwise_s8_dsp(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, int16_t *values);

#ifdef __cplusplus
}
#endif

#endif  // NK_DEPTHWISE_H_
