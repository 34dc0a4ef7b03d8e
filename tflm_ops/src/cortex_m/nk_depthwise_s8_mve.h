/** The depthwise convolution for Helium: nk_depthwise_s8_dsp() calls it. */
#ifndef NK_DEPTHWISE_S8_MVE_H_
#define NK_DEPTHWISE_S8_MVE_H_

#include "nk_depthwise.h"

/**
 * Runs a layer, if it is one that this kernel runs: 3x3, at least four channels, one output
 * channel for each input channel. Returns whether it did. The arguments are those of
 * nk_depthwise_s8_dsp(), with the bytes of the working memory, at least those of
 * NK_DEPTHWISE_TILE_LEAST_PAIRS.
 */
bool nk_depthwise_s8_mve(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, void *scratch, int32_t scratch_bytes);

#endif  // NK_DEPTHWISE_S8_MVE_H_
