/** One channel of a depthwise layer, for the two kernels that fetch its weights. */
#ifndef NK_DEPTHWISE_S8_PORTABLE_H_
#define NK_DEPTHWISE_S8_PORTABLE_H_

#include "../cortex_m/nk_depthwise.h"

/** Largest filter, in weights. */
#define NK_PLANE_MAX_WEIGHTS 25
/** Bytes of a plane of good size. */
#define NK_PLANE_BYTES 1280
/** Steps from output to output along a line of the plane. */
#define NK_PLANE_MAX_STRIDE 2

/** One output channel. */
typedef struct nk_plane_channel {
  /** [kernel_h][kernel_w] */
  const int8_t *weights;
  /** The bias plus input_offset times the sum of the weights. */
  int32_t folded_bias;
  int32_t multiplier;
  int32_t shift;
} nk_plane_channel;

/** Whether nk_depthwise_s8_portable() runs a layer: 3x3 or 5x5, undilated, one stride of 1 or 2. */
static inline bool nk_depthwise_s8_portable_supports(const nk_axis *y, const nk_axis *x) {
  return y->kernel == x->kernel && (x->kernel == 3 || x->kernel == 5) && y->dilation == 1 &&
         x->dilation == 1 && nk_min(x->stride, y->stride) <= NK_PLANE_MAX_STRIDE;
}

/**
 * Computes output channel `index` of a supported layer, without a clamp below int8. The channels
 * come in order, from 0 on.
 *
 * - input, output: the whole tensors.
 * - plane: working memory of plane_bytes, at least 400 for 3x3 and 660 for 5x5.
 */
void nk_depthwise_s8_portable(const nk_depthwise_layer *layer, int32_t index,
                              const nk_plane_channel *channel, const int8_t *input, int8_t *output,
                              int8_t *plane, int32_t plane_bytes);

#endif  // NK_DEPTHWISE_S8_PORTABLE_H_
