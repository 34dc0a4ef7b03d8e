#include "nk_dot_four_s8.h"
#include "nk_portable.h"

/** Sum over the records from `at` to `end` of weight * x. */
static NK_ALWAYS_INLINE int32_t sum_blocks(const uint8_t *at, const uint8_t *end, const int8_t *x,
                                           int32_t delta_bytes, int32_t size) {
  int32_t sum = 0;
  while (at != end) {
    const int32_t delta = delta_bytes == 1 ? at[0] : at[0] | at[1] << 8;
    at += delta_bytes;
    x += delta * size;
    for (int32_t i = 0; i < size; ++i) {
      sum += (int8_t)*at++ * x[i];
    }
  }
  return sum;
}

/** sum_blocks() with the most frequent shapes as constants. */
static int32_t sum_records(const uint8_t *at, const uint8_t *end, const int8_t *x,
                           int32_t delta_bytes, int32_t size) {
  if (delta_bytes != 1) {
    return sum_blocks(at, end, x, 2, size);
  }
  switch (size) {
    case 1:
      return sum_blocks(at, end, x, 1, 1);
    case 2:
      return sum_blocks(at, end, x, 1, 2);
    default:
      return sum_blocks(at, end, x, 1, 4);
  }
}

/** The sums of weight * x of up to four features from `first` on; `records` moves on. */
static void sum_four(const nk_stream *s, int32_t level, int32_t first, const int8_t *x,
                     const uint8_t **records, int32_t *sums) {
  const int32_t count = nk_min(NK_FOUR_FEATURES, s->out_channels - first);
  sums[0] = sums[1] = sums[2] = sums[3] = 0;
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *const from = &s->level[n];
    if (from->encoding == NK_ENCODING_DENSE) {
      const int8_t *rows[NK_FOUR_FEATURES];
      nk_four_rows(from->values + first * s->channel_weights, count, s->channel_weights, rows);
      nk_dot_four_s8(x, rows, s->channel_weights, 0, sums);
    } else if (from->encoding != NK_ENCODING_EMPTY) {
      for (int32_t i = 0; i < count; ++i) {
        const uint8_t *const end =
            records[n] + nk_stream_count(from, first + i) * from->record_bytes;
        sums[i] +=
            sum_records(records[n], end, x, from->record_bytes - s->block_size, s->block_size);
        records[n] = end;
      }
    }
  }
}

void nk_nested_fully_connected_s8_portable(const nk_stream *stream, int32_t level, int32_t rows,
                                           const int8_t *input, int8_t *output) {
  const nk_stream_level *const top = &stream->level[level];
  const nk_output_stage stage = {stream->output_offset, stream->activation_min,
                                 stream->activation_max};
  for (int32_t row = 0; row < rows; ++row) {
    const uint8_t *records[NK_STREAM_MAX_LEVELS];
    for (int32_t n = 0; n <= level; ++n) {
      records[n] = stream->level[n].records;
    }
    for (int32_t first = 0; first < stream->out_channels; first += NK_FOUR_FEATURES) {
      int32_t sums[NK_FOUR_FEATURES];
      sum_four(stream, level, first, input, records, sums);
      const int32_t end = nk_min(first + NK_FOUR_FEATURES, stream->out_channels);
      for (int32_t o = first; o < end; ++o) {
        output[o] = nk_requantize_once(nk_wrapping_add(sums[o - first], top->bias[o]),
                                       top->multiplier[o], top->shift[o], &stage);
      }
    }
    input += stream->in_channels;
    output += stream->output_channels;
  }
}
