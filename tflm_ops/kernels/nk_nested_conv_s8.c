#include "nk_depthwise.h"
#include "nk_fully_connected.h"
#include "nk_nested_conv.h"
#include "nk_simd.h"

/** Whether the fully connected kernel takes the call; one that is not valid is the reference's. */
static bool is_fully_connected(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                               const int8_t *input, const int8_t *output) {
  return nk_has_simd32() && stream != NULL && stream->kind == NK_KIND_FULLY_CONNECTED &&
         0 <= level && level < stream->levels && dims != NULL && dims->input_h == 1 &&
         dims->input_w == 1 && dims->output_h == 1 && dims->output_w == 1 && 1 <= dims->batches &&
         dims->batches <= INT32_MAX / UINT16_MAX && input != NULL && output != NULL;
}

/** Whether the depthwise kernel takes the call, likewise. */
static bool is_depthwise(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                         const int8_t *input, const int8_t *output, const void *scratch,
                         size_t scratch_size) {
  if (!nk_has_simd32() || stream == NULL || stream->kind != NK_KIND_DEPTHWISE) {
    return false;
  }
  const int32_t needed = nk_nested_conv_s8_get_buffer_size(stream, dims);
  // The kernel needs no scratch, but no target may take a call that another refuses.
  return needed >= 0 && scratch != NULL && (uintptr_t)scratch % sizeof(int32_t) == 0 &&
         (size_t)needed <= scratch_size && 0 <= level && level < stream->levels && input != NULL &&
         output != NULL && nk_nested_depthwise_s8_m7_supports(stream, dims);
}

nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  if (is_fully_connected(stream, level, dims, input, output)) {
    nk_nested_fully_connected_s8_m7(stream, level, dims->batches, input, output);
    return NK_OK;
  }
  if (is_depthwise(stream, level, dims, input, output, scratch, scratch_size)) {
    nk_nested_depthwise_s8_m7(stream, level, dims, input, output);
    return NK_OK;
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}
