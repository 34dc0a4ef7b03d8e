#include <stdbool.h>
#include <string.h>

#include "../../include/nk_ops.h"

enum { kAxes = 6 };

/** Whether all elements of the view lie in the input, and their number equals the output's. */
static bool view_fits(const nk_rearrange_params *params, int32_t input_size, int32_t output_size) {
  int64_t count = 1;
  int64_t first = params->offset;
  int64_t last = params->offset;
  for (int32_t axis = 0; axis < kAxes; ++axis) {
    const int32_t size = params->sizes[axis];
    const int64_t way = ((int64_t)size - 1) * params->strides[axis];
    count *= size;
    if (size < 1 || count > output_size || way >= input_size || way <= -(int64_t)input_size) {
      return false;
    }
    first += way < 0 ? way : 0;
    last += way > 0 ? way : 0;
  }
  return count == output_size && first >= 0 && last < input_size;
}

nk_status nk_rearrange_s8(const nk_rearrange_params *params, int32_t input_size,
                          const int8_t *input, int32_t output_size, int8_t *output) {
  if (params == NULL || input == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  if (input_size < 1 || output_size < 1 || !view_fits(params, input_size, output_size)) {
    return NK_ERROR_SHAPE;
  }
  const int32_t run = params->sizes[kAxes - 1];
  const int32_t step = params->strides[kAxes - 1];
  const int8_t *const end = output + output_size;
  int32_t place = params->offset;
  int32_t index[kAxes - 1] = {0};
  while (output < end) {
    if (step == 1) {
      memcpy(output, input + place, (size_t)run);
    } else {
      for (int32_t i = 0; i < run; ++i) {
        output[i] = input[place + i * step];
      }
    }
    output += run;
    for (int32_t axis = kAxes - 2; axis >= 0; --axis) {
      if (++index[axis] < params->sizes[axis]) {
        place += params->strides[axis];
        break;
      }
      place -= (params->sizes[axis] - 1) * params->strides[axis];
      index[axis] = 0;
    }
  }
  return NK_OK;
}
