#include "nk_depthwise.h"
#include "nk_fully_connected.h"
#include "nk_nested_conv.h"
#include "nk_nested_conv_s8_m7.h"
#include "nk_simd.h"
#include "nk_target.h"

/** Whether the tuned fully connected kernel serves the layer. */
static bool is_fully_connected(const nk_stream *stream) {
  return nk_has_simd32() && stream->kind == NK_KIND_FULLY_CONNECTED;
}

/** Whether the depthwise kernel serves the layer. */
static bool is_depthwise(const nk_stream *stream, const nk_conv_dims *dims) {
  return nk_has_simd32() && nk_nested_depthwise_s8_m7_supports(stream, dims);
}

nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  // No target may take a call that another refuses, whatever its kernel needs.
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  if (is_fully_connected(stream)) {
    nk_nested_fully_connected_s8_m7(stream, level, dims->batches, input, output);
    return NK_OK;
  }
  if (is_depthwise(stream, dims)) {
    nk_nested_depthwise_s8_m7(stream, level, dims, input, output);
    return NK_OK;
  }
#if NK_USE_M7
  if (nk_nested_conv_s8_m7_applies(stream)) {
    nk_nested_conv_s8_m7(stream, level, dims, input, output, scratch);
    return NK_OK;
  }
#endif
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}
