#include "nk_nested_parts_s8.h"

nk_status nk_nested_depthwise_parts_s8(const nk_stream *stream, int32_t level,
                                       const nk_conv_dims *dims, const int8_t *input,
                                       int8_t *output, void *scratch, size_t scratch_size) {
  return nk_nested_parts_s8(nk_nested_depthwise_s8, stream, level, dims, input, output, scratch,
                            scratch_size);
}
