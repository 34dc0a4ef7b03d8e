#include "nk_dot_four_s8.h"
#include "nk_portable.h"

void nk_fully_connected_s8_portable(const nk_fully_connected_params *params, int32_t rows,
                                    const int8_t *input, int8_t *output) {
  const int32_t in_features = params->filter_dims.c;
  const int32_t out_features = params->filter_dims.n;
  const nk_output_stage stage = {params->output_offset, params->activation_min,
                                 params->activation_max};
  for (int32_t row = 0; row < rows; ++row, input += in_features) {
    for (int32_t first = 0; first < out_features; first += NK_FOUR_FEATURES) {
      int32_t sums[NK_FOUR_FEATURES];
      const int8_t *row_of[NK_FOUR_FEATURES];
      nk_four_rows(params->filter + first * in_features, out_features - first, in_features, row_of);
      nk_dot_four_s8(input, row_of, in_features, params->input_offset, sums);
      const int32_t end = nk_min(first + NK_FOUR_FEATURES, out_features);
      for (int32_t o = first; o < end; ++o) {
        *output++ = nk_requantize_once(nk_wrapping_add(sums[o - first], params->bias[o]),
                                       params->multiplier[o], params->shift[o], &stage);
      }
    }
  }
}
