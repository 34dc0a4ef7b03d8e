/** The types that the files of nk_depthwise_s8_dsp() share. */
#ifndef NK_DEPTHWISE_TILE_H_
#define NK_DEPTHWISE_TILE_H_

#include <stdbool.h>
#include <stdint.h>

#include "nk_simd.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A tile holds a part of the image of four neighbouring channels, padding included, as int16. A
 * word holds two rows of a column: [pair of rows][channel][column].
 */
#define NK_DEPTHWISE_TILE_CHANNELS 4
#define NK_DEPTHWISE_TILE_COLUMNS 20
#define NK_DEPTHWISE_TILE_PAIRS 14
#define NK_DEPTHWISE_TILE_LEAST_PAIRS 4
/** Words from a pair of rows to the next. */
#define NK_DEPTHWISE_PAIR_WORDS (NK_DEPTHWISE_TILE_CHANNELS * NK_DEPTHWISE_TILE_COLUMNS)
#define NK_DEPTHWISE_TILE_WORDS (NK_DEPTHWISE_TILE_PAIRS * NK_DEPTHWISE_PAIR_WORDS)
#define NK_DEPTHWISE_TILE_BYTES (NK_DEPTHWISE_TILE_WORDS * (int32_t)sizeof(uint32_t))

/** Largest kernel of nk_depthwise_s8_dsp(), in weights and in pairs. */
#define NK_DEPTHWISE_DSP_MAX_WEIGHTS 25
#define NK_DEPTHWISE_MAX_PAIRS (5 * 4)

/** Some output channels of a tile: two rows of outputs, `runs` + 1 times. */
typedef struct nk_depthwise_run {
  /** Tables of the channels. The kernels move the pointers on, also x and y, and count `channels`
   * down to 0. */
  /** 3x3: [3][3] for each channel. 5x5: the pairs of one channel, doubled, and negated if
   * the multiplier is negative. */
  const void *weights;
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
  /** The first window of the first channel, and the place of its output. */
  const uint32_t *x;
  int8_t *y;
  int32_t channels;
  int32_t output_offset;
  /** 2^8 times the channels from output to output, and 2^24 times (outputs in a row - 1). */
  int32_t columns;
  int32_t runs;
  /** Bytes from a row of outputs to the next, and the same for the last two rows: 0 if there is but
   * one row. */
  int32_t y_second;
  int32_t y_last_second;
  /** Bytes from the end of two rows to the begin of the next two. */
  int32_t x_run;
  int32_t y_run;
  /** Bytes from a window to the next along a row. */
  int32_t x_step;
} nk_depthwise_run;

/** For each column of a kernel the pairs (w0, w1), (w1, w2), ..., down the column, scaled. */
static inline void nk_depthwise_pair_weights(int32_t kernel, const int8_t *weights, int32_t factor,
                                             uint32_t *pairs) {
  for (int32_t column = kernel; column > 0; --column, ++weights, pairs += kernel - 1) {
    const int32_t w1 = factor * weights[kernel];
    const int32_t w2 = factor * weights[2 * kernel];
    pairs[0] = nk_pack_halves(factor * weights[0], w1);
    pairs[1] = nk_pack_halves(w1, w2);
    if (kernel == 5) {
      const int32_t w3 = factor * weights[3 * kernel];
      pairs[2] = nk_pack_halves(w2, w3);
      pairs[3] = nk_pack_halves(w3, factor * weights[4 * kernel]);
    }
  }
}

/** Computes the outputs of a run. */
typedef void (*nk_depthwise_put)(nk_depthwise_run *run);

/**
 * The function for a kernel of 3x3 or 5x5 and a stride of 1 or 2 from row to row.
 *
 * - is_short: whether the outputs are requantised by nk_requantize_doubled_relu(), for a kernel of
 *   3x3 with equal strides.
 */
nk_depthwise_put nk_depthwise_pairs_s8_dsp(int32_t kernel, int32_t stride, bool is_short);

#ifdef __cplusplus
}
#endif

#endif  // NK_DEPTHWISE_TILE_H_
