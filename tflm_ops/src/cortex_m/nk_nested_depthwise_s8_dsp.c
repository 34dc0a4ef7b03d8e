#include <string.h>

#include "nk_depthwise.h"

/** Channels of a packed stream at one level. */
typedef struct stream_source {
  nk_depthwise_source base;
  const nk_stream *stream;
  int32_t level;
  /** Whether level 0 is dense and the levels above it add nothing. */
  bool is_dense;
  /** Per level, the first record of the next channel. */
  const uint8_t *records[NK_STREAM_MAX_LEVELS];
  /** Of the channels at hand. */
  int8_t weights[NK_DEPTHWISE_TILE_CHANNELS * NK_DEPTHWISE_DSP_MAX_WEIGHTS];
} stream_source;

/** Puts the weights that one level with records has of a channel in their places. */
static void add_records(stream_source *from, int32_t n, int32_t index, int8_t *weights) {
  const nk_stream_level *level = &from->stream->level[n];
  const uint8_t *record = index == 0 ? level->records : from->records[n];
  int32_t position = 0;
  for (int32_t i = nk_stream_count(level, index); i > 0; --i, record += level->record_bytes) {
    // The positions of so small a kernel fit into the low byte of any delta.
    position += record[0];
    const int8_t weight = (int8_t)record[level->record_bytes - 1];
    // A filler may stand at a place that another level fills.
    if (weight != 0) {
      weights[position] = weight;
    }
  }
  from->records[n] = record;
}

/** Puts the weights of `count` channels at the source's level together. */
static void gather(stream_source *from, int32_t first, int32_t count) {
  const nk_stream *s = from->stream;
  const int32_t size = s->channel_weights;
  // Only level 0 can be dense; all of a layer that is not pruned.
  if (s->level[0].encoding == NK_ENCODING_DENSE) {
    memcpy(from->weights, s->level[0].values + first * size, (size_t)count * (size_t)size);
  } else {
    memset(from->weights, 0, (size_t)count * (size_t)size);
  }
  for (int32_t n = 0; n <= from->level; ++n) {
    if (s->level[n].counts != NULL) {
      for (int32_t c = 0; c < count; ++c) {
        add_records(from, n, first + c, from->weights + c * size);
      }
    }
  }
}

static void fetch(nk_depthwise_source *source, int32_t first, int32_t count,
                  nk_depthwise_tables *tables) {
  stream_source *from = (stream_source *)source;
  const nk_stream *s = from->stream;
  const nk_stream_level *top = &s->level[from->level];
  if (from->is_dense) {
    tables->weights = s->level[0].values + first * s->channel_weights;
  } else {
    gather(from, first, count);
    tables->weights = from->weights;
  }
  tables->bias = top->bias + first;
  tables->multiplier = top->multiplier + first;
  tables->shift = top->shift + first;
}

static nk_depthwise_layer layer_of(const nk_stream *s, const nk_conv_dims *dims) {
  const nk_depthwise_layer layer = {
      .y = nk_stream_axis_y(s, dims),
      .x = nk_stream_axis_x(s, dims),
      .batches = dims->batches,
      .in_channels = s->in_channels,
      .depth_multiplier = s->depth_multiplier,
      .input_offset = s->input_offset,
      .stage = {s->output_offset, s->activation_min, s->activation_max},
  };
  return layer;
}

void nk_nested_depthwise_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch) {
  const nk_depthwise_layer layer = layer_of(stream, dims);
  stream_source source = {.base = {fetch},
                          .stream = stream,
                          .level = level,
                          .is_dense = stream->level[0].encoding == NK_ENCODING_DENSE};
  for (int32_t n = 1; n <= level; ++n) {
    source.is_dense = source.is_dense && stream->level[n].encoding == NK_ENCODING_EMPTY;
  }
  const int32_t bytes = nk_nested_depthwise_s8_dsp_get_buffer_size(stream, dims);
  nk_depthwise_s8_dsp(&layer, &source.base, input, output, scratch,
                      bytes / (NK_DEPTHWISE_PAIR_WORDS * (int32_t)sizeof(uint32_t)));
}
