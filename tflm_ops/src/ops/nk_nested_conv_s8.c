#include "../cortex_m/nk_depthwise.h"
#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "nk_nested_parts_s8.h"

static nk_status run_in_place(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size) {
  if (stream->kind == NK_KIND_FULLY_CONNECTED) {
    return nk_nested_fully_connected_s8(stream, level, dims, input, output, scratch, scratch_size);
  }
  if (nk_nested_depthwise_s8_dsp_supports(stream, dims)) {
    return nk_nested_depthwise_s8(stream, level, dims, input, output, scratch, scratch_size);
  }
  if (nk_nested_conv_s8_dsp_applies(stream)) {
    return nk_nested_conv2d_s8(stream, level, dims, input, output, scratch, scratch_size);
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}

nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  if (stream != NULL && dims != NULL && level < stream->in_place_levels) {
    return run_in_place(stream, level, dims, input, output, scratch, scratch_size);
  }
  return nk_nested_parts_s8(run_in_place, stream, level, dims, input, output, scratch,
                            scratch_size);
}
