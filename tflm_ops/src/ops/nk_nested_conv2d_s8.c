#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "../cortex_m/nk_target.h"
#include "../ref/nk_reference.h"
#include "../stream/nk_stream_parts.h"

#if NK_USE_DSP
static void run_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                    const int8_t *input, int8_t *output, void *scratch) {
  const int32_t step = stream->out_channels;
  if (nk_stream_is_in_place(stream, level)) {
    nk_nested_conv_s8_dsp(stream, level, dims, input, output, step, scratch);
    return;
  }
  nk_stream_parts *parts = nk_stream_parts_open(stream, level, scratch);
  void *rest = (uint8_t *)scratch + nk_stream_parts_bytes(stream);
  while (nk_stream_parts_next(parts)) {
    nk_nested_conv_s8_dsp(&parts->stream, level, dims, input, output + parts->first, step, rest);
  }
}
#endif

nk_status nk_nested_conv2d_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size) {
  // No target may take a call that another refuses, whatever its kernel needs.
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  if (!nk_nested_conv2d_s8_takes(stream, dims)) {
    return NK_ERROR_ARGUMENT;
  }
#if NK_USE_DSP
  run_dsp(stream, level, dims, input, output, scratch);
  return NK_OK;
#else
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
#endif
}
