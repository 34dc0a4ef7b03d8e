/** The types that the files of nk_depthwise_s8_dsp() share. */
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
#define NK_DEPTHWISE_TILE_VALUES (NK_DEPTHWISE_TILE_ROWS * NK_DEPTHWISE_TILE_COLUMNS)
#define NK_DEPTHWISE_TILE_BYTES (NK_DEPTHWISE_TILE_VALUES * (int32_t)sizeof(int16_t))

/** Steps of the inner loop, in bytes. */
typedef struct nk_depthwise_steps {
  /** From an output to its neighbour. */
  int32_t y;
  /** From the last of four outputs to the first of the next four. */
  int32_t next_y;
  /** From the window of four outputs to the window of the next four. */
  int32_t next_x;
} nk_depthwise_steps;

/** One output channel in the form that the inner loops take. */
typedef struct nk_depthwise_taps {
  /** For each row of the kernel the pairs (w0, w1), (w1, w2), ..., doubled. */
  uint32_t weights[5 * 4];
  /** Doubled. */
  int32_t bias;
  nk_doubled_stage stage;
  /** Of the strip at hand. */
  nk_depthwise_steps steps;
} nk_depthwise_taps;

/** Groups of four neighbouring outputs of a row: `runs` times `count` groups. */
typedef struct nk_depthwise_strip {
  /** Where the window of the first begins in the tile, at a word, and values from run to run. */
  const int16_t *x;
  int32_t x_step;
  int8_t *y;
  int32_t y_step;
  int32_t runs;
  int32_t count;
} nk_depthwise_strip;

/** Computes the outputs of a strip. */
typedef void (*nk_depthwise_put)(const nk_depthwise_strip *strip, const nk_depthwise_taps *taps);

/** The function for a kernel of 3x3 or 5x5 and a stride of 1 or 2 from column to column. */
nk_depthwise_put nk_depthwise_fours_s8_dsp(int32_t kernel, int32_t stride);

#ifdef __cplusplus
}
#endif

#endif  // NK_DEPTHWISE_TILE_H_
