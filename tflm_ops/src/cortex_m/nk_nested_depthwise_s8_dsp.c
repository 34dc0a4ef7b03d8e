#include "../ref/nk_entries.h"
#include "nk_depthwise.h"

/** Channels of a packed stream at one level. */
typedef struct stream_source {
  nk_depthwise_source base;
  const nk_stream *stream;
  int32_t level;
  /** Whether the levels above 0 add nothing. */
  bool is_dense;
  /** Per level, the first record of the next channel. */
  const uint8_t *records[NK_STREAM_MAX_LEVELS];
  /** Of the level, if its tables are packed. */
  nk_packed_tables packed;
  /** Of all coded levels. */
  const nk_code_tables *tables;
  /** Per coded level, where the next channel begins. */
  nk_code_reader readers[NK_STREAM_MAX_LEVELS];
  /** The channel at hand. */
  int8_t weights[NK_DEPTHWISE_DSP_MAX_WEIGHTS];
} stream_source;

/** Puts the weights of `count` records of a channel in their places; returns the next record. */
static const uint8_t *add_records(stream_source *from, const uint8_t *record, int32_t record_bytes,
                                  int32_t count) {
  int32_t position = 0;
  for (; count > 0; --count, record += record_bytes) {
    // The positions of so small a kernel fit into the low byte of any delta.
    position += record[0];
    const int8_t weight = (int8_t)record[record_bytes - 1];
    // A filler may stand at a place that another level fills.
    if (weight != 0) {
      from->weights[position] = weight;
    }
  }
  return record;
}

/** The same for a level that is the `coded`-th of the coded ones. */
static NK_NOINLINE void add_codes(stream_source *from, int32_t n, int32_t coded, int32_t index) {
  // A channel has at most one entry for each of its weights.
  _Alignas(4) uint8_t records[2 * NK_DEPTHWISE_DSP_MAX_WEIGHTS];
  const nk_stream_level *level = &from->stream->level[n];
  const int32_t count = nk_stream_count(level, index);
  if (index == 0) {
    from->readers[n] = nk_code_open(level, from->tables + coded);
  }
  nk_code_unpack(&from->readers[n], 1, count, records);
  if (count > 0) {
    --records[0];  // the first delta of a channel
  }
  add_records(from, records, 2, count);
}

/** The weights of a channel at the source's level. */
static const int8_t *weights_of(stream_source *from, int32_t index) {
  const nk_stream *s = from->stream;
  const int8_t *dense = NULL;
  // Only level 0 can be dense; all of a layer that is not pruned.
  if (s->level[0].encoding == NK_ENCODING_DENSE) {
    dense = s->level[0].values + index * s->channel_weights;
    if (from->is_dense) {
      return dense;
    }
  }
  for (int32_t i = 0; i < s->channel_weights; ++i) {
    from->weights[i] = dense == NULL ? 0 : dense[i];
  }
  int32_t coded = 0;
  for (int32_t n = 0; n <= from->level; ++n) {
    const nk_stream_level *level = &s->level[n];
    if (level->records != NULL) {
      const uint8_t *record = index == 0 ? level->records : from->records[n];
      from->records[n] =
          add_records(from, record, level->record_bytes, nk_stream_count(level, index));
    } else if (level->codes != NULL) {
      add_codes(from, n, coded++, index);
    }
  }
  return from->weights;
}

static void fetch(nk_depthwise_source *source, int32_t index, nk_depthwise_channel *channel) {
  stream_source *from = (stream_source *)source;
  const nk_stream_level *top = &from->stream->level[from->level];
  channel->weights = weights_of(from, index);
  if (nk_stream_bias_is_folded(top)) {
    channel->folded_bias = top->bias[index];
    channel->multiplier = top->multiplier[index];
    channel->shift = top->shift[index];
    return;
  }
  const nk_channel_tables tables = nk_packed_tables_at(&from->packed, index);
  int32_t sum = 0;
  for (int32_t i = 0; i < from->stream->channel_weights; ++i) {
    sum += channel->weights[i];
  }
  channel->folded_bias = tables.bias + from->stream->input_offset * sum;
  channel->multiplier = tables.multiplier;
  channel->shift = tables.shift;
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
  stream_source source = {
      .base = {fetch}, .stream = stream, .level = level, .is_dense = true, .tables = scratch};
  if (!nk_stream_bias_is_folded(&stream->level[level])) {
    source.packed = nk_packed_tables_open(&stream->level[level]);
  }
  void *tile = nk_entries_make_tables(stream, level, scratch);
  for (int32_t n = 1; n <= level; ++n) {
    source.is_dense = source.is_dense && stream->level[n].encoding == NK_ENCODING_EMPTY;
  }
  nk_depthwise_s8_dsp(&layer, &source.base, input, output, tile);
}
