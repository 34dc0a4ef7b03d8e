#include "nk_nested_conv_s8_m7.h"
#include "nk_target.h"

nk_status nk_nested_conv2d_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size) {
#if NK_USE_M7
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  if (!nk_nested_conv_s8_m7_applies(stream)) {
    return NK_ERROR_ARGUMENT;
  }
  nk_nested_conv_s8_m7(stream, level, dims, input, output, scratch);
  return NK_OK;
#else
  if (stream != NULL && !nk_nested_conv_s8_m7_applies(stream)) {
    return NK_ERROR_ARGUMENT;
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
#endif
}
