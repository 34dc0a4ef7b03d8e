#include "nk_nested_parts_s8.h"

#include "../ref/nk_arithmetic.h"
#include "../ref/nk_reference.h"

int32_t nk_nested_parts_s8_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims,
                                           nk_nested_kernel_size *kernel_size) {
  nk_stream part;
  if (stream == NULL || dims == NULL) {
    return -1;
  }
  if (stream->in_place_levels == stream->levels) {
    return kernel_size(stream, dims);
  }
  nk_stream_make_part(stream, &part);
  const int32_t kernel = kernel_size(&part, dims);
  return kernel < 0 ? -1 : nk_stream_parts_bytes(stream) + kernel;
}

nk_status nk_nested_parts_s8_check(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                   nk_nested_kernel_size *kernel_size, void *scratch,
                                   size_t scratch_size, nk_stream_parts **parts) {
  if (!nk_in_range(level, 0, stream->levels - 1)) {
    return NK_ERROR_LEVEL;
  }
  if (nk_nested_conv_s8_get_kernel_size(stream, dims) < 0) {
    return NK_ERROR_SHAPE;
  }
  const int32_t fixed = nk_stream_parts_fixed_bytes(stream, level);
  if (scratch == NULL || (uintptr_t)scratch % sizeof(int32_t) != 0 ||
      scratch_size < (size_t)fixed) {
    return NK_ERROR_BUFFER;
  }
  *parts = nk_stream_parts_open(stream, level, scratch);
  const int64_t left = (int64_t)scratch_size - fixed - kernel_size(&(*parts)->stream, dims);
  return nk_stream_parts_begin(*parts, left) ? NK_OK : NK_ERROR_BUFFER;
}

nk_status nk_nested_parts_s8(nk_nested_kernel *kernel, const nk_stream *stream, int32_t level,
                             const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                             void *scratch, size_t scratch_size) {
  if (stream == NULL || dims == NULL || input == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  nk_status status = NK_ERROR_BUFFER;
  if (level < stream->in_place_levels) {
    status = kernel(stream, level, dims, input, output, scratch, scratch_size);
  }
  if (status != NK_ERROR_BUFFER) {
    return status;
  }
  nk_stream_parts *parts;
  status = nk_nested_parts_s8_check(stream, level, dims, nk_nested_conv_s8_get_kernel_size, scratch,
                                    scratch_size, &parts);
  while (status == NK_OK && nk_stream_parts_next(parts)) {
    const size_t used = (size_t)(parts->rest - (uint8_t *)scratch);
    status = kernel(&parts->stream, level, dims, input, output + parts->first, parts->rest,
                    scratch_size - used);
  }
  return status;
}
