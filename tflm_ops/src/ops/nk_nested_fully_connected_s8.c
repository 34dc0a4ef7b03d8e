#include "../cortex_m/nk_fully_connected.h"
#include "../cortex_m/nk_simd.h"
#include "../ref/nk_reference.h"
#include "../stream/nk_stream_parts.h"

static void run_dsp(const nk_stream *stream, int32_t level, int32_t rows, const int8_t *input,
                    int8_t *output, void *scratch) {
  if (nk_stream_is_in_place(stream, level)) {
    nk_nested_fully_connected_s8_dsp(stream, level, rows, input, output);
    return;
  }
  nk_stream_parts *parts = nk_stream_parts_open(stream, level, scratch);
  while (nk_stream_parts_next(parts)) {
    for (int32_t row = 0; row < rows; ++row) {
      nk_nested_fully_connected_s8_dsp(&parts->stream, level, 1, input + row * stream->in_channels,
                                       output + row * stream->out_channels + parts->first);
    }
  }
}

nk_status nk_nested_fully_connected_s8(const nk_stream *stream, int32_t level,
                                       const nk_conv_dims *dims, const int8_t *input,
                                       int8_t *output, void *scratch, size_t scratch_size) {
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  if (stream->kind != NK_KIND_FULLY_CONNECTED) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_has_simd32()) {
    run_dsp(stream, level, dims->batches, input, output, scratch);
    return NK_OK;
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}
