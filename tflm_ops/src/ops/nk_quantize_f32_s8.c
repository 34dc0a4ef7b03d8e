#include <float.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"

/** Rounds to the nearest integer, halves away from zero; x must fit in 16 bits. */
static int32_t round_half_away(float x) {
  const int32_t whole = (int32_t)x;
  const float fraction = x - (float)whole;
  if (fraction >= 0.5f) {
    return whole + 1;
  }
  return fraction <= -0.5f ? whole - 1 : whole;
}

nk_status nk_quantize_f32_s8(const nk_quantize_params *params, int32_t size, const float *input,
                             int8_t *output) {
  if (params == NULL || input == NULL || output == NULL ||
      !(params->scale > 0.0f && params->scale <= FLT_MAX) ||
      !nk_is_output_offset(params->zero_point)) {
    return NK_ERROR_ARGUMENT;
  }
  if (size < 1) {
    return NK_ERROR_SHAPE;
  }
  // Whatever the zero point, the output is saturated beyond this.
  const float limit = 512.0f;
  for (int32_t i = 0; i < size; ++i) {
    float scaled = input[i] / params->scale;
    if (scaled != scaled) {
      scaled = 0.0f;
    }
    scaled = scaled > limit ? limit : scaled < -limit ? -limit : scaled;
    output[i] = (int8_t)nk_clamp(round_half_away(scaled) + params->zero_point, INT8_MIN, INT8_MAX);
  }
  return NK_OK;
}
