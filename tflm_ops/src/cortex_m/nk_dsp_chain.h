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
 *     if it is long: NK_DSP_CHAIN_HI_START - 2^24 * further passes
 *     if it is long: the step of the chain where the entry begins
 *     twice the bias minus 2^23
 *     multiplier
 *     shift + 2^16 * index of the channel
 *
 * The records of several levels are joined behind the list, with signed deltas. There is no chain
 * list where the memory has no room for them, or where the tiles are too few for a list to pay.
 */
#ifndef NK_DSP_CHAIN_H_
#define NK_DSP_CHAIN_H_

#include <stdbool.h>

#include "nk_dsp_conv.h"

/** Makes the chain list of a convolution in its list_bytes at `list`. Returns whether there is one;
 * if not, the memory holds anything.
 *
 * nk_dsp_conv.c does not name this function, so that programs without need for it do not link it.
 */
bool nk_dsp_chain_make(const nk_dsp_conv *conv);

#endif  // NK_DSP_CHAIN_H_
