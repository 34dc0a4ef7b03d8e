/**
 * The lists that the routines of nk_dsp_tile.S run: for each output channel, a list of entries with
 * the places of the weights of its levels. The lists are made once a call, so that a tile goes from
 * level to level with one LDM.
 *
 * An entry is one word, the address of its routine (NK_DSP_*). An entry that multiplies has two
 * more:
 *
 *     bits 0..7    passes of the loop
 *     bit 8        whether its first pass is whole
 *     bits 16..31  position of its first weight in the packed input; with NK_DSP_ON, steps from the
 *                  place where the entry before has left the input
 *
 * and the address of its piece of the stream.
 */
#ifndef NK_DSP_LIST_H_
#define NK_DSP_LIST_H_

#include <stdint.h>

#include "../../include/nk_stream.h"
#include "nk_dsp_tile.h"

/** Bytes of the lists of a level, at most. */
int32_t nk_dsp_list_bytes(const nk_stream *stream, int32_t level);

/**
 * Makes the lists of a level for tiles of `pairs` pairs, and sets channel[].list.
 *
 * - group: Input channels of a depthwise layer that are packed together.
 * - channel_positions: Positions of packed input from one channel to the next; 0 if every output
 *   channel sees the same input.
 * - channel: [out_channels], `exact` is set.
 * - words: Room for nk_dsp_list_bytes().
 */
void nk_dsp_list_make(const nk_stream *stream, int32_t level, int32_t pairs, int32_t group,
                      int32_t channel_positions, nk_dsp_channel *channel, uint32_t *words);

#endif  // NK_DSP_LIST_H_
