#include "../../include/nk_nested_conv.h"
#include "../cortex_m/nk_depthwise.h"
#include "../cortex_m/nk_fully_connected.h"
#include "../cortex_m/nk_nested_conv_s8_dsp.h"

nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  // The rest is for the function that is chosen to check.
  if (stream == NULL || dims == NULL) {
    return NK_ERROR_ARGUMENT;
  }
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
