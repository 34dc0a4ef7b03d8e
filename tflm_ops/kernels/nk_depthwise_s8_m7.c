/**
 * Depthwise convolution with two taps per multiply-accumulate.
 *
 * One channel at a time: its input is unpacked from the interleaved image into a tile of int16 in
 * which a word holds two neighbouring columns, padding included. SMLAD then multiplies two columns
 * with two weights. Where a window starts in the middle of a word, the pairs of its weights are
 * shifted by one, so the tile is needed once only:
 *
 *     columns      x0 x1 | x2 x3 | ...
 *     output 0     w0 w1 | w2
 *     output 1        w0 | w1 w2
 *
 * Four outputs of a row are computed together, with their accumulators in registers. A tile has a
 * fixed size, on the stack; a larger image is cut into several. An image that has fewer fours when
 * it lies on its side, such as one of 25x5, is unpacked so, and its kernel is turned too.
 *
 * Requantisation is that of nk_doubled.h; the doubling is done to the weights and the bias. A
 * channel with a negative multiplier gets the signs of weights, bias and multiplier turned round. A
 * channel whose constants are out of range for this (is_fast()) takes the general way, output by
 * output.
 */
#include <stddef.h>

#include "nk_depthwise.h"
#include "nk_depthwise_tile.h"
#include "nk_doubled.h"
#include "nk_simd.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

enum {
  // Largest number of outputs across a tile: a multiple of four that fits for kernel 5.
  TILE_OUTPUTS_STRIDE_1 = 28,
  TILE_OUTPUTS_STRIDE_2 = 12,
};

/** Outputs of a tile that one function computes. */
typedef struct piece {
  nk_depthwise_put put;
  /** All but the y. */
  nk_depthwise_strip strip;
  /** From the tile's first output to the piece's, in elements. */
  int32_t offset;
} piece;

/** The part of the image that one tile serves, the same for all channels. */
typedef struct tile {
  /** Whether the rows of the tile are columns of the image; l->y and l->x are swapped then. */
  bool transposed;
  /** Steps from column to column and row to row of the tile, in elements. */
  int32_t input_step;
  int32_t input_row_step;
  int32_t output_step;
  int32_t output_row_step;
  /** First output, and how many. */
  int32_t oy;
  int32_t ox;
  int32_t rows;
  int32_t columns;
  /** First row and column of the tile that lies inside the input, and how many do. */
  int32_t row_begin;
  int32_t column_begin;
  int32_t input_rows;
  int32_t input_columns;
  /** Offset of the input pixel there, in elements. */
  int32_t first_pixel;
  /** [NK_DEPTHWISE_TILE_ROWS][NK_DEPTHWISE_TILE_COLUMNS], at the start of a word. */
  int16_t *values;
  /** Fours and twos, of most rows and of the last one. */
  piece pieces[4];
  int32_t piece_count;
} tile;

/** Unpacks one channel of the input. The padding has been filled in already. */
static NK_NOINLINE void unpack(const tile *t, const int8_t *x) {
  const int32_t step = t->input_step;
  const int32_t row_step = t->input_row_step;
  int16_t *row = t->values + t->row_begin * NK_DEPTHWISE_TILE_COLUMNS + t->column_begin;
  for (int32_t r = t->input_rows; r > 0; --r, row += NK_DEPTHWISE_TILE_COLUMNS, x += row_step) {
    int16_t *to = row;
    const int8_t *from = x;
    for (int32_t i = t->input_columns / 4; i > 0; --i, to += 4) {
      to[0] = *from;
      from += step;
      to[1] = *from;
      from += step;
      to[2] = *from;
      from += step;
      to[3] = *from;
      from += step;
    }
    // No loop, whose end would be mispredicted row after row.
    if ((t->input_columns & 2) != 0) {
      to[0] = *from;
      from += step;
      to[1] = *from;
      from += step;
      to += 2;
    }
    if ((t->input_columns & 1) != 0) {
      *to = *from;
    }
  }
}

/** One row of a window that starts in the low half of a word. */
INLINE int32_t add_even(int32_t kernel, const int16_t *x, const uint32_t *w, int32_t acc) {
  acc = nk_smlad(nk_load_word(x), w[0], acc);
  if (kernel == 5) {
    acc = nk_smlad(nk_load_word(x + 2), w[2], acc);
  }
  return nk_smlabt((int32_t)nk_load_word(x + kernel - 1), w[kernel - 2], acc);
}

/** One row of a window that starts in the high half of a word, of which `x` is the low half. */
INLINE int32_t add_odd(int32_t kernel, const int16_t *x, const uint32_t *w, int32_t acc) {
  acc = nk_smlatb(nk_load_word(x), w[0], acc);
  acc = nk_smlad(nk_load_word(x + 2), w[1], acc);
  return kernel == 5 ? nk_smlad(nk_load_word(x + 4), w[3], acc) : acc;
}

/** One row of the windows of two neighbouring outputs. */
INLINE void add_to_two(int32_t kernel, int32_t stride, const int16_t *x, const uint32_t *w,
                       int32_t *acc0, int32_t *acc1) {
  *acc0 = add_even(kernel, x, w, *acc0);
  *acc1 = stride == 1 ? add_odd(kernel, x, w, *acc1) : add_even(kernel, x + 2, w, *acc1);
}

/** Two neighbouring outputs, or the first of them alone. */
INLINE void put_two(int32_t kernel, int32_t stride, const int16_t *x, const nk_depthwise_taps *c,
                    int8_t *y, bool both) {
  const nk_doubled_stage stage = c->stage;
  const int32_t step = c->step;
  const uint32_t *w = c->weights;
  int32_t acc0 = c->bias;
  int32_t acc1 = acc0;
  if (kernel == 3) {
    add_to_two(3, stride, x, w, &acc0, &acc1);
    add_to_two(3, stride, x + NK_DEPTHWISE_TILE_COLUMNS, w + 2, &acc0, &acc1);
    add_to_two(3, stride, x + 2 * NK_DEPTHWISE_TILE_COLUMNS, w + 4, &acc0, &acc1);
  } else {
    for (int32_t k = 0; k < kernel; ++k, x += NK_DEPTHWISE_TILE_COLUMNS, w += kernel - 1) {
      add_to_two(kernel, stride, x, w, &acc0, &acc1);
    }
  }
  y[0] = nk_requantize_doubled(acc0, &stage);
  if (both) {
    y[step] = nk_requantize_doubled(acc1, &stage);
  }
}

/** The outputs of a strip, two at a time. */
INLINE void put_twos(int32_t kernel, int32_t stride, const nk_depthwise_strip *s,
                     const nk_depthwise_taps *c) {
  const int16_t *row = s->x;
  int8_t *output = s->y;
  for (int32_t r = s->rows; r > 0; --r, row += s->x_step, output += s->y_step) {
    const int16_t *x = row;
    int8_t *y = output;
    for (int32_t i = s->count; i > 0; i -= 2, x += 2 * stride, y += 2 * c->step) {
      put_two(kernel, stride, x, c, y, i > 1);
    }
  }
}

static NK_NOINLINE void put_twos_3x3(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_twos(3, 1, s, c);
}

static NK_NOINLINE void put_twos_3x3_stride_2(const nk_depthwise_strip *s,
                                              const nk_depthwise_taps *c) {
  put_twos(3, 2, s, c);
}

static NK_NOINLINE void put_twos_5x5(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_twos(5, 1, s, c);
}

static NK_NOINLINE void put_twos_5x5_stride_2(const nk_depthwise_strip *s,
                                              const nk_depthwise_taps *c) {
  put_twos(5, 2, s, c);
}

static nk_depthwise_put twos_of(int32_t kernel, int32_t stride) {
  static const nk_depthwise_put kPuts[2][2] = {
      {put_twos_3x3, put_twos_3x3_stride_2},
      {put_twos_5x5, put_twos_5x5_stride_2},
  };
  return kPuts[kernel == 5][stride - 1];
}

/** Plans some rows of a tile: fours as far as they go, then twos. */
static void add_pieces(const nk_depthwise_layer *l, tile *t, int32_t row, int32_t rows,
                       int32_t columns) {
  const int32_t stride = l->x.stride;
  const int32_t step = t->output_step;
  const nk_depthwise_put put_fours = nk_depthwise_fours_m7(l->x.kernel, stride);
  const int32_t x_step = l->y.stride * NK_DEPTHWISE_TILE_COLUMNS;
  piece next = {
      .put = put_fours,
      .strip = {.x = t->values + row * x_step,
                .x_step = x_step,
                .y_step = t->output_row_step,
                .count = put_fours == NULL ? 0 : columns / 4,
                .rows = rows},
      .offset = row * t->output_row_step,
  };
  const int32_t done = 4 * next.strip.count;
  if (rows > 0 && done > 0) {
    t->pieces[t->piece_count++] = next;
  }
  if (rows > 0 && done < columns) {
    next.put = twos_of(l->x.kernel, stride);
    next.strip.x += done * stride;
    next.strip.count = columns - done;
    next.offset += done * step;
    t->pieces[t->piece_count++] = next;
  }
}

/**
 * Plans a tile. Rows come in fours, to which the last outputs of a row are filled up: what that
 * writes past the end of a row is the start of the next row, which comes later. Not so in the last
 * row of the image, nor beside another tile, nor with the image on its side.
 */
static NK_NOINLINE void plan(const nk_depthwise_layer *l, tile *t) {
  int32_t filled = 0;
  if (t->columns % 4 != 0 && t->columns == l->x.output && t->columns > 1 && !t->transposed) {
    filled = t->oy + t->rows == l->y.output ? t->rows - 1 : t->rows;
  }
  t->piece_count = 0;
  add_pieces(l, t, 0, filled, (t->columns + 3) / 4 * 4);
  add_pieces(l, t, filled, t->rows - filled, t->columns);
}

/** The same without doubled weights, and with nk_requantize(). */
static NK_NOINLINE void run_general(const nk_depthwise_layer *l, const tile *t,
                                    const nk_depthwise_channel *c, int8_t *output) {
  const int32_t kernel = l->x.kernel;
  for (int32_t i = 0; i < t->rows * t->columns; ++i) {
    const int32_t row = i / t->columns;
    const int32_t column = i % t->columns;
    const int16_t *x =
        t->values + row * l->y.stride * NK_DEPTHWISE_TILE_COLUMNS + column * l->x.stride;
    int32_t acc = c->folded_bias;
    for (int32_t k = 0; k < kernel * kernel; ++k) {
      acc = nk_wrapping_add(acc,
                            c->weights[k] * x[k / kernel * NK_DEPTHWISE_TILE_COLUMNS + k % kernel]);
    }
    output[row * t->output_row_step + column * t->output_step] =
        nk_requantize(acc, c->multiplier, c->shift, &l->stage);
  }
}

/** Whether the constants of a channel are in the range that nk_requantize_doubled() asks for. */
static bool is_fast(const nk_depthwise_channel *c) {
  return nk_is_fast_multiplier(c->multiplier < 0 ? -c->multiplier : c->multiplier) &&
         nk_in_range(c->shift, -22, -1) && nk_in_range(c->folded_bias, -(1 << 29), 1 << 29);
}

INLINE void pair_weights(int32_t kernel, const int8_t *weights, int32_t factor, uint32_t *pairs) {
  for (int32_t ky = 0; ky < kernel; ++ky, weights += kernel, pairs += kernel - 1) {
    const int32_t w1 = factor * weights[1];
    const int32_t w2 = factor * weights[2];
    pairs[0] = nk_pack_halves(factor * weights[0], w1);
    pairs[1] = nk_pack_halves(w1, w2);
    if (kernel == 5) {
      const int32_t w3 = factor * weights[3];
      pairs[2] = nk_pack_halves(w2, w3);
      pairs[3] = nk_pack_halves(w3, factor * weights[4]);
    }
  }
}

/** Brings a channel that is_fast() into the form that the kernels take. */
static NK_NOINLINE void prepare(const nk_depthwise_layer *l, const nk_depthwise_channel *from,
                                nk_depthwise_taps *to) {
  const int32_t factor = from->multiplier < 0 ? -2 : 2;
  if (l->x.kernel == 3) {
    pair_weights(3, from->weights, factor, to->weights);
  } else {
    pair_weights(5, from->weights, factor, to->weights);
  }
  to->bias = factor * from->folded_bias;
  to->stage = nk_doubled_stage_of(factor / 2 * from->multiplier, from->shift, l->stage.offset);
}

/** Turns the kernel of a channel on its side; `weights` receives it. */
static NK_NOINLINE void transpose(int32_t kernel, nk_depthwise_channel *channel, int8_t *weights) {
  for (int32_t ky = 0; ky < kernel; ++ky) {
    for (int32_t kx = 0; kx < kernel; ++kx) {
      weights[kx * kernel + ky] = channel->weights[ky * kernel + kx];
    }
  }
  channel->weights = weights;
}

/** All channels of one tile of an image. */
static void run_channels(const nk_depthwise_layer *l, tile *t, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output) {
  const int8_t *x = input + t->first_pixel;
  const int32_t channels = l->in_channels * l->depth_multiplier;
  int8_t transposed[NK_DEPTHWISE_M7_MAX_WEIGHTS];
  nk_depthwise_channel from;
  nk_depthwise_taps c = {.step = t->output_step};
  int8_t *y = output + t->oy * t->output_row_step + t->ox * t->output_step;
  int32_t left = 0;
  for (int32_t i = 0; i < channels; ++i, ++y, --left) {
    if (left == 0) {
      unpack(t, x++);
      left = l->depth_multiplier;
    }
    source->fetch(source, i, &from);
    if (t->transposed) {
      transpose(l->x.kernel, &from, transposed);
    }
    if (is_fast(&from)) {
      prepare(l, &from, &c);
      for (int32_t p = 0; p < t->piece_count; ++p) {
        t->pieces[p].strip.y = y + t->pieces[p].offset;
        t->pieces[p].put(&t->pieces[p].strip, &c);
      }
    } else {
      run_general(l, t, &from, y);
    }
  }
}

/** Part of an axis that lies inside the input, for `count` outputs from `first` on. */
static nk_range inside(const nk_axis *axis, int32_t first, int32_t count) {
  const int32_t reach = (count - 1) * axis->stride + axis->kernel;
  return nk_range_inside(first * axis->stride - axis->pad, 1, reach, axis->input);
}

/** Finds out what a tile reads and fills its padding in. */
static NK_NOINLINE void place(const nk_depthwise_layer *l, tile *t) {
  const nk_range rows = inside(&l->y, t->oy, t->rows);
  const nk_range columns = inside(&l->x, t->ox, t->columns);
  t->row_begin = rows.begin;
  t->input_rows = nk_max(rows.end - rows.begin, 0);
  t->column_begin = columns.begin;
  t->input_columns = nk_max(columns.end - columns.begin, 0);
  t->first_pixel = 0;
  if (t->input_rows > 0 && t->input_columns > 0) {
    t->first_pixel = (t->oy * l->y.stride - l->y.pad + rows.begin) * t->input_row_step +
                     (t->ox * l->x.stride - l->x.pad + columns.begin) * t->input_step;
  } else {
    t->input_rows = 0;
  }
  for (int32_t i = 0; i < NK_DEPTHWISE_TILE_ROWS * NK_DEPTHWISE_TILE_COLUMNS; ++i) {
    t->values[i] = (int16_t)-l->input_offset;
  }
}

/** Cuts `total` into the fewest parts of at most `limit`, of about the same size: that of each. */
static int32_t part_of(int32_t total, int32_t limit) {
  const int32_t parts = (total + limit - 1) / limit;
  return (total + parts - 1) / parts;
}

/** Whether the image has fewer fours on its side. */
static bool pays_to_transpose(const nk_depthwise_layer *l) {
  return l->y.stride <= 2 &&
         l->x.output * ((l->y.output + 3) / 4) < l->y.output * ((l->x.output + 3) / 4);
}

void nk_depthwise_s8_m7(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                        const int8_t *input, int8_t *output) {
  nk_depthwise_layer turned = *layer;
  const nk_depthwise_layer *l = &turned;
  _Alignas(uint32_t) int16_t values[NK_DEPTHWISE_TILE_ROWS * NK_DEPTHWISE_TILE_COLUMNS];
  const int32_t channels = layer->in_channels * layer->depth_multiplier;
  tile t = {
      .input_step = layer->in_channels,
      .input_row_step = layer->x.input * layer->in_channels,
      .output_step = channels,
      .output_row_step = layer->x.output * channels,
      .values = values,
  };
  if (pays_to_transpose(layer)) {
    t.transposed = true;
    turned.y = layer->x;
    turned.x = layer->y;
    t.input_step = layer->x.input * layer->in_channels;
    t.input_row_step = layer->in_channels;
    t.output_step = layer->x.output * channels;
    t.output_row_step = channels;
  }
  const int32_t rows =
      part_of(l->y.output, (NK_DEPTHWISE_TILE_ROWS - l->y.kernel) / l->y.stride + 1);
  const int32_t limit = l->x.stride == 1 ? TILE_OUTPUTS_STRIDE_1 : TILE_OUTPUTS_STRIDE_2;
  const int32_t columns = nk_min(limit, (part_of(l->x.output, limit) + 3) / 4 * 4);
  const int32_t input_size = l->y.input * l->x.input * l->in_channels;
  const int32_t output_size = l->y.output * l->x.output * l->in_channels * l->depth_multiplier;
  for (int32_t n = 0; n < l->batches; ++n, input += input_size, output += output_size) {
    for (t.oy = 0; t.oy < l->y.output; t.oy += rows) {
      t.rows = nk_min(rows, l->y.output - t.oy);
      for (t.ox = 0; t.ox < l->x.output; t.ox += columns) {
        t.columns = nk_min(columns, l->x.output - t.ox);
        place(l, &t);
        plan(l, &t);
        run_channels(l, &t, source, input, output);
      }
    }
    if (l->stage.min > INT8_MIN || l->stage.max < INT8_MAX) {
      nk_clamp_bytes(output, output_size, l->stage.min, l->stage.max);
    }
  }
}
