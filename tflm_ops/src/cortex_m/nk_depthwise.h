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
 * `scratch` has nk_nested_depthwise_s8_dsp_get_buffer_size() at the start of a word. */
void nk_nested_depthwise_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch);

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

/** Tables of neighbouring output channels. */
typedef struct nk_depthwise_tables {
  /** [kernel_h][kernel_w] of one channel after the other. */
  const int8_t *weights;
  /** The bias plus input_offset times the sum of the weights. */
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
} nk_depthwise_tables;

/** The source of the channels. */
typedef struct nk_depthwise_source {
  /**
   * Fills in the tables of `count` channels from `first` on, at most NK_DEPTHWISE_TILE_CHANNELS.
   * The tables hold until the next call. The kernel fetches the channels in order, and for a large
   * image several times, from 0 again.
   */
  void (*fetch)(struct nk_depthwise_source *source, int32_t first, int32_t count,
                nk_depthwise_tables *tables);
} nk_depthwise_source;

/** Whether nk_depthwise_s8_dsp() can run a layer of up to 65535 output channels: 3x3 or 5x5,
 * undilated, strides of 1 or 2. */
static inline bool nk_depthwise_s8_dsp_supports(const nk_axis *y, const nk_axis *x) {
  return y->kernel == x->kernel && (x->kernel == 3 || x->kernel == 5) && y->stride <= 2 &&
         x->stride <= 2 && y->dilation == 1 && x->dilation == 1;
}

/** Pairs of rows of a tile for so many rows of outputs. */
static inline int32_t nk_depthwise_pairs(const nk_axis *y, int32_t outputs) {
  return (outputs + 1) / 2 * y->stride + y->kernel / 2;
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

/** Scratch memory of a packed stream's layer: a tile, of the image's height if that is less. The
 * portable kernel takes what the smallest tile has. */
static inline int32_t nk_nested_depthwise_s8_dsp_get_buffer_size(const nk_stream *stream,
                                                                 const nk_conv_dims *dims) {
  const nk_axis y = nk_stream_axis_y(stream, dims);
  const int32_t pairs = nk_clamp(nk_depthwise_pairs(&y, dims->output_h),
                                 NK_DEPTHWISE_TILE_LEAST_PAIRS, NK_DEPTHWISE_TILE_PAIRS);
  return pairs * NK_DEPTHWISE_PAIR_WORDS * (int32_t)sizeof(uint32_t);
}

/**
 * Runs a supported layer, on cores with the instructions of nk_simd.h; tuned for the Cortex-M7.
 *
 * - words: working memory for a tile of `pairs` pairs of rows, NK_DEPTHWISE_PAIR_WORDS each; at
 *   least nk_depthwise_pairs() of an output.
 */
void nk_depthwise_s8_dsp(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, uint32_t *words, int32_t pairs);

#ifdef __cplusplus
}
#endif

#endif  // NK_DEPTHWISE_H_
