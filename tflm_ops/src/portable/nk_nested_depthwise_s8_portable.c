#include <string.h>

#include "../ref/nk_reference.h"
#include "nk_depthwise_s8_portable.h"
#include "nk_portable.h"

/** Reads the channels of a packed stream, one after the other. */
typedef struct reader {
  const nk_stream *stream;
  int32_t level;
  /** For each level the first record of the next channel. */
  const uint8_t *records[NK_STREAM_MAX_LEVELS];
  int8_t weights[NK_PLANE_MAX_WEIGHTS];
} reader;

/** Puts the weights of the next channel, `index`, in their places. */
static void read_weights(reader *from, int32_t index) {
  const nk_stream *const s = from->stream;
  memset(from->weights, 0, sizeof(from->weights));
  for (int32_t n = 0; n <= from->level; ++n) {
    const nk_stream_level *const level = &s->level[n];
    if (level->encoding == NK_ENCODING_DENSE) {
      memcpy(from->weights, level->values + index * s->channel_weights, (size_t)s->channel_weights);
    } else if (level->encoding != NK_ENCODING_EMPTY) {
      const uint8_t *record = from->records[n];
      int32_t position = 0;
      for (int32_t i = nk_stream_count(level, index); i > 0; --i) {
        // The positions of so small a filter fit into the low byte of any delta. A filler adds 0.
        position += record[0];
        record += level->record_bytes;
        from->weights[position] = (int8_t)(from->weights[position] + (int8_t)record[-1]);
      }
      from->records[n] = record;
    }
  }
}

void nk_nested_depthwise_s8_portable(const nk_stream *stream, int32_t level,
                                     const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                                     void *scratch) {
  const nk_depthwise_layer layer = {
      .y = nk_stream_axis_y(stream, dims),
      .x = nk_stream_axis_x(stream, dims),
      .batches = dims->batches,
      .in_channels = stream->in_channels,
      .depth_multiplier = stream->depth_multiplier,
      .input_offset = stream->input_offset,
      .stage = {stream->output_offset, stream->activation_min, stream->activation_max},
  };
  const nk_stream_level *const top = &stream->level[level];
  reader from = {.stream = stream, .level = level};
  for (int32_t n = 0; n <= level; ++n) {
    from.records[n] = stream->level[n].records;
  }
  const int32_t plane_bytes = nk_nested_conv_s8_get_kernel_size(stream, dims);
  for (int32_t o = 0; o < stream->out_channels; ++o) {
    read_weights(&from, o);
    const nk_plane_channel channel = {from.weights, top->bias[o], top->multiplier[o],
                                      top->shift[o]};
    nk_depthwise_s8_portable(&layer, o, &channel, input, output, scratch, plane_bytes);
  }
  if (layer.stage.min > INT8_MIN || layer.stage.max < INT8_MAX) {
    nk_clamp_s8(output, dims->batches * dims->output_h * dims->output_w * stream->out_channels,
                layer.stage.min, layer.stage.max);
  }
}
