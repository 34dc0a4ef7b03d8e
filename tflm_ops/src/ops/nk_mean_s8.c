#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

nk_status nk_mean_s8(const nk_mean_params *params, const nk_dims4 *input_dims, const int8_t *input,
                     int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || output == NULL ||
      !nk_is_input_offset(params->input_offset) || !nk_is_output_offset(params->output_offset) ||
      !nk_is_multiplier(params->multiplier, params->shift)) {
    return NK_ERROR_ARGUMENT;
  }
  // A sum of fewer than 2^23 pixels fits in 31 bits.
  if (nk_dims4_size(input_dims) == 0 || (int64_t)input_dims->h * input_dims->w >= 1 << 23) {
    return NK_ERROR_SHAPE;
  }
  const nk_output_stage stage = {params->output_offset, INT8_MIN, INT8_MAX};
  const int32_t pixels = input_dims->h * input_dims->w;
  const int32_t channels = input_dims->c;
  for (int32_t n = 0; n < input_dims->n; ++n, input += pixels * channels) {
    int32_t c = 0;
    for (; c + 4 <= channels; c += 4) {
      int32_t sums[4];
      nk_sum_four_s8(input + c, 1, pixels, 0, channels, sums);
      for (int32_t i = 0; i < 4; ++i) {
        const int32_t sum = sums[i] + pixels * params->input_offset;
        *output++ = nk_requantize(sum, params->multiplier, params->shift, &stage);
      }
    }
    for (; c < channels; ++c) {
      int32_t sum = 0;
      for (int32_t p = 0; p < pixels; ++p) {
        sum += input[p * channels + c] + params->input_offset;
      }
      *output++ = nk_requantize(sum, params->multiplier, params->shift, &stage);
    }
  }
  return NK_OK;
}
