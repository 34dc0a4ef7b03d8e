/**
 * Depthwise convolution with two taps per multiply-accumulate.
 *
 * Four channels at a time: a word of the interleaved image holds a pixel of four channels. Their
 * input is unpacked into a tile of int16 in which a word holds two rows of a column, padding
 * included. SMLAD then multiplies two rows with two weights. Where a window starts in the middle of
 * a word, the pairs of its weights are shifted by one, so the tile is needed once only:
 *
 *     rows         x0 x1 | x2 x3 | ...
 *     output 0     w0 w1 | w2
 *     output 1        w0 | w1 w2
 *
 * One channel after the other, nk_depthwise_pairs_s8_dsp.c computes two outputs together, one above
 * the other. A tile has a limited size; a larger image is cut into several tiles.
 *
 * nk_doubled.h requantises; weights and bias are doubled in advance. With an output offset of -128,
 * as after a relu, nk_requantize_doubled_relu() does so. Otherwise the signs of weights, bias and
 * multiplier of a channel with a negative multiplier change. A channel whose constants are out of
 * range takes the general way, output by output.
 */
#include <stddef.h>

#include "nk_depthwise.h"
#include "nk_depthwise_s8_mve.h"
#include "nk_depthwise_tile.h"
#include "nk_doubled.h"
#include "nk_simd.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

enum {
  CHANNELS = NK_DEPTHWISE_TILE_CHANNELS,
  /** Bytes of the words of a channel in a pair of rows. */
  ROW = NK_DEPTHWISE_TILE_COLUMNS * (int32_t)sizeof(uint32_t),
};

/** The part of the image that one tile serves, the same for all channels. */
typedef struct tile {
  /** First output, and how many. */
  int32_t oy;
  int32_t ox;
  int32_t rows;
  int32_t columns;
  /** The rows and columns of the tile that lie inside the input. */
  nk_range input_rows;
  nk_range input_columns;
  /** The input pixel there, as an offset in elements, and the step from row to row. */
  int32_t first_pixel;
  int32_t row_step;
  /** A pixel of four channels of padding. */
  uint32_t padding;
  /** NK_DEPTHWISE_PAIR_WORDS for each pair of rows. */
  uint32_t *words;
  /** Whether the outputs are requantised as after a relu. */
  bool is_relu;
  nk_depthwise_put put;
  /** For the channels at hand. */
  nk_depthwise_run run;
} tile;

/** A line of pixels, or of padding, which has a step of 0. */
typedef struct line {
  const int8_t *x;
  int32_t step;
} line;

/** A pixel of up to four channels. */
static inline uint32_t load_pixel(const int8_t *x, int32_t channels) {
  uint32_t word = 0;
  for (int32_t c = 0; c < channels; ++c) {
    word |= (uint32_t)(uint8_t)x[c] << 8 * c;
  }
  return word;
}

/** Unpacks two lines of pixels of up to four channels. */
static NK_NOINLINE void unpack_pixels(line a, line b, int32_t channels, int32_t columns,
                                      uint32_t *to) {
  for (int32_t n = columns; n > 0; --n, ++to) {
    const uint32_t upper = load_pixel(a.x, channels);
    const uint32_t lower = load_pixel(b.x, channels);
    a.x += a.step;
    b.x += b.step;
    const uint32_t first = nk_pack_halves((int32_t)upper, (int32_t)lower);
    const uint32_t second = nk_pack_high_halves(upper, lower);
    to[0] = nk_sxtb16(first);
    to[NK_DEPTHWISE_TILE_COLUMNS] = nk_sxtb16_odd(first);
    to[2 * NK_DEPTHWISE_TILE_COLUMNS] = nk_sxtb16(second);
    to[3 * NK_DEPTHWISE_TILE_COLUMNS] = nk_sxtb16_odd(second);
  }
}

#if NK_HAS_SIMD32 && NK_USE_UNALIGNED

/** Unpacks two lines of at least one pixel of four channels: 9 cycles a pair, modelled. */
INLINE void unpack_fours(line a, line b, int32_t columns, uint32_t *to) {
  uint32_t upper, lower, word;
  __asm__ volatile(
      "ldr %[u], [%[a]]\n\t"
      "ldr %[l], [%[b]]\n\t"
      "1:\n\t"
      "pkhbt %[w], %[u], %[l], lsl #16\n\t"
      "subs %[n], %[n], #1\n\t"
      "pkhtb %[u], %[l], %[u], asr #16\n\t"
      "add %[a], %[a], %[as]\n\t"
      "sxtb16 %[l], %[w]\n\t"
      "add %[b], %[b], %[bs]\n\t"
      "sxtb16 %[w], %[w], ror #8\n\t"
      "str %[l], [%[to]], #4\n\t"
      "sxtb16 %[l], %[u]\n\t"
      "str %[w], [%[to], %[c1]]\n\t"
      "sxtb16 %[w], %[u], ror #8\n\t"
      "str %[l], [%[to], %[c2]]\n\t"
      "itt ne\n\t"
      "ldrne %[u], [%[a]]\n\t"
      "ldrne %[l], [%[b]]\n\t"
      "str %[w], [%[to], %[c3]]\n\t"
      "bne 1b"
      : [a] "+r"(a.x), [b] "+r"(b.x), [n] "+r"(columns), [to] "+r"(to), [u] "=&r"(upper),
        [l] "=&r"(lower), [w] "=&r"(word)
      : [as] "r"(a.step), [bs] "r"(b.step), [c1] "i"(ROW - 4), [c2] "i"(2 * ROW - 4),
        [c3] "i"(3 * ROW - 4)
      : "cc", "memory");
}

#else

INLINE void unpack_fours(line a, line b, int32_t columns, uint32_t *to) {
  unpack_pixels(a, b, CHANNELS, columns, to);
}

#endif

/** Unpacks up to four channels of the input. The padding has been filled in already. */
static NK_NOINLINE void unpack(const nk_depthwise_layer *l, const tile *t, const int8_t *x) {
  const int32_t channels = l->in_channels;
  const int32_t columns = t->input_columns.end - t->input_columns.begin;
  const line outside = {(const int8_t *)&t->padding, 0};
  const int32_t begin = t->input_rows.begin & ~1;
  uint32_t *to = t->words + begin / 2 * NK_DEPTHWISE_PAIR_WORDS + t->input_columns.begin;
  line upper = {x, channels};
  line lower = {x + t->row_step, channels};
  if (begin < t->input_rows.begin) {
    upper = outside;
    lower.x = x;
  }
  for (int32_t left = t->input_rows.end - begin; left > 0; left -= 2) {
    if (left == 1) {
      lower = outside;
    }
    if (channels >= CHANNELS) {
      unpack_fours(upper, lower, columns, to);
    } else {
      unpack_pixels(upper, lower, channels, columns, to);
    }
    upper.x = lower.x + t->row_step;
    upper.step = channels;
    lower.x = upper.x + t->row_step;
    to += NK_DEPTHWISE_PAIR_WORDS;
  }
}

/** Part of an axis that lies inside the input, for `count` outputs from `first` on. */
static nk_range inside(const nk_axis *axis, int32_t first, int32_t count) {
  const int32_t reach = (count - 1) * axis->stride + axis->kernel;
  return nk_range_inside(first * axis->stride - axis->pad, 1, reach, axis->input);
}

/** Fills the columns from `begin` to `end` of two rows of a tile with padding. */
static void pad(const tile *t, int32_t pair, int32_t begin, int32_t end) {
  const uint32_t padding = nk_sxtb16(t->padding);
  uint32_t *to = t->words + pair * NK_DEPTHWISE_PAIR_WORDS;
  for (int32_t i = begin; i < end; ++i) {
    for (int32_t c = 0; c < CHANNELS; ++c) {
      to[i + c * NK_DEPTHWISE_TILE_COLUMNS] = padding;
    }
  }
}

/** Finds out what a tile reads and fills its padding in. */
static NK_NOINLINE void place(const nk_depthwise_layer *l, tile *t) {
  t->input_rows = inside(&l->y, t->oy, t->rows);
  t->input_columns = inside(&l->x, t->ox, t->columns);
  t->first_pixel = 0;
  if (t->input_rows.begin < t->input_rows.end && t->input_columns.begin < t->input_columns.end) {
    t->first_pixel = (t->oy * l->y.stride - l->y.pad + t->input_rows.begin) * t->row_step +
                     (t->ox * l->x.stride - l->x.pad + t->input_columns.begin) * l->in_channels;
  } else {
    t->input_rows.begin = t->input_rows.end = 0;
  }
  const int32_t pairs = nk_depthwise_pairs(&l->y, t->rows);
  const int32_t columns = (t->columns - 1) * l->x.stride + l->x.kernel;
  for (int32_t i = 0; i < pairs; ++i) {
    if (2 * i + 1 < t->input_rows.begin || t->input_rows.end <= 2 * i) {
      pad(t, i, 0, columns);
    } else {
      pad(t, i, 0, t->input_columns.begin);
      pad(t, i, t->input_columns.end, columns);
    }
  }
}

/** Fills in the fields of the run that are the same for all channels. */
static NK_NOINLINE void plan(const nk_depthwise_layer *l, tile *t) {
  const int32_t channels = l->in_channels * l->depth_multiplier;
  const int32_t y_row = l->x.output * channels;
  const int32_t x_pair = NK_DEPTHWISE_PAIR_WORDS * (int32_t)sizeof(uint32_t);
  nk_depthwise_run *run = &t->run;
  run->output_offset = l->stage.offset;
  run->columns = ((t->columns - 1) << 24) + (channels << 8);
  run->runs = (t->rows - 1) / 2;
  run->x_step = l->x.stride * (int32_t)sizeof(uint32_t);
  run->y_last_second = t->rows % 2 == 0 ? y_row : 0;
  run->y_second = run->runs == 0 ? run->y_last_second : y_row;
  run->x_run = l->y.stride * x_pair - t->columns * run->x_step;
  run->y_run = 2 * y_row - t->columns * channels;
}

/** Whether the constants of a channel are in the range of nk_doubled.h. */
static bool is_fast(const tile *t, const nk_depthwise_tables *from, int32_t c) {
  const int32_t multiplier = from->multiplier[c];
  return nk_in_range(from->shift[c], -22, -1) && nk_in_range(from->bias[c], -(1 << 29), 1 << 29) &&
         (t->is_relu || nk_is_fast_multiplier(multiplier < 0 ? -multiplier : multiplier));
}

/** One channel, with nk_requantize(). */
static NK_NOINLINE void run_general(const nk_depthwise_layer *l, const tile *t) {
  const int32_t kernel = l->x.kernel;
  const int32_t channels = l->in_channels * l->depth_multiplier;
  const nk_depthwise_run *run = &t->run;
  const int8_t *weights = run->weights;
  for (int32_t i = 0; i < t->rows * t->columns; ++i) {
    const int32_t row = i / t->columns;
    const int32_t column = i % t->columns;
    int32_t acc = *run->bias;
    for (int32_t k = 0; k < kernel * kernel; ++k) {
      const int32_t y = row * l->y.stride + k / kernel;
      const uint32_t word =
          run->x[y / 2 * NK_DEPTHWISE_PAIR_WORDS + column * l->x.stride + k % kernel];
      const int32_t x = (int16_t)(y % 2 == 0 ? word : word >> 16);
      acc = nk_wrapping_add(acc, weights[k] * x);
    }
    run->y[(row * l->x.output + column) * channels] =
        nk_requantize(acc, *run->multiplier, *run->shift, &l->stage);
  }
}

/** Computes `count` channels of the tables: together if each of them is_fast(), else one by one. */
static void run_tables(const nk_depthwise_layer *l, tile *t, const nk_depthwise_tables *from,
                       int32_t count, const uint32_t *x, int8_t *y) {
  nk_depthwise_run *run = &t->run;
  const int32_t kernel = l->x.kernel;
  int32_t fast = 0;
  while (fast < count && is_fast(t, from, fast)) {
    ++fast;
  }
  // Several channels of 5x5 go one by one, because their pairs of weights are made here.
  const int32_t step = fast == count && kernel == 3 ? count : 1;
  uint32_t pairs[NK_DEPTHWISE_MAX_PAIRS];
  for (int32_t c = 0; c < count; c += step) {
    const int8_t *weights = from->weights + c * kernel * kernel;
    run->weights = weights;
    run->bias = from->bias + c;
    run->multiplier = from->multiplier + c;
    run->shift = from->shift + c;
    run->x = x + c * NK_DEPTHWISE_TILE_COLUMNS;
    run->y = y + c;
    run->channels = step;
    if (c >= fast && !is_fast(t, from, c)) {
      run_general(l, t);
      continue;
    }
    if (kernel == 5) {
      nk_depthwise_pair_weights(5, weights, from->multiplier[c] < 0 ? -2 : 2, pairs);
      run->weights = pairs;
    }
    t->put(run);
  }
}

/** All channels of one tile of an image. */
static void run_channels(const nk_depthwise_layer *l, tile *t, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output) {
  const int32_t multiplier = l->depth_multiplier;
  int8_t *y = output + (t->oy * l->x.output + t->ox) * l->in_channels * multiplier;
  nk_depthwise_tables tables;
  for (int32_t c = 0; c < l->in_channels; c += CHANNELS) {
    // The last four overlap the four before if the channels do not come in fours.
    const int32_t first = nk_max(nk_min(c, l->in_channels - CHANNELS), 0);
    const int32_t count = nk_min(l->in_channels - c, CHANNELS);
    const uint32_t *x = t->words + (c - first) * NK_DEPTHWISE_TILE_COLUMNS;
    unpack(l, t, input + t->first_pixel + first);
    if (multiplier == 1) {
      source->fetch(source, c, count, &tables);
      run_tables(l, t, &tables, count, x, y + c);
      continue;
    }
    for (int32_t i = 0; i < count * multiplier; ++i) {
      source->fetch(source, c * multiplier + i, 1, &tables);
      run_tables(l, t, &tables, 1, x + i / multiplier * NK_DEPTHWISE_TILE_COLUMNS,
                 y + c * multiplier + i);
    }
  }
}

/** Returns the size of a part if `total` is cut into the fewest equal parts of at most `limit`. */
static int32_t part_of(int32_t total, int32_t limit) {
  const int32_t parts = (total + limit - 1) / limit;
  return (total + parts - 1) / parts;
}

void nk_depthwise_s8_dsp(const nk_depthwise_layer *l, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, uint32_t *words, int32_t pairs) {
#if NK_USE_MVE
  const int32_t bytes = pairs * NK_DEPTHWISE_PAIR_WORDS * (int32_t)sizeof(uint32_t);
  if (nk_depthwise_s8_mve(l, source, input, output, words, bytes)) {
    return;
  }
#endif
  tile t = {
      .row_step = l->x.input * l->in_channels,
      .padding = nk_splat_byte(-l->input_offset),
      .words = words,
      .is_relu = l->stage.offset == INT8_MIN && l->x.kernel == 3 && l->x.stride == l->y.stride,
  };
  t.put = nk_depthwise_pairs_s8_dsp(l->x.kernel, l->y.stride, t.is_relu);
  // Two rows of outputs at a time.
  const int32_t most_rows = (pairs - l->y.kernel / 2) / l->y.stride * 2;
  const int32_t rows = (part_of(l->y.output, most_rows) + 1) / 2 * 2;
  const int32_t most_columns = (NK_DEPTHWISE_TILE_COLUMNS - l->x.kernel) / l->x.stride + 1;
  const int32_t columns = part_of(l->x.output, most_columns);
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
