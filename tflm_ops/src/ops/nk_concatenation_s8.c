#include <string.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

static int32_t extent(const nk_dims4 *dims, int32_t axis) {
  const int32_t sizes[4] = {dims->n, dims->h, dims->w, dims->c};
  return sizes[axis];
}

/** Whether the operands have the output's dimensions, and add up to the output along `axis`. */
static bool shapes_fit(int32_t axis, int32_t count, const nk_dims4 *input_dims,
                       const nk_dims4 *output_dims) {
  int64_t joined = 0;
  for (int32_t i = 0; i < count; ++i) {
    if (nk_dims4_size(&input_dims[i]) == 0) {
      return false;
    }
    for (int32_t a = 0; a < 4; ++a) {
      if (a != axis && extent(&input_dims[i], a) != extent(output_dims, a)) {
        return false;
      }
    }
    joined += extent(&input_dims[i], axis);
  }
  return joined == extent(output_dims, axis);
}

nk_status nk_concatenation_s8(const nk_concatenation_params *params, int32_t count,
                              const nk_dims4 *input_dims, const int8_t *const *inputs,
                              const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || count < 1 || input_dims == NULL || inputs == NULL || output_dims == NULL ||
      output == NULL || !nk_in_range(params->axis, 0, 3)) {
    return NK_ERROR_ARGUMENT;
  }
  for (int32_t i = 0; i < count; ++i) {
    if (inputs[i] == NULL) {
      return NK_ERROR_ARGUMENT;
    }
  }
  if (nk_dims4_size(output_dims) == 0 ||
      !shapes_fit(params->axis, count, input_dims, output_dims)) {
    return NK_ERROR_SHAPE;
  }
  // A tensor is `outer` runs of elements, each run holding everything from the axis inwards.
  int32_t outer = 1;
  for (int32_t a = 0; a < params->axis; ++a) {
    outer *= extent(output_dims, a);
  }
  for (int32_t o = 0; o < outer; ++o) {
    for (int32_t i = 0; i < count; ++i) {
      const int32_t run = nk_dims4_size(&input_dims[i]) / outer;
      memcpy(output, inputs[i] + o * run, (size_t)run);
      output += run;
    }
  }
  return NK_OK;
}
