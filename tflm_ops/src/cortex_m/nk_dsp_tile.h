/**
 * Inner kernels of the Cortex-M7 convolutions, in nk_dsp_tile.S, and the types shared with C.
 *
 * A tile is P = 1..4 pairs of neighbouring output pixels. Its packed input holds P words
 * x0 + x1 * 2^23 per filter position (4 for P = 3): one SMLAL serves two pixels.
 */
#ifndef NK_DSP_TILE_H_
#define NK_DSP_TILE_H_

#include <stdint.h>

#include "../ref/nk_arithmetic.h"

#define NK_DSP_MAX_PAIRS 4

/** Weights that an accumulator takes before a split: 255 * 128 * 128 < 2^22. */
#ifndef NK_DSP_SPAN
#define NK_DSP_SPAN 255
#endif

/** How the accumulators of an output channel become outputs. */
typedef struct nk_dsp_channel {
  /** Twice the bias minus the start values of the accumulators of even and odd pixels; if exact:
   * the bias; of a channel without weights: the output. */
  int32_t even;
  int32_t odd;
  int32_t multiplier;
  /** 2^(shift - 1) + output_offset * 2^shift */
  int32_t half;
  /** To the right, 1..22; if exact: -31..30 to the right, as int8. Only the low byte counts. */
  int32_t shift;
} nk_dsp_channel;

/** Arguments of the routines; nk_dsp_tile.S knows the layout up to `shift`. */
typedef struct nk_dsp_tile {
  const void *input;
  /** See nk_dsp_list.h. */
  const uint32_t *list;
  int8_t *output;
  /** Bytes from pixel to pixel, and to the last pixel of the tile. */
  int32_t step;
  int32_t last;
  /** Weights of an entry in the wide loop, and log2 of the bytes of packed input per entry. */
  int32_t block_size;
  int32_t shift;
  nk_output_stage stage;
  int32_t pixels;
} nk_dsp_tile;

/** Runs all output channels of a tile of P pairs. */
void nk_dsp_tile_1(const nk_dsp_tile *tile);
void nk_dsp_tile_2(const nk_dsp_tile *tile);
void nk_dsp_tile_3(const nk_dsp_tile *tile);
void nk_dsp_tile_4(const nk_dsp_tile *tile);

/** Packs `channels` channels of 2 * P pixels; the words of two channels are `step` bytes apart. */
void nk_dsp_pack_1(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_dsp_pack_2(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_dsp_pack_3(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);
void nk_dsp_pack_4(const int8_t *const *pixels, void *words, int32_t channels, int32_t step);

/** As nk_dsp_pack_4() of 8 pixels whose first 6 are the last 6 packed at `from`; takes the last 2.
 */
void nk_dsp_pack_4_shifted(const int8_t *const *pixels, void *words, int32_t channels, int32_t step,
                           const void *from);

/** Packs 8 pixels in each of three filter columns at once, whose words are `channels` * 16 bytes
 * apart. pixels: the first of the 10 pixels under the filter; the second, from where 8 pixels are
 * `distance` bytes apart; the last. */
void nk_dsp_pack_threes(const int8_t *const *pixels, void *words, int32_t channels,
                        int32_t distance);

/** Moves `bytes`, rounded up to 16, down in memory by `by`, `count` times `step` bytes apart. */
void nk_dsp_move_up(void *to, int32_t by, int32_t bytes, int32_t count, int32_t step);

/** The routine of an entry of a channel's list. */
enum {
  /** The usual end of a list: turns the accumulators into outputs. */
  NK_DSP_REQUANTIZE,
  /** Multiplies a piece of the stream: single weights, blocks of 2 or 4, a dense filter, or records
   * with deltas of 16 bits. */
  NK_DSP_SINGLE,
  NK_DSP_BLOCK2,
  NK_DSP_BLOCK4,
  NK_DSP_DENSE,
  NK_DSP_WIDE,
  /** Added to a routine above: goes on at the input where the entry before ended. */
  NK_DSP_ON = NK_DSP_WIDE,
  /** Adds the accumulators to sums in memory and clears them. */
  NK_DSP_FOLD = NK_DSP_WIDE + NK_DSP_ON + 1,
  /** Other ends, after a FOLD: turn the sums into outputs. */
  NK_DSP_SUMS,
  NK_DSP_EXACT,
  /** Faster than NK_DSP_SINGLE: for an even number of weights, and an odd number from 3 on. */
  NK_DSP_SINGLE_EVEN,
  NK_DSP_SINGLE_ODD,
  /** The end of a list without weights: stores nk_dsp_channel.even. */
  NK_DSP_CONSTANT,
  /** Ends the lists of all channels. */
  NK_DSP_STOP,
  /** Not a routine: bytes from NK_DSP_SINGLE* to a copy for the entries of a channel behind the
   * first, and from there to a copy for the last entry, which must stand before NK_DSP_REQUANTIZE.
   */
  NK_DSP_COPY,
  NK_DSP_ROUTINES
};

/** Addresses of the routines, for the entries. */
extern const uint32_t nk_dsp_routines[NK_DSP_MAX_PAIRS][NK_DSP_ROUTINES];

/** The routines of a chain list (nk_dsp_list.h), for tiles of NK_DSP_MAX_PAIRS pairs. */
enum {
  /** The start of a list; stores the outputs of the channels without weights. */
  NK_DSP_CHAIN_START,
  /** An entry of one weight, and the end of the chain: an entry of more weights begins so many
   * NK_DSP_CHAIN_STEP_BYTES before. */
  NK_DSP_CHAIN_LAST,
  NK_DSP_CHAIN_END,
  /** An entry that runs the chain more than once. */
  NK_DSP_CHAIN_LONG,
  NK_DSP_CHAIN_STOP,
  /** Not a routine: bytes of a step. */
  NK_DSP_CHAIN_STEP_BYTES,
  NK_DSP_CHAIN_ROUTINES
};

/** Steps of the chain, of two weights each. */
#define NK_DSP_CHAIN_STEPS 16
/** Upper half of the accumulators at the start of a channel. */
#define NK_DSP_CHAIN_HI_START (UINT32_C(1) << 13)

/** Addresses of the routines, for the entries. */
extern const uint32_t nk_dsp_chain_routines[NK_DSP_CHAIN_ROUTINES];

/** Requantises the sums of one output channel, [2 * NK_DSP_MAX_PAIRS], stores tile->pixels outputs
 * and clears the sums; called by the routines. */
void nk_dsp_requantize_exact(const nk_dsp_tile *tile, const nk_dsp_channel *channel, int32_t *sums,
                             int8_t *output);

#endif  // NK_DSP_TILE_H_
