/** The nested convolution for Cortex-M7: makes the levels of a stream the segments of tiles. */
#include "nk_nested_conv_s8_m7.h"

#include <string.h>

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
      .levels = s->levels,
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

static uint32_t loop_of(const nk_stream_level *level, int32_t block_size) {
  switch (level->encoding) {
    case NK_ENCODING_DENSE:
      return NK_M7_LOOP_DENSE;
    case NK_ENCODING_DELTA16:
      return NK_M7_LOOP_WIDE;
    default:
      return block_size == 1   ? NK_M7_LOOP_SINGLE
             : block_size == 2 ? NK_M7_LOOP_BLOCK2
                               : NK_M7_LOOP_BLOCK4;
  }
}

/** Tiles read a count once a channel: it is unpacked once a call. Those of a dense level are
 * weights. */
static void set_counts(const nk_stream *s, const nk_stream_level *level, uint16_t *counts) {
  if (level->encoding == NK_ENCODING_DENSE) {
    for (int32_t o = 0; o < s->out_channels; ++o) {
      counts[o] = (uint16_t)s->channel_weights;
    }
  } else {
    for (int32_t o = 0; o < s->out_channels; ++o) {
      counts[o] = (uint16_t)nk_stream_count(level, o);
    }
  }
}

static void add_levels(nk_m7_conv *conv, const nk_stream *s, int32_t level) {
  uint16_t *counts = conv->counts;
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *here = &s->level[n];
    if (here->encoding == NK_ENCODING_EMPTY) {
      continue;
    }
    const bool dense = here->encoding == NK_ENCODING_DENSE;
    const void *stream = dense ? (const void *)here->values : here->records;
    set_counts(s, here, counts);
    nk_m7_conv_add_segment(conv, stream, counts, loop_of(here, s->block_size));
    counts += s->out_channels;
  }
  if (conv->segment_count == 0) {
    // All levels are empty: one segment without entries, whose stream is never multiplied.
    memset(counts, 0, (size_t)s->out_channels * sizeof(*counts));
    nk_m7_conv_add_segment(conv, counts, counts, NK_M7_LOOP_SINGLE);
  }
}

static void set_rows(nk_m7_conv *conv, const nk_stream *s, const nk_stream_level *top) {
  const int32_t largest_bias = nk_m7_largest_bias(&conv->stage, s->channel_weights);
  // Only the first segment can be dense.
  const int32_t dense = conv->segments[0].loop == NK_M7_LOOP_DENSE ? s->channel_weights : 0;
  const uint16_t *first = conv->counts + (dense > 0 ? conv->out_channels : 0);
  const uint16_t *end = conv->counts + conv->segment_count * conv->out_channels;
  for (int32_t o = 0; o < conv->out_channels; ++o) {
    int32_t entries = 0;
    for (const uint16_t *count = first + o; count < end; count += conv->out_channels) {
      entries += *count;
    }
    nk_m7_set_row(&conv->rows[o], &conv->stage, largest_bias, top->bias[o], top->multiplier[o],
                  top->shift[o], dense + entries * conv->block_size);
  }
}

void nk_nested_conv_s8_m7(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                          const int8_t *input, int8_t *output, void *scratch) {
  nk_m7_conv conv = make_conv(stream, dims);
  nk_m7_conv_lay_out(&conv, scratch);
  add_levels(&conv, stream, level);
  set_rows(&conv, stream, &stream->level[level]);
  nk_m7_conv_run(&conv, input, output);
}

#endif  // NK_USE_M7
