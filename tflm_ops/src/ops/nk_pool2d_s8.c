#include <string.h>

#include "../../include/nk_ops.h"
#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

/** A window's part inside the input; steps are in elements. */
typedef struct window {
  int32_t rows;
  int32_t columns;
  int32_t row_step;
  int32_t column_step;
} window;

/** Reduces one channel of a window; `x` is its first valid pixel. */
typedef int32_t (*reduce)(const int8_t *x, const window *w);

/** The same for four channels, as int8 lanes. */
typedef uint32_t (*reduce_four)(const int8_t *x, const window *w);

/** sum / count, rounded to nearest with halves away from zero; `half` is count / 2. */
static inline int32_t rounded_quotient(int32_t sum, int32_t count, int32_t half) {
  // Division truncates, so half the count with the sum's sign moves the sum to the nearest.
  const int32_t sign = sum >> 31;
  return (sum + ((half ^ sign) - sign)) / count;
}

static int32_t average(const int8_t *x, const window *w) {
  const int32_t count = w->rows * w->columns;
  int32_t sum = 0;
  for (int32_t r = 0; r < w->rows; ++r) {
    for (int32_t c = 0; c < w->columns; ++c) {
      sum += x[r * w->row_step + c * w->column_step];
    }
  }
  return rounded_quotient(sum, count, count / 2);
}

static uint32_t average_four(const int8_t *x, const window *w) {
  const int32_t count = w->rows * w->columns;
  const int32_t half = (int32_t)((uint32_t)count / 2);
  if (count <= NK_MAX_LANE_TERMS) {
    uint32_t even;
    uint32_t odd;
    nk_sum_lanes(x, w->rows, w->columns, w->row_step, w->column_step, &even, &odd);
    return nk_pack_bytes(rounded_quotient((int16_t)even, count, half),
                         rounded_quotient((int16_t)odd, count, half),
                         rounded_quotient((int32_t)even >> 16, count, half),
                         rounded_quotient((int32_t)odd >> 16, count, half));
  }
  int32_t sums[4];
  nk_sum_four_s8(x, w->rows, w->columns, w->row_step, w->column_step, sums);
  return nk_pack_bytes(
      rounded_quotient(sums[0], count, half), rounded_quotient(sums[1], count, half),
      rounded_quotient(sums[2], count, half), rounded_quotient(sums[3], count, half));
}

static int32_t maximum(const int8_t *x, const window *w) {
  int32_t max = INT8_MIN;
  for (int32_t r = 0; r < w->rows; ++r) {
    for (int32_t c = 0; c < w->columns; ++c) {
      max = nk_max(max, x[r * w->row_step + c * w->column_step]);
    }
  }
  return max;
}

static uint32_t maximum_four(const int8_t *x, const window *w) {
  uint32_t max = nk_load_word(x);
  for (int32_t r = w->rows; r > 0; --r, x += w->row_step) {
    const int8_t *pixel = x;
    for (int32_t c = w->columns; c > 0; --c, pixel += w->column_step) {
      max = nk_max_bytes(max, nk_load_word(pixel));
    }
  }
  return max;
}

/** All channels of one output. */
static void pool_pixel(const nk_pool2d_params *p, const int8_t *x, const window *w, int8_t *y,
                       reduce reduce_one, reduce_four reduce_word) {
  const uint32_t low = nk_splat_byte(p->activation_min);
  const uint32_t high = nk_splat_byte(p->activation_max);
  int32_t left = w->column_step;
  for (; left >= 4; left -= 4, x += 4, y += 4) {
    const uint32_t word = nk_min_bytes(nk_max_bytes(reduce_word(x, w), low), high);
    nk_store_word(y, word);
  }
  for (; left > 0; --left) {
    *y++ = (int8_t)nk_clamp(reduce_one(x++, w), p->activation_min, p->activation_max);
  }
}

/** With a padding below the filter's size the first window touches the input. */
static bool window_is_valid(const nk_axis *axis) {
  return nk_axis_has_valid_window(axis) && axis->pad < axis->kernel;
}

static nk_status pool(const nk_pool2d_params *params, const nk_dims4 *input_dims,
                      const int8_t *input, const nk_dims4 *output_dims, int8_t *output,
                      reduce reduce_one, reduce_four reduce_word) {
  if (params == NULL || input_dims == NULL || input == NULL || output_dims == NULL ||
      output == NULL || !nk_is_activation_range(params->activation_min, params->activation_max)) {
    return NK_ERROR_ARGUMENT;
  }
  const nk_axis y = {input_dims->h,  output_dims->h, params->filter_h, params->stride_h, 1,
                     params->pad_top};
  const nk_axis x = {input_dims->w,   output_dims->w, params->filter_w, params->stride_w, 1,
                     params->pad_left};
  // A sum of fewer than 2^23 pixels fits in 31 bits.
  if (!window_is_valid(&y) || !window_is_valid(&x) || (int64_t)y.kernel * x.kernel >= 1 << 23) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_dims4_size(input_dims) == 0 || nk_dims4_size(output_dims) == 0 ||
      input_dims->n != output_dims->n || input_dims->c != output_dims->c ||
      !nk_axis_has_valid_sizes(&y) || !nk_axis_has_valid_sizes(&x)) {
    return NK_ERROR_SHAPE;
  }
  const int32_t channels = input_dims->c;
  const int32_t row_step = input_dims->w * channels;
  for (int32_t n = 0; n < output_dims->n; ++n, input += input_dims->h * row_step) {
    for (int32_t oy = 0; oy < y.output; ++oy) {
      const nk_range rows = nk_axis_taps(&y, oy);
      const int32_t iy = oy * y.stride - y.pad + rows.begin;
      for (int32_t ox = 0; ox < x.output; ++ox) {
        const nk_range columns = nk_axis_taps(&x, ox);
        const int32_t ix = ox * x.stride - x.pad + columns.begin;
        const window w = {rows.end - rows.begin, columns.end - columns.begin, row_step, channels};
        pool_pixel(params, input + iy * row_step + ix * channels, &w, output, reduce_one,
                   reduce_word);
        output += channels;
      }
    }
  }
  return NK_OK;
}

nk_status nk_average_pool2d_s8(const nk_average_pool2d_params *params, const nk_dims4 *input_dims,
                               const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  return pool(params, input_dims, input, output_dims, output, average, average_four);
}

nk_status nk_max_pool2d_s8(const nk_max_pool2d_params *params, const nk_dims4 *input_dims,
                           const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  return pool(params, input_dims, input, output_dims, output, maximum, maximum_four);
}
