#include "../../include/nk_nested_conv.h"
#include "../cortex_m/nk_dsp_chain.h"
#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "../cortex_m/nk_short_sum.h"
#include "../cortex_m/nk_target.h"
#include "../portable/nk_portable.h"
#include "../ref/nk_reference.h"

int32_t nk_nested_conv2d_add_s8_get_kernel_size(const nk_stream *stream, const nk_conv_dims *dims) {
  const int32_t alone = nk_nested_conv_s8_get_kernel_size(stream, dims);
  if (alone < 0) {
    return -1;
  }
  const int32_t tiles = nk_nested_conv_s8_dsp_get_buffer_size(stream, dims, true);
  return nk_max(alone, tiles) + nk_dsp_sink_bytes(stream->output_channels);
}

/** Adds the elements of the other tensor that lie where the outputs of the tile belong. */
static void add_tile(const nk_dsp_sink *sink, int8_t *output, int32_t pixels) {
  const nk_dsp_adder *a = (const nk_dsp_adder *)(const void *)sink;
  const int8_t *other = a->other + (output - a->output);
  const int8_t *tile = sink->tile;
  if (a->channels == a->step) {
    nk_short_sum_s8(a->sum, tile, other, output, pixels * a->step);
    return;
  }
  for (; pixels > 0; --pixels, tile += a->step, other += a->step, output += a->step) {
    nk_short_sum_s8(a->sum, tile, other, output, a->channels);
  }
}

static NK_ALWAYS_INLINE nk_status run_with_sum(const nk_stream *stream, int32_t level,
                                               const nk_conv_dims *dims, const int8_t *input,
                                               const nk_add_params *sum, const int8_t *other,
                                               int8_t *output, void *scratch, size_t scratch_size,
                                               bool has_chains) {
  if (sum == NULL || other == NULL || !nk_has_short_sum(sum) ||
      !nk_is_activation_range(sum->activation_min, sum->activation_max) || stream == NULL ||
      stream->kind != NK_KIND_CONV || !nk_nested_conv_s8_dsp_applies(stream)) {
    return NK_ERROR_ARGUMENT;
  }
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  if (scratch_size < (size_t)nk_nested_conv2d_add_s8_get_kernel_size(stream, dims)) {
    return NK_ERROR_BUFFER;
  }
  const nk_dsp_adder a = {{add_tile, scratch},    sum, other, output, stream->out_channels,
                          stream->output_channels};
  const int32_t sink_bytes = nk_dsp_sink_bytes(stream->output_channels);
  uint8_t *rest = (uint8_t *)scratch + sink_bytes;
#if NK_USE_DSP
  nk_nested_conv_s8_dsp(stream, level, dims, input, output, rest, scratch_size - (size_t)sink_bytes,
                        &a.sink, has_chains ? nk_dsp_chain_make : NULL);
#else
  (void)has_chains;
  nk_nested_conv_s8_portable(stream, level, dims, input, output, rest, &a.sink);
#endif
  return NK_OK;
}

nk_status nk_nested_conv2d_add_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                  const int8_t *input, const nk_add_params *sum,
                                  const int8_t *other, int8_t *output, void *scratch,
                                  size_t scratch_size) {
  return run_with_sum(stream, level, dims, input, sum, other, output, scratch, scratch_size, true);
}

nk_status nk_nested_conv2d_add_small_s8(const nk_stream *stream, int32_t level,
                                        const nk_conv_dims *dims, const int8_t *input,
                                        const nk_add_params *sum, const int8_t *other,
                                        int8_t *output, void *scratch, size_t scratch_size) {
  return run_with_sum(stream, level, dims, input, sum, other, output, scratch, scratch_size, false);
}
