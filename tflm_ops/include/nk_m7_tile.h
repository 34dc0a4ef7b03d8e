/**
 * Inner kernels of the Cortex-M7 convolutions, in nk_m7_tile.S, and what they share with C.
 *
 * A tile is P = 1..4 pairs of neighbouring output pixels. Its packed input holds P words
 * x0 + x1 * 2^23 per filter position (4 for P = 3): one SMLAL serves two pixels.
 */
#ifndef NK_M7_TILE_H_
#define NK_M7_TILE_H_

#include <stdint.h>

#include "nk_arithmetic.h"

#define NK_M7_MAX_PAIRS 4

/** Weights that an accumulator takes before it must be split: 255 * 128 * 128 < 2^22. */
#ifndef NK_M7_SPAN
#define NK_M7_SPAN 255
#endif

/** How one output channel turns its accumulators into outputs. */
typedef struct nk_m7_row {
  /** Twice the bias, less what the accumulators of even and odd pixels start with; EXACT: the bias.
   */
  int32_t even;
  int32_t odd;
  int32_t multiplier;
  /** 2^(shift - 1) + output_offset * 2^shift */
  int32_t half;
  /** To the right, 1..22; EXACT: -31..30 to the right. */
  int32_t shift;
  /** NK_M7_ROW_*: 0 for the fast path. */
  int32_t flags;
  /** Bytes from this row's packed input to the next row's. */
  int32_t next;
} nk_m7_row;

/** More than NK_M7_SPAN weights: the sums are collected in memory. */
#define NK_M7_ROW_LONG 1
/** Not in the range of the short requantisation: nk_m7_requantize_exact() does it. */
#define NK_M7_ROW_EXACT 2

/** The present channel's part of one level. */
typedef struct nk_m7_segment {
  const uint8_t *cursor;
  /** Entries of the present channel. */
  const uint16_t *counts;
  /** The loop that reads the level: a NK_M7_LOOP_*, in a tile its address. */
  uint32_t loop;
  /** Entries to run at once in a row with flags. */
  uint16_t chunk;
  /** Selects the bits of the delta by which the loop runs ahead. */
  uint16_t undo;
} nk_m7_segment;

/** Arguments of the routines; nk_m7_tile.S knows the layout up to `shift`. */
typedef struct nk_m7_tile {
  const void *input;
  nk_m7_row *row;
  const nk_m7_row *rows_end;
  int8_t *output;
  /** Bytes from pixel to pixel, and to the last pixel of the tile. */
  int32_t step;
  int32_t last;
  nk_m7_segment *segments;
  nk_m7_segment *segments_end;
  int32_t block_size;
  /** log2 of the bytes of packed input per block. */
  int32_t shift;
  nk_output_stage stage;
  int32_t pixels;
} nk_m7_tile;

/** Runs all output channels of a tile of P pairs; moves the cursors of the segments. */
void nk_m7_tile_1(const nk_m7_tile *tile);
void nk_m7_tile_2(const nk_m7_tile *tile);
void nk_m7_tile_3(const nk_m7_tile *tile);
void nk_m7_tile_4(const nk_m7_tile *tile);

/** Packs `channels` channels of 2 * P pixels; the words of two channels are `step` bytes apart. */
void nk_m7_pack_1(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_m7_pack_2(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_m7_pack_3(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_m7_pack_4(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);

/** As nk_m7_pack_4() of 8 pixels whose first 6 are the last 6 packed at `from`; takes the last 2.
 */
void nk_m7_pack_4_shifted(const int8_t *const *pixels, void *words, int32_t channels, int32_t step,
                          const void *from);

/** Moves `bytes`, rounded up to 16, down in memory by `by`, `count` times `step` bytes apart. */
void nk_m7_move_up(void *to, int32_t by, int32_t bytes, int32_t count, int32_t step);

enum {
  NK_M7_LOOP_SINGLE,
  NK_M7_LOOP_BLOCK2,
  NK_M7_LOOP_BLOCK4,
  NK_M7_LOOP_DENSE,
  NK_M7_LOOP_WIDE,
  NK_M7_LOOPS
};
extern const uint32_t nk_m7_loops[NK_M7_MAX_PAIRS][NK_M7_LOOPS];

/** Requantises the sums of one row and stores tile->pixels outputs; called by the routines. */
void nk_m7_requantize_exact(const nk_m7_tile *tile, const nk_m7_row *row, const int32_t *sums,
                            int8_t *output);

#endif  // NK_M7_TILE_H_
