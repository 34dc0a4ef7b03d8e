/** The convolution for Cortex-M7: tiles over an image. */
#ifndef NK_DSP_CONV_H_
#define NK_DSP_CONV_H_

#include <stdbool.h>

#include "../../include/nk_ops.h"
#include "../../include/nk_stream.h"
#include "nk_dsp_tile.h"

/** Takes the outputs of a tile of so many pixels to their place. */
typedef struct nk_dsp_sink nk_dsp_sink;
struct nk_dsp_sink {
  void (*take)(const nk_dsp_sink *sink, int8_t *output, int32_t pixels);
  /** The pixels have the distance that they have in the output. */
  int8_t *tile;
};

/** The sink of nk_nested_conv2d_add_s8(): adds the elements of another tensor. Every sink is the
 * begin of an adder. */
typedef struct nk_dsp_adder {
  nk_dsp_sink sink;
  const nk_add_params *sum;
  const int8_t *other;
  const int8_t *output;
  /** Of each pixel of a tile. A kernel that runs the layer in blocks of channels makes a copy with
   * those of a block. */
  int32_t channels;
  /** From pixel to pixel. */
  int32_t step;
} nk_dsp_adder;

/** A sink for tiles of some channels alone, which lies in `copy`; NULL for NULL. */
static inline const nk_dsp_sink *nk_dsp_sink_of_block(const nk_dsp_sink *sink, int32_t channels,
                                                      nk_dsp_adder *copy) {
  if (sink == NULL) {
    return NULL;
  }
  *copy = *(const nk_dsp_adder *)(const void *)sink;
  copy->channels = channels;
  return &copy->sink;
}

/** Bytes of the outputs of a tile, rounded up to 4. */
static inline int32_t nk_dsp_sink_bytes(int32_t output_channels) {
  return (2 * NK_DSP_MAX_PAIRS * output_channels + 3) / 4 * 4;
}

typedef struct nk_dsp_conv nk_dsp_conv;

/** Such as nk_dsp_chain_make(). */
typedef bool nk_dsp_chain_maker(const nk_dsp_conv *conv);

/** A convolution or depthwise convolution of dilation 1, and its working memory. */
struct nk_dsp_conv {
  // Set by the operator, before nk_dsp_conv_lay_out().
  int32_t batches, input_h, input_w, output_h, output_w;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
  int32_t in_channels, out_channels;
  /** From pixel to pixel of the output, in bytes. */
  int32_t output_step;
  /** Output channels per input channel; 0 where every output channel sees all input channels. */
  int32_t depth_multiplier;
  int32_t input_offset;
  nk_output_stage stage;
  /** The weights of `level` and of all levels below. */
  const nk_stream *stream;
  int32_t level;
  /** NULL: the tiles write their outputs themselves. Not for a depthwise convolution. */
  const nk_dsp_sink *sink;

  /** NULL: without chains. */
  nk_dsp_chain_maker *make_chain;

  // Private.
  uint32_t *list;
  /** Of the list; the operator may raise it if there is more memory behind the scratch. */
  int32_t list_bytes;
  /** Pairs of the tiles for which the list is made; 0 before the list of a group is made. */
  int32_t list_pairs;
  const int8_t *zero;
  const int8_t **pixels;
  uint8_t *packed;
  /** Input channels packed together, at most and now; the first of those; packed rows that fit. */
  int32_t group, present, first, capacity;
  /** Bytes between packed channels, filter columns and rows. */
  int32_t channel_step, column_step, row_step;
};

/**
 * Returns the bytes of scratch that the layer needs, equal on every target. If scratch is not NULL,
 * divides up the scratch, which must be 4-byte aligned.
 */
int32_t nk_dsp_conv_lay_out(nk_dsp_conv *conv, uint8_t *scratch);

/**
 * The largest magnitude of a bias for which the short requantisation is exact with any inputs
 * (docs/kernels.md); less than 0 if the short requantisation is never exact. channel_weights: as in
 * nk_stream.
 */
static inline int32_t nk_dsp_largest_bias(const nk_output_stage *stage, int32_t channel_weights) {
  return stage->min == -128 && stage->max == 127 ? (1 << 30) - 1 - channel_weights * (128 * 128)
                                                 : -1;
}

/** Whether the short requantisation of a channel is exact; largest_bias: see above. */
static inline bool nk_dsp_is_short(int32_t largest_bias, int32_t bias, int32_t multiplier,
                                   int32_t shift) {
  return nk_in_range(bias, -largest_bias, largest_bias) && multiplier >= 0 &&
         nk_in_range(shift, -22, -1);
}

/** Fills in an output channel whose requantisation is short. */
static inline void nk_dsp_set_channel(nk_dsp_channel *channel, int32_t output_offset, int32_t bias,
                                      int32_t multiplier, int32_t shift) {
  channel->even = 2 * bias - (1 << 23);
  channel->odd = 2 * bias - (1 << 24);
  channel->multiplier = multiplier;
  channel->half = (1 << (-shift - 1)) + output_offset * (1 << -shift);
  channel->shift = -shift;
}

/** Runs the layer. */
void nk_dsp_conv_run(nk_dsp_conv *conv, const int8_t *input, int8_t *output);

#endif  // NK_DSP_CONV_H_
