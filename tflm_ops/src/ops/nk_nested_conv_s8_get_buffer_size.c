#include "../ref/nk_reference.h"
#include "nk_nested_parts_s8.h"

int32_t nk_nested_conv_s8_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims) {
  return nk_nested_parts_s8_get_buffer_size(stream, dims, nk_nested_conv_s8_get_kernel_size);
}
