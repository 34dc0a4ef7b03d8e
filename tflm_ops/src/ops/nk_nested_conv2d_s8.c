#include "../cortex_m/nk_dsp_chain.h"
#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "../cortex_m/nk_target.h"
#include "../portable/nk_portable.h"
#include "../ref/nk_reference.h"

static NK_ALWAYS_INLINE nk_status run_conv2d(const nk_stream *stream, int32_t level,
                                             const nk_conv_dims *dims, const int8_t *input,
                                             int8_t *output, void *scratch, size_t scratch_size,
                                             bool has_chains) {
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
  nk_nested_conv_s8_dsp(stream, level, dims, input, output, scratch, scratch_size, NULL,
                        has_chains ? nk_dsp_chain_make : NULL);
  return NK_OK;
#else
  (void)has_chains;
  if (stream->kind == NK_KIND_CONV) {
    nk_nested_conv_s8_portable(stream, level, dims, input, output, scratch, NULL);
    return NK_OK;
  }
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
#endif
}

nk_status nk_nested_conv2d_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size) {
  return run_conv2d(stream, level, dims, input, output, scratch, scratch_size, true);
}

nk_status nk_nested_conv2d_small_s8(const nk_stream *stream, int32_t level,
                                    const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                                    void *scratch, size_t scratch_size) {
  return run_conv2d(stream, level, dims, input, output, scratch, scratch_size, false);
}
