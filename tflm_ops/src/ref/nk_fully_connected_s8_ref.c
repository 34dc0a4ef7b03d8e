#include "nk_arithmetic.h"
#include "nk_reference.h"

void nk_fully_connected_s8_ref(const nk_fully_connected_params *params, int32_t rows,
                               const int8_t *input, int8_t *output) {
  const int32_t in_features = params->filter_dims.c;
  const int32_t out_features = params->filter_dims.n;
  const nk_output_stage stage = {params->output_offset, params->activation_min,
                                 params->activation_max};
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t o = 0; o < out_features; ++o) {
      const int32_t acc = nk_dot_s8(input + row * in_features, params->filter + o * in_features,
                                    in_features, params->input_offset);
      *output++ = nk_requantize_once(nk_wrapping_add(acc, params->bias[o]), params->multiplier[o],
                                     params->shift[o], &stage);
    }
  }
}
