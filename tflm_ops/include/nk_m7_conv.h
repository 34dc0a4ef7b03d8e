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
  int32_t input_offset;
  nk_output_stage stage;

  // Made by nk_m7_conv_lay_out(), filled in by the operator; [out_channels] each.
  nk_m7_row *rows;
  /** For levels that have no counts of their own. */
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
 * Whether the short requantisation is exact for any sum of `weights` products (docs/kernels.md).
 * right: the shift to the right.
 */
static inline bool nk_m7_is_short(const nk_output_stage *stage, int32_t bias, int32_t multiplier,
                                  int32_t right, int32_t weights) {
  const int32_t room = (1 << 30) - 1 - weights * (128 * 128);
  return stage->min == -128 && stage->max == 127 && multiplier >= 0 && nk_in_range(right, 1, 22) &&
         nk_in_range(bias, -room, room);
}

/** Fills in a row; `weights` bounds the number of weights of the channel, at most 65535. */
static inline void nk_m7_set_row(nk_m7_row *row, const nk_output_stage *stage, int32_t bias,
                                 int32_t multiplier, int32_t shift, int32_t weights) {
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
  } else if (nk_m7_is_short(stage, bias, multiplier, right, weights)) {
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
