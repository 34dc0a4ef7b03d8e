#include <string.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

static bool fits(const int32_t paddings[2], int32_t input, int32_t output) {
  return (int64_t)paddings[0] + input + paddings[1] == output;
}

nk_status nk_pad_s8(const nk_pad_params *params, const nk_dims4 *input_dims, const int8_t *input,
                    const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || output_dims == NULL ||
      output == NULL || !nk_in_range(params->value, INT8_MIN, INT8_MAX)) {
    return NK_ERROR_ARGUMENT;
  }
  for (int32_t axis = 0; axis < 4; ++axis) {
    if (params->paddings[axis][0] < 0 || params->paddings[axis][1] < 0) {
      return NK_ERROR_ARGUMENT;
    }
  }
  const int32_t size = nk_dims4_size(output_dims);
  if (size == 0 || nk_dims4_size(input_dims) == 0 ||
      !fits(params->paddings[0], input_dims->n, output_dims->n) ||
      !fits(params->paddings[1], input_dims->h, output_dims->h) ||
      !fits(params->paddings[2], input_dims->w, output_dims->w) ||
      !fits(params->paddings[3], input_dims->c, output_dims->c)) {
    return NK_ERROR_SHAPE;
  }
  memset(output, params->value, (size_t)size);
  for (int32_t n = 0; n < input_dims->n; ++n) {
    for (int32_t h = 0; h < input_dims->h; ++h) {
      for (int32_t w = 0; w < input_dims->w; ++w) {
        const int32_t image = params->paddings[0][0] + n;
        const int32_t row = image * output_dims->h + params->paddings[1][0] + h;
        const int32_t pixel = row * output_dims->w + params->paddings[2][0] + w;
        memcpy(output + pixel * output_dims->c + params->paddings[3][0], input,
               (size_t)input_dims->c);
        input += input_dims->c;
      }
    }
  }
  return NK_OK;
}
