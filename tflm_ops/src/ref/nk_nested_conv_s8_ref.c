/**
 * The reference kernel of NESTED_SPARSE_CONV.
 *
 * The order of the work makes decoding cheap. For one output channel, the kernel keeps the
 * accumulators of all output pixels that fit into scratch (the "plane"), and decodes each stored
 * entry once for the whole plane. The weights of an entry are added to the whole plane, up to four
 * weights of the same kernel tap in one pass. The rows and columns for which a tap lies inside the
 * input are found once per tap, so that the pixel loops have no border checks.
 *
 * The folded bias includes input_offset * weight for every weight, to cancel the zero point that
 * other kernels read as padding. This kernel skips padding. So the kernel subtracts input_offset *
 * (sum of the weights) from the bias, and adds weight * (x + input_offset) where there is an input.
 *
 * A fully connected layer has one output pixel per row and no padding: there each output is the
 * folded bias and weight * x in one pass over the entries of its channel.
 */
#include <string.h>

#include "../../include/nk_nested_conv.h"
#include "nk_arithmetic.h"
#include "nk_geometry.h"
#include "nk_reference.h"

#define BATCH_SIZE 4

/** The layer, with the sizes of its tensors. */
typedef struct layer {
  const nk_stream *stream;
  nk_axis y;
  nk_axis x;
  nk_output_stage stage;
  /** Steps in the input from one output column, or row, to the next. */
  int32_t column_step;
  int32_t row_step;
} layer;

static layer make_layer(const nk_stream *stream, const nk_conv_dims *dims) {
  const layer made = {
      .stream = stream,
      .y = {dims->input_h, dims->output_h, stream->kernel_h, stream->stride_h, stream->dilation_h,
            stream->pad_top},
      .x = {dims->input_w, dims->output_w, stream->kernel_w, stream->stride_w, stream->dilation_w,
            stream->pad_left},
      .stage = {stream->output_offset, stream->activation_min, stream->activation_max},
  };
  return made;
}

/**
 * Makes one row of the whole image where a pixel meets only the pixel at its own place, with a 1x1
 * kernel that neither strides nor pads: one long loop then covers the plane.
 */
static void flatten(layer *l) {
  if (l->y.kernel == 1 && l->x.kernel == 1 && l->y.stride == 1 && l->x.stride == 1 &&
      l->y.pad == 0 && l->x.pad == 0 && l->x.input == l->x.output) {
    l->x.input *= l->y.input;
    l->x.output *= l->y.output;
    l->y.input = 1;
    l->y.output = 1;
  }
}

/** Walks through the entries of one level, channel after channel; unused for an empty level. */
typedef struct cursor {
  /** First entry of the channel at hand. */
  const uint8_t *entry;
  /** Bytes of the delta in front of an entry's weights; 0 in a dense level, which has none. */
  int32_t delta_bytes;
  /** Bytes of an entry: its delta and its weights. */
  int32_t entry_bytes;
} cursor;

/** Sets one cursor per level, from 0 to `level`, to the first channel. */
static void start(const nk_stream *stream, int32_t level, cursor *cursors) {
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *from = &stream->level[n];
    if (from->encoding == NK_ENCODING_DENSE) {
      cursors[n] = (cursor){(const uint8_t *)from->values, 0, stream->block_size};
    } else {
      cursors[n] =
          (cursor){from->records, from->record_bytes - stream->block_size, from->record_bytes};
    }
  }
}

/** Number of entries of one channel; every block position has one in a dense level. */
static uint32_t entries_of_channel(const nk_stream *stream, const nk_stream_level *level,
                                   int32_t channel) {
  switch (level->encoding) {
    case NK_ENCODING_EMPTY:
      return 0;
    case NK_ENCODING_DENSE:
      return (uint32_t)(stream->channel_weights / stream->block_size);
    default:
      return (uint32_t)nk_stream_count(level, channel);
  }
}

/** Steps from the entry before, in blocks. */
static int32_t delta_of_entry(const uint8_t *entry, int32_t delta_bytes) {
  switch (delta_bytes) {
    case 1:
      return entry[0];
    case 2:
      return entry[0] | entry[1] << 8;
    default:
      return 1;
  }
}

/** One kernel tap: its weights, and the part of the plane whose input pixel exists. */
typedef struct tap {
  /** Positions in the channel's filter of the tap's first weight and past its last. */
  int32_t begin;
  int32_t end;
  nk_range rows;
  nk_range columns;
  /** Offset from the input's start to the pixel that meets the first row and column. */
  int32_t first_pixel;
} tap;

static NK_NOINLINE tap find_tap(const layer *l, int32_t position) {
  const nk_stream *s = l->stream;
  const int32_t index = position / s->filter_channels;
  const int32_t ky = index / s->kernel_w;
  const int32_t kx = index % s->kernel_w;
  tap t = {
      .begin = index * s->filter_channels,
      .end = (index + 1) * s->filter_channels,
      .rows = nk_axis_outputs(&l->y, ky),
      .columns = nk_axis_outputs(&l->x, kx),
  };
  const int32_t iy = t.rows.begin * l->y.stride - l->y.pad + ky * l->y.dilation;
  const int32_t ix = t.columns.begin * l->x.stride - l->x.pad + kx * l->x.dilation;
  if (t.rows.begin < t.rows.end && t.columns.begin < t.columns.end) {
    t.first_pixel = (iy * l->x.input + ix) * s->in_channels;
  } else {
    t.rows.end = t.rows.begin;
  }
  return t;
}

/** Up to four weights of one tap, to be added to the plane in one pass. */
typedef struct batch {
  int32_t count;
  int32_t weight[BATCH_SIZE];
  /** Input channel of each weight. */
  int32_t channel[BATCH_SIZE];
} batch;

/** acc += weight * (x + input_offset) for all pixels; `input` is the image. */
static NK_NOINLINE void add_one(const layer *l, const tap *t, int32_t weight, const int8_t *input,
                                int32_t *plane) {
  const int32_t count = t->columns.end - t->columns.begin;
  const int32_t input_offset = l->stream->input_offset;
  for (int32_t oy = t->rows.begin; oy < t->rows.end; ++oy, input += l->row_step) {
    int32_t *acc = plane + oy * l->x.output + t->columns.begin;
    const int8_t *x = input;
    for (int32_t i = 0; i < count; ++i, x += l->column_step) {
      acc[i] += weight * (*x + input_offset);
    }
  }
}

/** The same for four weights at once; the sum of weight * input_offset is the same everywhere. */
static NK_NOINLINE void add_four(const layer *l, const tap *t, const batch *b, const int8_t *input,
                                 int32_t *plane) {
  const int32_t count = t->columns.end - t->columns.begin;
  const int32_t w0 = b->weight[0];
  const int32_t w1 = b->weight[1];
  const int32_t w2 = b->weight[2];
  const int32_t w3 = b->weight[3];
  const int32_t c1 = b->channel[1] - b->channel[0];
  const int32_t c2 = b->channel[2] - b->channel[0];
  const int32_t c3 = b->channel[3] - b->channel[0];
  const int32_t constant = (w0 + w1 + w2 + w3) * l->stream->input_offset;
  input += b->channel[0];
  for (int32_t oy = t->rows.begin; oy < t->rows.end; ++oy, input += l->row_step) {
    int32_t *acc = plane + oy * l->x.output + t->columns.begin;
    const int8_t *x = input;
    for (int32_t i = 0; i < count; ++i, x += l->column_step) {
      acc[i] += constant + w0 * x[0] + w1 * x[c1] + w2 * x[c2] + w3 * x[c3];
    }
  }
}

/** Adds the weights collected so far to the plane and empties the batch. */
static void flush(const layer *l, const tap *t, batch *b, const int8_t *input, int32_t *plane) {
  if (b->count == 1) {
    add_one(l, t, b->weight[0], input + t->first_pixel + b->channel[0], plane);
  } else if (b->count > 1) {
    for (int32_t i = b->count; i < BATCH_SIZE; ++i) {
      b->weight[i] = 0;
      b->channel[i] = b->channel[0];
    }
    add_four(l, t, b, input + t->first_pixel, plane);
  }
  b->count = 0;
}

/**
 * Adds the `count` entries of one output channel in one level to the plane; `input` is the first
 * value of the image that the channel reads. Returns the sum of the weights.
 */
static NK_NOINLINE int32_t add_entries(const layer *l, const cursor *at, uint32_t count,
                                       const int8_t *input, int32_t *plane) {
  const int32_t block_size = l->stream->block_size;
  const int32_t delta_bytes = at->delta_bytes;
  const uint8_t *entry = at->entry;
  // In a dense level every entry advances by one block, so the first entry starts from -1.
  int32_t position = delta_bytes == 0 ? -block_size : 0;
  int32_t sum = 0;
  tap t = {.begin = 0, .end = 0};
  batch b = {.count = 0};
  for (uint32_t i = 0; i < count; ++i) {
    position += delta_of_entry(entry, delta_bytes) * block_size;
    entry += delta_bytes;
    for (int32_t k = 0; k < block_size; ++k) {
      const int32_t weight = (int8_t)*entry++;
      // Fillers are zero, and so are most weights of a sparse level in a dense block.
      if (weight == 0) {
        continue;
      }
      if (position + k >= t.end) {
        flush(l, &t, &b, input, plane);
        t = find_tap(l, position + k);
      }
      sum += weight;
      b.weight[b.count] = weight;
      b.channel[b.count] = position + k - t.begin;
      ++b.count;
      if (b.count == BATCH_SIZE) {
        flush(l, &t, &b, input, plane);
      }
    }
  }
  flush(l, &t, &b, input, plane);
  return sum;
}

/** Turns a plane into one output channel, whose pixels are `step` apart. */
static NK_NOINLINE void requantize_plane(const int32_t *plane, int32_t pixels, int32_t bias,
                                         int32_t multiplier, int32_t shift, nk_output_stage stage,
                                         int8_t *output, int32_t step) {
  for (int32_t p = 0; p < pixels; ++p, output += step) {
    *output = nk_requantize(nk_wrapping_add(plane[p], bias), multiplier, shift, &stage);
  }
}

/** All output channels of the outputs of a layer that fit into the plane. */
static void run_plane(const layer *l, int32_t level, const int8_t *input, int8_t *output,
                      int32_t *plane) {
  const nk_stream *s = l->stream;
  const nk_stream_level *top = &s->level[level];
  const int32_t pixels = l->y.output * l->x.output;
  cursor cursors[NK_STREAM_MAX_LEVELS];
  start(s, level, cursors);
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const int8_t *x = s->kind == NK_KIND_DEPTHWISE ? input + o / s->depth_multiplier : input;
    int32_t sum = 0;
    memset(plane, 0, (size_t)pixels * sizeof(*plane));
    for (int32_t n = 0; n <= level; ++n) {
      const uint32_t count = entries_of_channel(s, &s->level[n], o);
      if (count > 0) {
        sum += add_entries(l, &cursors[n], count, x, plane);
        cursors[n].entry += count * (uint32_t)cursors[n].entry_bytes;
      }
    }
    const int32_t bias = nk_wrapping_add(top->bias[o], -s->input_offset * sum);
    requantize_plane(plane, pixels, bias, top->multiplier[o], top->shift[o], l->stage, output + o,
                     s->output_channels);
  }
}

/** The `count` outputs of an axis from `first` on. */
static nk_axis part_of(const nk_axis *axis, int32_t first, int32_t count) {
  nk_axis part = *axis;
  part.output = count;
  part.pad = axis->pad - first * axis->stride;
  return part;
}

/** One image, cut into whole rows or, where not one fits into the plane, into parts of rows. */
static void run_image(const layer *l, int32_t level, const int8_t *input, int8_t *output,
                      int32_t *plane, size_t plane_size) {
  const size_t width = (size_t)l->x.output;
  const int32_t columns = plane_size < width ? (int32_t)plane_size : l->x.output;
  const size_t high = plane_size / (size_t)columns;
  const int32_t rows = high < (size_t)l->y.output ? (int32_t)high : l->y.output;
  layer part = *l;
  for (int32_t y = 0; y < l->y.output; y += rows) {
    part.y = part_of(&l->y, y, nk_min(rows, l->y.output - y));
    for (int32_t x = 0; x < l->x.output; x += columns) {
      part.x = part_of(&l->x, x, nk_min(columns, l->x.output - x));
      run_plane(&part, level, input, output, plane);
      output += part.y.output * part.x.output * l->stream->output_channels;
    }
  }
}

/** The most common case of sum_of_blocks(): 8-bit deltas and blocks of one weight. */
static NK_NOINLINE int32_t sum_of_weights(const uint8_t *records, uint32_t count, const int8_t *x) {
  int32_t acc = 0;
  for (; count > 0; --count, records += 2) {
    x += records[0];
    acc += (int8_t)records[1] * *x;
  }
  return acc;
}

/** Sum over `count` entries with deltas of weight * x. */
static NK_NOINLINE int32_t sum_of_blocks(const cursor *at, uint32_t count, const int8_t *x) {
  const int32_t delta_bytes = at->delta_bytes;
  const int32_t block_size = at->entry_bytes - delta_bytes;
  const int32_t block_shift = block_size / 2;  // the logarithm of 1, 2 or 4
  const uint8_t *entry = at->entry;
  int32_t acc = 0;
  for (uint32_t i = 0; i < count; ++i) {
    x += delta_of_entry(entry, delta_bytes) << block_shift;
    entry += delta_bytes;
    for (int32_t k = 0; k < block_size; ++k) {
      acc += (int8_t)*entry++ * x[k];
    }
  }
  return acc;
}

/** The sum that `count` entries of one level add to one output feature of one row. */
static int32_t sum_of_entries(const nk_stream *s, const cursor *at, uint32_t count,
                              const int8_t *x) {
  if (at->delta_bytes == 0) {
    return nk_dot_s8(x, (const int8_t *)at->entry, s->channel_weights, 0);
  }
  if (at->entry_bytes == 2) {
    return sum_of_weights(at->entry, count, x);
  }
  return sum_of_blocks(at, count, x);
}

static void run_fully_connected(const layer *l, int32_t level, int32_t rows, const int8_t *input,
                                int8_t *output) {
  const nk_stream *s = l->stream;
  const nk_stream_level *top = &s->level[level];
  for (int32_t row = 0; row < rows; ++row) {
    cursor cursors[NK_STREAM_MAX_LEVELS];
    start(s, level, cursors);
    for (int32_t o = 0; o < s->out_channels; ++o) {
      int32_t acc = 0;
      for (int32_t n = 0; n <= level; ++n) {
        const uint32_t count = entries_of_channel(s, &s->level[n], o);
        if (count > 0) {
          acc += sum_of_entries(s, &cursors[n], count, input);
          cursors[n].entry += count * (uint32_t)cursors[n].entry_bytes;
        }
      }
      output[o] = nk_requantize_once(nk_wrapping_add(acc, top->bias[o]), top->multiplier[o],
                                     top->shift[o], &l->stage);
    }
    input += s->in_channels;
    output += s->output_channels;
  }
}

nk_status nk_nested_conv_s8_ref(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch,
                                size_t scratch_size) {
  const nk_status status =
      nk_nested_conv_s8_check(stream, level, dims, input, output, scratch, scratch_size);
  if (status != NK_OK) {
    return status;
  }
  layer l = make_layer(stream, dims);
  if (stream->kind == NK_KIND_FULLY_CONNECTED) {
    run_fully_connected(&l, level, dims->batches, input, output);
  } else {
    flatten(&l);
    l.column_step = l.x.stride * stream->in_channels;
    l.row_step = l.y.stride * l.x.input * stream->in_channels;
    for (int32_t b = 0; b < dims->batches; ++b) {
      run_image(&l, level, input, output, scratch, scratch_size / sizeof(int32_t));
      input += l.y.input * l.x.input * stream->in_channels;
      output += l.y.output * l.x.output * stream->output_channels;
    }
  }
  return NK_OK;
}
