#include "../cortex_m/nk_fully_connected.h"
#include "../cortex_m/nk_simd.h"
#include "../portable/nk_portable.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "../ref/nk_reference.h"

nk_status nk_fully_connected_s8(const nk_fully_connected_params *params, int32_t rows,
                                const int8_t *input, int8_t *output) {
  if (params == NULL || input == NULL || output == NULL || params->filter == NULL ||
      params->bias == NULL || params->multiplier == NULL || params->shift == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  const int32_t in_features = params->filter_dims.c;
  const int32_t out_features = params->filter_dims.n;
  const nk_dims4 input_dims = {rows, 1, 1, in_features};
  const nk_dims4 output_dims = {rows, 1, 1, out_features};
  if (nk_dims4_size(&params->filter_dims) == 0 || params->filter_dims.h != 1 ||
      params->filter_dims.w != 1 || nk_dims4_size(&input_dims) == 0 ||
      nk_dims4_size(&output_dims) == 0) {
    return NK_ERROR_SHAPE;
  }
  if (!nk_is_input_offset(params->input_offset) || !nk_is_output_offset(params->output_offset) ||
      !nk_is_activation_range(params->activation_min, params->activation_max) ||
      !nk_are_channel_multipliers(params->multiplier, params->shift, out_features)) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_has_simd32()) {
    nk_fully_connected_s8_dsp(params, rows, input, output);
  } else {
    nk_fully_connected_s8_portable(params, rows, input, output);
  }
  return NK_OK;
}
