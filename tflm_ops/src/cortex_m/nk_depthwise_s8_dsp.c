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
 * Four outputs of a row are computed together, with their accumulators in registers. One loop runs
 * over a column of fours. A tile has a fixed size; a larger image is cut into several tiles. An
 * image that has fewer fours on its side, such as an image of 25x5, is unpacked on its side, and
 * its kernel is turned too.
 *
 * nk_doubled.h requantises; weights and bias are doubled in advance. For a channel with a negative
 * multiplier, the signs of weights, bias and multiplier change. A channel whose constants are out
 * of range (is_fast()) takes the general way, output by output.
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

/** Fours of a tile that one call computes. */
typedef struct piece {
  /** All but the y. */
  nk_depthwise_strip strip;
  nk_depthwise_steps steps;
} piece;

/** The part of the image that one tile serves, the same for all channels. */
typedef struct tile {
  /**
   * Steps from column to column and row to row of the tile, in elements. With the image on its
   * side, the rows of the tile are columns of the image, and l->y and l->x are swapped.
   */
  int32_t input_step;
  int32_t input_row_step;
  int32_t output_step;
  int32_t output_row_step;
  int32_t tap_step;
  int32_t tap_row_step;
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
  /** [NK_DEPTHWISE_TILE_ROWS][NK_DEPTHWISE_TILE_COLUMNS] */
  int16_t *values;
  nk_depthwise_put put;
  /** The columns that come in fours. */
  piece fours;
  /**
   * The up to three that are left, and how many: their fours go to a buffer, from which the outputs
   * that exist are copied.
   */
  piece last;
  int32_t rest;
} tile;

/** Unpacks 1, 2 or 4 columns of one channel. */
INLINE void unpack_columns(int32_t width, const tile *t, const int8_t *x, int16_t *to) {
  const int32_t step = t->input_step;
  const int32_t row_step = t->input_row_step - (width - 1) * step;
  for (int32_t r = t->input_rows; r > 0; --r, x += row_step, to += NK_DEPTHWISE_TILE_COLUMNS) {
    to[0] = *x;
    if (width > 1) {
      x += step;
      to[1] = *x;
    }
    if (width > 2) {
      x += step;
      to[2] = *x;
      x += step;
      to[3] = *x;
    }
  }
}

/** Unpacks one channel of the input. The padding has been filled in already. */
static void unpack(const tile *t, const int8_t *x) {
  int16_t *to = t->values + t->row_begin * NK_DEPTHWISE_TILE_COLUMNS + t->column_begin;
  int32_t left = t->input_columns;
  for (; left >= 4; left -= 4, x += 4 * t->input_step, to += 4) {
    unpack_columns(4, t, x, to);
  }
  if ((left & 2) != 0) {
    unpack_columns(2, t, x, to);
    x += 2 * t->input_step;
    to += 2;
  }
  if ((left & 1) != 0) {
    unpack_columns(1, t, x, to);
  }
}

/**
 * Some fours of a tile, `fours` in each row, for an output with these steps. The longer of the two
 * directions becomes the inner loop.
 */
static piece make_piece(const nk_depthwise_layer *l, const tile *t, int32_t column, int32_t fours,
                        int32_t step, int32_t row_step) {
  const int32_t x_row = l->y.stride * NK_DEPTHWISE_TILE_COLUMNS;
  const int32_t x_four = 4 * l->x.stride;
  // The loop loads the begin of the next four, which might lie past the tile with larger steps.
  const bool down = t->rows >= fours && l->y.stride <= 2;
  const piece made = {
      .strip = {.x = t->values + column * l->x.stride,
                .x_step = down ? x_four : x_row,
                .y_step = down ? 4 * step : row_step,
                .runs = down ? fours : t->rows,
                .count = down ? t->rows : fours},
      .steps = {.y = step,
                .next_y = down ? row_step - 3 * step : step,
                .next_x = (down ? x_row : x_four) * (int32_t)sizeof(*t->values)},
  };
  return made;
}

static NK_NOINLINE void plan(const nk_depthwise_layer *l, tile *t) {
  const int32_t fours = t->columns / 4;
  t->rest = t->columns % 4;
  t->fours = make_piece(l, t, 0, fours, t->output_step, t->output_row_step);
  t->last = make_piece(l, t, 4 * fours, 1, 1, 4);
}

/** Computes the tile's outputs of one channel, of which `y` is the first. */
static void run_pieces(tile *t, nk_depthwise_taps *c, int8_t *y) {
  if (t->columns >= 4) {
    t->fours.strip.y = y;
    c->steps = t->fours.steps;
    t->put(&t->fours.strip, c);
  }
  if (t->rest > 0) {
    int8_t buffer[4 * NK_DEPTHWISE_TILE_ROWS];
    t->last.strip.y = buffer;
    c->steps = t->last.steps;
    t->put(&t->last.strip, c);
    const int32_t step = t->output_step;
    const int8_t *from = buffer;
    int8_t *to = y + (t->columns - t->rest) * step;
    for (int32_t r = t->rows; r > 0; --r, from += 4, to += t->output_row_step) {
      to[0] = from[0];
      if (t->rest > 1) {
        to[step] = from[1];
      }
      if (t->rest > 2) {
        to[2 * step] = from[2];
      }
    }
  }
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
      const int32_t ky = k / kernel;
      const int32_t kx = k % kernel;
      const int8_t weight = c->weights[ky * t->tap_row_step + kx * t->tap_step];
      acc = nk_wrapping_add(acc, weight * x[ky * NK_DEPTHWISE_TILE_COLUMNS + kx]);
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

/** The pairs of one row of a kernel, whose weights are `step` apart. */
INLINE uint32_t *pair_weights(int32_t kernel, const int8_t *weights, int32_t step, int32_t factor,
                              uint32_t *pairs) {
  const int32_t w1 = factor * weights[step];
  const int32_t w2 = factor * weights[2 * step];
  *pairs++ = nk_pack_halves(factor * weights[0], w1);
  *pairs++ = nk_pack_halves(w1, w2);
  if (kernel == 5) {
    const int32_t w3 = factor * weights[3 * step];
    *pairs++ = nk_pack_halves(w2, w3);
    *pairs++ = nk_pack_halves(w3, factor * weights[4 * step]);
  }
  return pairs;
}

/** Brings a channel that is_fast() into the form that the kernels take. */
static void prepare(const nk_depthwise_layer *l, const tile *t, const nk_depthwise_channel *from,
                    nk_depthwise_taps *to) {
  const int32_t factor = from->multiplier < 0 ? -2 : 2;
  const int32_t step = t->tap_step;
  const int32_t row_step = t->tap_row_step;
  const int8_t *weights = from->weights;
  uint32_t *pairs = to->weights;
  if (l->x.kernel == 3) {
    pairs = pair_weights(3, weights, step, factor, pairs);
    pairs = pair_weights(3, weights + row_step, step, factor, pairs);
    pair_weights(3, weights + 2 * row_step, step, factor, pairs);
  } else {
    for (int32_t k = 0; k < 5; ++k, weights += row_step) {
      pairs = pair_weights(5, weights, step, factor, pairs);
    }
  }
  to->bias = factor * from->folded_bias;
  to->stage = nk_doubled_stage_of(factor / 2 * from->multiplier, from->shift, l->stage.offset);
}

/** All channels of one tile of an image. */
static void run_channels(const nk_depthwise_layer *l, tile *t, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output) {
  const int8_t *x = input + t->first_pixel;
  const int32_t channels = l->in_channels * l->depth_multiplier;
  nk_depthwise_channel from;
  nk_depthwise_taps c;
  int8_t *y = output + t->oy * t->output_row_step + t->ox * t->output_step;
  int32_t left = 0;
  for (int32_t i = 0; i < channels; ++i, ++y, --left) {
    if (left == 0) {
      unpack(t, x++);
      left = l->depth_multiplier;
    }
    source->fetch(source, i, &from);
    if (is_fast(&from)) {
      prepare(l, t, &from, &c);
      run_pieces(t, &c, y);
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
  for (int32_t i = 0; i < NK_DEPTHWISE_TILE_VALUES; ++i) {
    t->values[i] = (int16_t)-l->input_offset;
  }
}

/** Returns the size of a part if `total` is cut into the fewest equal parts of at most `limit`. */
static int32_t part_of(int32_t total, int32_t limit) {
  const int32_t parts = (total + limit - 1) / limit;
  return (total + parts - 1) / parts;
}

/** Whether the image has fewer fours on its side. */
static bool pays_to_transpose(const nk_depthwise_layer *l) {
  return l->y.stride <= 2 &&
         l->x.output * ((l->y.output + 3) / 4) < l->y.output * ((l->x.output + 3) / 4);
}

void nk_depthwise_s8_dsp(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, int16_t *values) {
  nk_depthwise_layer turned = *layer;
  const nk_depthwise_layer *l = &turned;
  const int32_t channels = layer->in_channels * layer->depth_multiplier;
  tile t = {
      .input_step = layer->in_channels,
      .input_row_step = layer->x.input * layer->in_channels,
      .output_step = channels,
      .output_row_step = layer->x.output * channels,
      .tap_step = 1,
      .tap_row_step = layer->x.kernel,
      .values = values,
  };
  if (pays_to_transpose(layer)) {
    turned.y = layer->x;
    turned.x = layer->y;
    t.input_step = layer->x.input * layer->in_channels;
    t.input_row_step = layer->in_channels;
    t.output_step = layer->x.output * channels;
    t.output_row_step = channels;
    t.tap_step = layer->x.kernel;
    t.tap_row_step = 1;
  }
  t.put = nk_depthwise_fours_s8_dsp(l->x.kernel, l->x.stride);
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
      nk_clamp_s8(output, output_size, l->stage.min, l->stage.max);
    }
  }
}
