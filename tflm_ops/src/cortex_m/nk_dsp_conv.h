/** The convolution for Cortex-M7: tiles over an image. */
#ifndef NK_DSP_CONV_H_
#define NK_DSP_CONV_H_

#include <stdbool.h>

#include "../../include/nk_stream.h"
#include "nk_dsp_tile.h"

/** A convolution or depthwise convolution of dilation 1, and its working memory. */
typedef struct nk_dsp_conv {
  // Set by the operator, before nk_dsp_conv_lay_out().
  int32_t batches, input_h, input_w, output_h, output_w;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
  int32_t in_channels, out_channels;
  /** Bytes from pixel to pixel of the output, at least out_channels. */
  int32_t output_step;
  /** Output channels per input channel; 0 where every output channel sees all input channels. */
  int32_t depth_multiplier;
  int32_t input_offset;
  nk_output_stage stage;
  /** The weights of `level` and of all levels below. */
  const nk_stream *stream;
  int32_t level;

  // Made by nk_dsp_conv_lay_out(), filled in by the operator.
  /** [out_channels] */
  nk_dsp_channel *channels;

  // Private.
  uint32_t *lists;
  /** Pairs of the tiles for which the lists are made; 0 before lists are made. */
  int32_t list_pairs;
  const int8_t *zero;
  const int8_t **pixels;
  uint8_t *packed;
  /** Input channels packed together, at most and now; packed rows that fit. */
  int32_t group, present, capacity;
  /** Bytes between packed channels, filter columns and rows. */
  int32_t channel_step, column_step, row_step;
} nk_dsp_conv;

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

/** Fills in an output channel; largest_bias: see above. */
static inline void nk_dsp_set_channel(nk_dsp_channel *channel, const nk_output_stage *stage,
                                      int32_t largest_bias, int32_t bias, int32_t multiplier,
                                      int32_t shift) {
  const int32_t right = -shift;
  channel->multiplier = multiplier;
  channel->shift = right;
  channel->exact = !(nk_in_range(bias, -largest_bias, largest_bias) && multiplier >= 0 &&
                     nk_in_range(right, 1, 22));
  if (channel->exact) {
    channel->even = bias;
  } else {
    channel->even = 2 * bias - (1 << 23);
    channel->odd = 2 * bias - (1 << 24);
    channel->half = (1 << (right - 1)) + stage->offset * (1 << right);
  }
}

/** Fills in an output channel without weights: its outputs are `constant`. */
static inline void nk_dsp_set_constant_channel(nk_dsp_channel *channel, int32_t constant) {
  channel->even = -(1 << 23);
  channel->odd = -(1 << 24);
  channel->multiplier = 0;
  channel->half = 2 * constant;
  channel->shift = 1;
  channel->exact = 0;
}

/** Runs the layer. */
void nk_dsp_conv_run(nk_dsp_conv *conv, const int8_t *input, int8_t *output);

#endif  // NK_DSP_CONV_H_
