/** The nested convolution for Cortex-M7: makes the levels of a stream the segments of tiles. */
#include "nk_nested_conv_s8_m7.h"

#include "nk_m7_conv.h"
#include "nk_target.h"

bool nk_nested_conv_s8_m7_applies(const nk_stream *s) {
  return s->kind != NK_KIND_FULLY_CONNECTED && s->dilation_h == 1 && s->dilation_w == 1;
}

static nk_m7_conv make_conv(const nk_stream *s, const nk_conv_dims *d) {
  const nk_m7_conv made = {
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
      .depth_multiplier = s->kind == NK_KIND_DEPTHWISE ? s->depth_multiplier : 0,
      .block_size = s->block_size,
      .input_offset = s->input_offset,
      .stage = {s->output_offset, s->activation_min, s->activation_max},
  };
  return made;
}

int32_t nk_nested_conv_s8_m7_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims) {
  nk_m7_conv conv = make_conv(stream, dims);
  return nk_m7_conv_lay_out(&conv, NULL);
}

#if NK_USE_M7

static void fill_counts(const nk_m7_conv *conv, int32_t count) {
  for (int32_t o = 0; o < conv->out_channels; ++o) {
    conv->counts[o] = (uint16_t)count;
  }
}

static uint32_t loop_of(const nk_stream_level *level, int32_t block_size) {
  if (level->encoding == NK_ENCODING_DELTA16) {
    return NK_M7_LOOP_WIDE;
  }
  return block_size == 1   ? NK_M7_LOOP_SINGLE
         : block_size == 2 ? NK_M7_LOOP_BLOCK2
                           : NK_M7_LOOP_BLOCK4;
}

static void add_levels(nk_m7_conv *conv, const nk_stream *s, int32_t level) {
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *here = &s->level[n];
    if (here->encoding == NK_ENCODING_DENSE) {
      fill_counts(conv, s->channel_weights);
      nk_m7_conv_add_segment(conv, here->values, conv->counts, NK_M7_LOOP_DENSE);
    } else if (here->encoding != NK_ENCODING_EMPTY) {
      nk_m7_conv_add_segment(conv, here->records, here->counts, loop_of(here, s->block_size));
    }
  }
  if (conv->segment_count == 0) {
    // All levels are empty: one segment without entries, whose stream is never multiplied.
    fill_counts(conv, 0);
    nk_m7_conv_add_segment(conv, conv->counts, conv->counts, NK_M7_LOOP_SINGLE);
  }
}

static void set_rows(nk_m7_conv *conv, const nk_stream_level *top) {
  for (int32_t o = 0; o < conv->out_channels; ++o) {
    int32_t weights = 0;
    for (int32_t n = 0; n < conv->segment_count; ++n) {
      const nk_m7_segment *segment = &conv->segments[n];
      const bool dense = segment->loop == NK_M7_LOOP_DENSE;
      weights += segment->counts[o] * (dense ? 1 : conv->block_size);
    }
    nk_m7_set_row(&conv->rows[o], &conv->stage, top->bias[o], top->multiplier[o], top->shift[o],
                  weights);
  }
}

void nk_nested_conv_s8_m7(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                          const int8_t *input, int8_t *output, void *scratch) {
  nk_m7_conv conv = make_conv(stream, dims);
  nk_m7_conv_lay_out(&conv, scratch);
  add_levels(&conv, stream, level);
  set_rows(&conv, &stream->level[level]);
  nk_m7_conv_run(&conv, input, output);
}

#endif  // NK_USE_M7
