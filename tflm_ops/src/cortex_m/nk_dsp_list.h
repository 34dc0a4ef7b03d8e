/**
 * The list that the routines of nk_dsp_tile.S run: for each output channel, entries with the places
 * of the weights of its levels and an entry that requantises. The list is made once a call, so that
 * a tile goes from level to level, and from channel to channel, with one LDM.
 *
 * An entry begins with the address of its routine (NK_DSP_*). An entry that multiplies has two more
 * words:
 *
 *     bits 0..7    passes of the loop
 *     bit 8        whether its first pass is whole
 *     bits 16..31  position of its first weight in the packed input; with NK_DSP_ON, steps from the
 *                  place where the entry before has left the input
 *
 * and the address of its piece of the stream. An entry that requantises goes on with a struct
 * nk_dsp_channel.
 *
 * Tiles of NK_DSP_MAX_PAIRS pairs have a chain list (nk_dsp_chain.h) where they can.
 */
#ifndef NK_DSP_LIST_H_
#define NK_DSP_LIST_H_

#include <stdint.h>

#include "../../include/nk_stream.h"
#include "nk_dsp_tile.h"

/** The part of nk_dsp_list_bytes() that each channel has. */
int32_t nk_dsp_list_channel_bytes(const nk_stream *stream, int32_t level);

/** Bytes of the list of a level, at most. A list with joined records takes more. */
int32_t nk_dsp_list_bytes(const nk_stream *stream, int32_t level);

/** The output channels of a list. */
typedef struct nk_dsp_list_channels {
  /** The first, and how many. */
  int32_t first;
  int32_t count;
  /** Positions of packed input from one input channel to the next; 0 if every output channel sees
   * the same input. */
  int32_t input_positions;
} nk_dsp_list_channels;

/**
 * Makes the list of a level for tiles of `pairs` pairs, in words of nk_dsp_list_bytes().
 */
void nk_dsp_list_make(const nk_stream *stream, int32_t level, int32_t pairs,
                      const nk_dsp_list_channels *channels, uint32_t *words);

#endif  // NK_DSP_LIST_H_
