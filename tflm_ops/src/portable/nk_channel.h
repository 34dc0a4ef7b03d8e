/** The way from the sums of an output channel to its outputs, four at a time. */
#ifndef NK_CHANNEL_H_
#define NK_CHANNEL_H_

#include "../cortex_m/nk_doubled.h"
#include "../ref/nk_arithmetic.h"

/** Outputs that the portable kernels compute together. */
#define NK_TILE_PIXELS 4

/** One output channel: bias and requantisation. */
typedef struct nk_channel {
  /** Twice the bias. */
  int32_t bias2;
  /** `right` is 0 where only nk_requantize() has the range. */
  nk_doubled_stage stage;
} nk_channel;

/** The channel in the fast form, for sums of `weights` products of two int8. */
static inline nk_channel nk_channel_of(int32_t bias, int32_t multiplier, int32_t shift,
                                       int32_t output_offset, int32_t weights) {
  nk_channel made = {0, {0, 0, 0}};
  // No product exceeds 2^14, and twice the sum must fit into 32 bits.
  const int32_t largest_bias = (1 << 30) - 1 - weights * (1 << 14);
  if (nk_in_range(bias, -largest_bias, largest_bias) && nk_is_fast_multiplier(multiplier) &&
      nk_in_range(shift, -22, -1)) {
    made.bias2 = 2 * bias;
    made.stage = nk_doubled_stage_of(multiplier, shift, output_offset);
  }
  return made;
}

/**
 * Writes four outputs, whose places are y + to[i], without a clamp below int8. Where two places
 * are equal, the output of the lower index stays.
 */
static NK_ALWAYS_INLINE void nk_channel_put(const nk_channel *channel, int32_t s0, int32_t s1,
                                            int32_t s2, int32_t s3, const int32_t *to, int8_t *y) {
  const nk_doubled_stage stage = channel->stage;
  const int32_t bias2 = channel->bias2;
  y[to[3]] = nk_requantize_doubled(2 * s3 + bias2, &stage);
  y[to[2]] = nk_requantize_doubled(2 * s2 + bias2, &stage);
  y[to[1]] = nk_requantize_doubled(2 * s1 + bias2, &stage);
  y[to[0]] = nk_requantize_doubled(2 * s0 + bias2, &stage);
}

/** The same for a channel without a fast form, from sums without the bias. */
void nk_requantize_four_s8(int32_t bias, int32_t multiplier, int32_t shift, int32_t output_offset,
                           const int32_t *sums, const int32_t *to, int8_t *y);

#endif  // NK_CHANNEL_H_
