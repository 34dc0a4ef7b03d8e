/** What the parts of nk_depthwise_s8_m7() share. */
#ifndef NK_DEPTHWISE_TILE_H_
#define NK_DEPTHWISE_TILE_H_

#include <stdint.h>

#include "nk_doubled.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Size of a tile: int16 columns, two in a word, and rows. */
#define NK_DEPTHWISE_TILE_COLUMNS 32
#define NK_DEPTHWISE_TILE_ROWS 20

/** One output channel in the form that the inner loops take. */
typedef struct nk_depthwise_taps {
  /** For each row of the kernel the pairs (w0, w1), (w1, w2), ..., doubled. */
  uint32_t weights[5 * 4];
  /** Doubled. */
  int32_t bias;
  nk_doubled_stage stage;
  /** Distance of two pixels in the output. */
  int32_t step;
} nk_depthwise_taps;

/** A row of outputs, `count` of them or of groups of four, and the `rows` - 1 ones below it. */
typedef struct nk_depthwise_strip {
  /** Where the window of the first begins in the tile, at a word, and values from row to row. */
  const int16_t *x;
  int32_t x_step;
  int8_t *y;
  int32_t y_step;
  int32_t count;
  int32_t rows;
} nk_depthwise_strip;

/** Computes the outputs of a strip. */
typedef void (*nk_depthwise_put)(const nk_depthwise_strip *strip, const nk_depthwise_taps *taps);

/**
 * The function for groups of four outputs with a kernel of 3x3 or 5x5 and a stride of 1 or 2; NULL
 * without the instructions of nk_simd.h.
 */
nk_depthwise_put nk_depthwise_fours_m7(int32_t kernel, int32_t stride);

#ifdef __cplusplus
}
#endif

#endif  // NK_DEPTHWISE_TILE_H_
