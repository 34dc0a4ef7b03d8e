/** The nested convolution for Cortex-M7: a stream's tables and sizes for the tiles. */
#include "nk_nested_conv_s8_dsp.h"

#include "nk_depthwise.h"
#include "nk_dsp_conv.h"
#include "nk_dsp_dense.h"
#include "nk_nested_conv_s8_mve.h"
#include "nk_nested_dense_conv_s8_mve.h"
#include "nk_target.h"

bool nk_nested_conv_s8_dsp_applies(const nk_stream *s) {
  return s->kind != NK_KIND_FULLY_CONNECTED && s->dilation_h == 1 && s->dilation_w == 1;
}

bool nk_nested_conv2d_s8_takes(const nk_stream *s, const nk_conv_dims *dims) {
  if (s->kind == NK_KIND_CONV) {
    return s->dilation_h == 1 && s->dilation_w == 1;
  }
  return nk_nested_conv_s8_dsp_applies(s) && !nk_nested_depthwise_s8_dsp_supports(s, dims);
}

static nk_dsp_conv make_conv(const nk_stream *s, int32_t level, const nk_conv_dims *d) {
  const nk_dsp_conv made = {
      .batches = d->batches,
      .input_h = d->input_h,
      .input_w = d->input_w,
      .output_h = d->output_h,
      .output_w = d->output_w,
      .kernel_h = s->kernel_h,
      .kernel_w = s->kernel_w,
      .stride_h = s->stride_h,
      .stride_w = s->stride_w,
      .pad_top = s->pad_top,
      .pad_left = s->pad_left,
      .in_channels = s->in_channels,
      .out_channels = s->out_channels,
      .output_step = s->output_channels,
      .depth_multiplier = s->kind == NK_KIND_DEPTHWISE ? s->depth_multiplier : 0,
      .input_offset = s->input_offset,
      .stage = {s->output_offset, s->activation_min, s->activation_max},
      .stream = s,
      .level = level,
  };
  return made;
}

int32_t nk_nested_conv_s8_dsp_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims,
                                              bool has_sink) {
  if (!has_sink && nk_dsp_dense_takes(stream)) {
    return nk_dsp_dense_bytes(stream);
  }
  nk_dsp_conv conv = make_conv(stream, stream->levels - 1, dims);
  return nk_dsp_conv_lay_out(&conv, NULL);
}

#if NK_USE_DSP

void nk_nested_conv_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                           const int8_t *input, int8_t *output, void *scratch, size_t scratch_size,
                           const nk_dsp_sink *sink, nk_dsp_chain_maker *make_chain) {
#if NK_USE_MVE
  const int32_t bytes = nk_nested_conv_s8_dsp_get_buffer_size(stream, dims, sink != NULL);
  if (nk_nested_dense_conv_s8_mve(stream, level, dims, input, output, scratch, bytes, sink) ||
      nk_nested_conv_s8_mve(stream, level, dims, input, output, scratch, bytes, sink)) {
    return;
  }
#endif
  if (sink == NULL && nk_dsp_dense_takes(stream)) {
    nk_dsp_dense_run(stream, level, dims, input, output, scratch);
    return;
  }
  nk_dsp_conv conv = make_conv(stream, level, dims);
  conv.sink = sink;
  conv.make_chain = make_chain;
  // nk_dsp_conv_lay_out() puts the list last.
  const int32_t used = nk_dsp_conv_lay_out(&conv, scratch);
  conv.list_bytes += (int32_t)(scratch_size < INT32_MAX ? scratch_size : INT32_MAX) - used;
  nk_dsp_conv_run(&conv, input, output);
}

#endif  // NK_USE_DSP
