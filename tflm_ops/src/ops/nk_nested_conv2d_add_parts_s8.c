#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "nk_nested_parts_s8.h"

nk_status nk_nested_conv2d_add_parts_s8(const nk_stream *stream, int32_t level,
                                        const nk_conv_dims *dims, const int8_t *input,
                                        const nk_add_params *sum, const int8_t *other,
                                        int8_t *output, void *scratch, size_t scratch_size) {
  if (stream == NULL || dims == NULL || input == NULL || other == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  nk_status status = NK_ERROR_BUFFER;
  if (level < stream->in_place_levels) {
    status = nk_nested_conv2d_add_s8(stream, level, dims, input, sum, other, output, scratch,
                                     scratch_size);
  }
  if (status != NK_ERROR_BUFFER) {
    return status;
  }
  nk_stream_parts *parts;
  status = nk_nested_parts_s8_check(stream, level, dims, nk_nested_conv2d_add_s8_get_kernel_size,
                                    scratch, scratch_size, &parts);
  while (status == NK_OK && nk_stream_parts_next(parts)) {
    const size_t used = (size_t)(parts->rest - (uint8_t *)scratch);
    status = nk_nested_conv2d_add_s8(&parts->stream, level, dims, input, sum, other + parts->first,
                                     output + parts->first, parts->rest, scratch_size - used);
  }
  return status;
}
