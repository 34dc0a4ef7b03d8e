/** One channel of a depthwise layer, for the two kernels that fetch their weights. */
#ifndef NK_DEPTHWISE_S8_PORTABLE_H_
#define NK_DEPTHWISE_S8_PORTABLE_H_

#include "../cortex_m/nk_depthwise.h"

/**
 * Computes output channel `index` of a layer that nk_depthwise_s8_dsp_supports(), without a clamp
 * below int8.
 *
 * - input, output: the whole tensors.
 * - plane: working memory, [NK_DEPTHWISE_TILE_BYTES].
 */
void nk_depthwise_s8_portable(const nk_depthwise_layer *layer, int32_t index,
                              const nk_depthwise_channel *channel, const int8_t *input,
                              int8_t *output, int8_t *plane);

#endif  // NK_DEPTHWISE_S8_PORTABLE_H_
