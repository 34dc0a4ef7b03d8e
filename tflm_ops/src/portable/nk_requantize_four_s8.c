#include "nk_channel.h"

void nk_requantize_four_s8(int32_t bias, int32_t multiplier, int32_t shift, int32_t output_offset,
                           const int32_t *sums, const int32_t *to, int8_t *y) {
  const nk_output_stage stage = {output_offset, INT8_MIN, INT8_MAX};
  for (int32_t i = NK_TILE_PIXELS - 1; i >= 0; --i) {
    y[to[i]] = nk_requantize(nk_wrapping_add(sums[i], bias), multiplier, shift, &stage);
  }
}
