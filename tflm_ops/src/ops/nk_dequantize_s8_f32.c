#include <float.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"

nk_status nk_dequantize_s8_f32(const nk_dequantize_params *params, int32_t size,
                               const int8_t *input, float *output) {
  if (params == NULL || input == NULL || output == NULL ||
      !(params->scale > 0.0f && params->scale <= FLT_MAX) ||
      !nk_is_output_offset(params->zero_point)) {
    return NK_ERROR_ARGUMENT;
  }
  if (size < 1) {
    return NK_ERROR_SHAPE;
  }
  for (int32_t i = 0; i < size; ++i) {
    output[i] = params->scale * (float)(input[i] - params->zero_point);
  }
  return NK_OK;
}
