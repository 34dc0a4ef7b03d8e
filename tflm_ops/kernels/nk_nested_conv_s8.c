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

nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  if (is_fully_connected(stream, level, dims, input, output)) {
    nk_nested_fully_connected_s8_m7(stream, level, dims->batches, input, output);
    return NK_OK;
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}
