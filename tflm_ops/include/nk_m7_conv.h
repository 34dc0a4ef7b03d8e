/** The convolution for Cortex-M7: tiles over an image. */
#ifndef NK_M7_CONV_H_
#define NK_M7_CONV_H_

#include <stdbool.h>

#include "nk_format.h"
#include "nk_m7_tile.h"

/** A convolution or depthwise convolution of dilation 1, and its working memory. */
typedef struct nk_m7_conv {
  // Set by the operator, before nk_m7_conv_lay_out().
  int32_t batches, input_h, input_w, output_h, output_w;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
  int32_t in_channels, out_channels;
  /** Output channels per input channel; 0 where every output channel sees all input channels. */
  int32_t depth_multiplier;
  int32_t block_size;
  /** Segments that there may be. */
  int32_t levels;
  int32_t input_offset;
  nk_output_stage stage;

  // Made by nk_m7_conv_lay_out(), filled in by the operator.
  /** [out_channels] */
  nk_m7_row *rows;
  /** [levels][out_channels], for the segments. */
  uint16_t *counts;
  /** The levels, see nk_m7_conv_add_segment(). */
  int32_t segment_count;
  nk_m7_segment segments[NK_STREAM_MAX_LEVELS];

  // Private.
  nk_m7_segment present[NK_STREAM_MAX_LEVELS];
  const int8_t *zero;
  const int8_t **pixels;
  uint8_t *packed;
  /** Input channels packed together; packed rows that there is room for. */
  int32_t group, capacity;
  /** Bytes between packed channels, filter columns and rows. */
  int32_t channel_step, column_step, row_step;
} nk_m7_conv;

/**
 * Returns the bytes of scratch that the layer needs, the same on every target; where scratch is not
 * NULL, divides it up. It must be 4-byte aligned.
 */
int32_t nk_m7_conv_lay_out(nk_m7_conv *conv, uint8_t *scratch);

/**
 * How far a bias may be from 0 for the short requantisation to be exact, whatever the inputs
 * (docs/kernels.md); less than 0 where it never is. channel_weights: as in nk_stream.
 */
static inline int32_t nk_m7_largest_bias(const nk_output_stage *stage, int32_t channel_weights) {
  return stage->min == -128 && stage->max == 127 ? (1 << 30) - 1 - channel_weights * (128 * 128)
                                                 : -1;
}

/** Fills in a row; largest_bias: see above; weights: at least as many as the channel has. */
static inline void nk_m7_set_row(nk_m7_row *row, const nk_output_stage *stage, int32_t largest_bias,
                                 int32_t bias, int32_t multiplier, int32_t shift, int32_t weights) {
  const int32_t right = -shift;
  row->multiplier = multiplier;
  row->shift = right;
  row->next = 0;
  if (weights == 0) {
    // A constant, whatever the range of the tables.
    row->even = -(1 << 23);
    row->odd = -(1 << 24);
    row->multiplier = 0;
    row->half = 2 * nk_requantize(bias, multiplier, shift, stage);
    row->shift = 1;
    row->flags = 0;
  } else if (nk_in_range(bias, -largest_bias, largest_bias) && multiplier >= 0 &&
             nk_in_range(right, 1, 22)) {
    row->even = 2 * bias - (1 << 23);
    row->odd = 2 * bias - (1 << 24);
    row->half = (1 << (right - 1)) + stage->offset * (1 << right);
    row->flags = weights > NK_M7_SPAN ? NK_M7_ROW_LONG : 0;
  } else {
    row->even = bias;
    row->flags = NK_M7_ROW_EXACT;
  }
}

/**
 * Adds a level. At most NK_STREAM_MAX_LEVELS; at least one.
 *
 * - stream: its records, or its weights for NK_M7_LOOP_DENSE.
 * - counts: entries of each output channel.
 * - loop: one of NK_M7_LOOP_*.
 */
void nk_m7_conv_add_segment(nk_m7_conv *conv, const void *stream, const uint16_t *counts,
                            uint32_t loop);

/** Runs the layer; uses up the segments. */
void nk_m7_conv_run(nk_m7_conv *conv, const int8_t *input, int8_t *output);

#endif  // NK_M7_CONV_H_
