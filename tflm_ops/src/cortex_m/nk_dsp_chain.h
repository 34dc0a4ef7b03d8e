/**
 * The list of a layer whose channels all have single weights with deltas of 7 bits and the short
 * requantisation, for tiles of NK_DSP_MAX_PAIRS pairs. The channels are sorted by the number of
 * their weights, so that most begin where the channel before began (nk_dsp_tile.S). A chain list
 * begins with a NK_DSP_CHAIN_START, the number of channels without weights, and a word for each of
 * those: its output and 2^8 times its index. An entry of another channel has the words
 *
 *     the step of the chain where the entry begins, or NK_DSP_CHAIN_LONG
 *     first weight + 2^8 * delta to the second + 2^16 * offset of the first input in bytes
 *     its further records, minus the bytes of the steps that the entry skips
 *     if it is long: 2^24 * further passes + offset of the step where the entry begins
 *     twice the bias minus 2^23
 *     multiplier
 *     shift + 2^16 * index of the channel
 *
 * The records of several levels are joined behind the list, with signed deltas, where there is room
 * and the tiles are so many that joining pays. Otherwise there is no chain list.
 */
#ifndef NK_DSP_CHAIN_H_
#define NK_DSP_CHAIN_H_

#include <stdbool.h>
#include <stdint.h>

#include "../../include/nk_stream.h"
#include "nk_dsp_list.h"

/** Makes the chain list of a level in channels->bytes of memory, at least nk_dsp_list_bytes().
 * Returns whether there is one; if not, the memory holds anything. */
bool nk_dsp_chain_make(const nk_stream *stream, int32_t level, const nk_dsp_list_channels *channels,
                       uint32_t *words);

#endif  // NK_DSP_CHAIN_H_
