/** One channel of a depthwise layer, for the two kernels that fetch their weights. */
#ifndef NK_DEPTHWISE_S8_PORTABLE_H_
#define NK_DEPTHWISE_S8_PORTABLE_H_

#include "../cortex_m/nk_depthwise.h"

/** Working memory of nk_depthwise_s8_portable(). */
#define NK_DEPTHWISE_PLANE_BYTES 1280

NK_STATIC_ASSERT(NK_DEPTHWISE_TILE_LEAST_PAIRS * NK_DEPTHWISE_PAIR_WORDS * sizeof(uint32_t) >=
                     NK_DEPTHWISE_PLANE_BYTES,
                 "the scratch memory of a packed stream has room for the plane");

/** One output channel. */
typedef struct nk_depthwise_channel {
  /** [kernel_h][kernel_w] */
  const int8_t *weights;
  /** The bias plus input_offset times the sum of the weights. */
  int32_t folded_bias;
  int32_t multiplier;
  int32_t shift;
} nk_depthwise_channel;

/**
 * Computes output channel `index` of a layer that nk_depthwise_s8_dsp_supports(), without a clamp
 * below int8.
 *
 * - input, output: the whole tensors.
 * - plane: working memory, [NK_DEPTHWISE_PLANE_BYTES].
 */
void nk_depthwise_s8_portable(const nk_depthwise_layer *layer, int32_t index,
                              const nk_depthwise_channel *channel, const int8_t *input,
                              int8_t *output, int8_t *plane);

#endif  // NK_DEPTHWISE_S8_PORTABLE_H_
