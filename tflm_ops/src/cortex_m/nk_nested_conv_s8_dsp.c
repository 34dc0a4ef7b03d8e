/** The nested convolution for Cortex-M7: a stream's tables and sizes for the tiles. */
#include "nk_nested_conv_s8_dsp.h"

#include "nk_depthwise.h"
#include "nk_dsp_conv.h"
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

static nk_dsp_conv make_conv(const nk_stream *s, int32_t level, const nk_conv_dims *d,
                             int32_t step) {
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
      .output_step = step,
      .depth_multiplier = s->kind == NK_KIND_DEPTHWISE ? s->depth_multiplier : 0,
      .input_offset = s->input_offset,
      .stage = {s->output_offset, s->activation_min, s->activation_max},
      .stream = s,
      .level = level,
  };
  return made;
}

int32_t nk_nested_conv_s8_dsp_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims) {
  nk_dsp_conv conv = make_conv(stream, stream->levels - 1, dims, stream->out_channels);
  return nk_dsp_conv_lay_out(&conv, NULL);
}

#if NK_USE_DSP

/** Whether a channel has no weights up to a level. */
static bool is_constant(const nk_stream *s, int32_t level, int32_t channel) {
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *here = &s->level[n];
    if (here->encoding == NK_ENCODING_DENSE ||
        (here->encoding != NK_ENCODING_EMPTY && nk_stream_count(here, channel) > 0)) {
      return false;
    }
  }
  return true;
}

void nk_nested_conv_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                           const int8_t *input, int8_t *output, int32_t step, void *scratch) {
  nk_dsp_conv conv = make_conv(stream, level, dims, step);
  nk_dsp_conv_lay_out(&conv, scratch);
  const nk_stream_level *top = &stream->level[level];
  const int32_t largest_bias = nk_dsp_largest_bias(&conv.stage, stream->channel_weights);
  for (int32_t o = 0; o < stream->out_channels; ++o) {
    nk_dsp_channel *channel = &conv.channels[o];
    nk_dsp_set_channel(channel, &conv.stage, largest_bias, top->bias[o], top->multiplier[o],
                       top->shift[o]);
    // Channels without weights are cheap whatever the range of their tables.
    if (channel->exact && is_constant(stream, level, o)) {
      nk_dsp_set_constant_channel(
          channel, nk_requantize(top->bias[o], top->multiplier[o], top->shift[o], &conv.stage));
    }
  }
  nk_dsp_conv_run(&conv, input, output);
}

#endif  // NK_USE_DSP
