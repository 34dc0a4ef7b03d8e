/**
 * Inner kernels of the Cortex-M7 convolutions, in nk_m7_tile.S, and what they share with C.
 *
 * A tile is P = 1..4 pairs of neighbouring output pixels. Its packed input holds P words
 * x0 + x1 * 2^23 per filter position (4 for P = 3): one SMLAL serves two pixels.
 */
#ifndef NK_M7_TILE_H_
#define NK_M7_TILE_H_

#include <stdint.h>

#include "../ref/nk_arithmetic.h"

#define NK_M7_MAX_PAIRS 4

/** Weights that an accumulator takes before it must be split: 255 * 128 * 128 < 2^22. */
#ifndef NK_M7_SPAN
#define NK_M7_SPAN 255
#endif

/** One output channel: its weights, and how its accumulators become outputs. */
typedef struct nk_m7_row {
  /** Twice the bias, less what the accumulators of even and odd pixels start with; if exact: the
   * bias. */
  int32_t even;
  int32_t odd;
  int32_t multiplier;
  /** 2^(shift - 1) + output_offset * 2^shift */
  int32_t half;
  /** To the right, 1..22; if exact: -31..30 to the right. */
  int32_t shift;
  /** Its first entry, see nk_m7_list.h. */
  const uint32_t *list;
  /** Not in the range of the short requantisation: nk_m7_requantize_exact() does it. */
  int32_t exact;
} nk_m7_row;

/** Arguments of the routines; nk_m7_tile.S knows the layout up to `shift`. */
typedef struct nk_m7_tile {
  const void *input;
  const nk_m7_row *row;
  const nk_m7_row *rows_end;
  int8_t *output;
  /** Bytes from pixel to pixel, and to the last pixel of the tile. */
  int32_t step;
  int32_t last;
  /** Weights of an entry in the wide loop, and log2 of the bytes of packed input under them. */
  int32_t block_size;
  int32_t shift;
  nk_output_stage stage;
  int32_t pixels;
} nk_m7_tile;

/** Runs all output channels of a tile of P pairs. */
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

/** What an entry of a channel's list does. */
enum {
  /** The usual end of a list: turns the accumulators into outputs. */
  NK_M7_REQUANTIZE,
  /** Multiplies a piece of the stream: single weights, blocks of 2 or 4, a dense filter, or records
   * with deltas of 16 bits. */
  NK_M7_SINGLE,
  NK_M7_BLOCK2,
  NK_M7_BLOCK4,
  NK_M7_DENSE,
  NK_M7_WIDE,
  /** Added to one of those: goes on at the input where the entry before it ended. */
  NK_M7_ON = NK_M7_WIDE,
  /** Adds the accumulators to sums in memory and clears them. */
  NK_M7_FOLD = NK_M7_WIDE + NK_M7_ON + 1,
  /** Other ends, after a FOLD: turn the sums into outputs. */
  NK_M7_SUMS,
  NK_M7_EXACT,
  /** Faster than NK_M7_SINGLE: for an even number of weights, and an odd one from 3 on. */
  NK_M7_SINGLE_EVEN,
  NK_M7_SINGLE_ODD,
  NK_M7_ROUTINES
};

/** Addresses of the routines, for the entries. */
extern const uint32_t nk_m7_routines[NK_M7_MAX_PAIRS][NK_M7_ROUTINES];

/** Requantises the sums of one row, [2 * NK_M7_MAX_PAIRS], stores tile->pixels outputs and clears
 * the sums; called by the routines. */
void nk_m7_requantize_exact(const nk_m7_tile *tile, const nk_m7_row *row, int32_t *sums,
                            int8_t *output);

#endif  // NK_M7_TILE_H_
