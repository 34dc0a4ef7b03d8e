#include <stddef.h>

#include "../../include/nk_ops.h"

nk_status nk_lookup_s8(const nk_lookup_params *params, int32_t size, const int8_t *input,
                       int8_t *output) {
  if (params == NULL || params->table == NULL || input == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  if (size < 1) {
    return NK_ERROR_SHAPE;
  }
  for (int32_t i = 0; i < size; ++i) {
    output[i] = params->table[input[i] + 128];
  }
  return NK_OK;
}
