#include "nk_arithmetic.h"
#include "nk_geometry.h"
#include "nk_ops.h"

/** Reduces one channel of a window; `x` is its first valid pixel, steps are in elements. */
typedef int32_t (*reduce)(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                          int32_t column_step);

static int32_t average(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                       int32_t column_step) {
  const int32_t count = rows * columns;
  int32_t sum = 0;
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = 0; c < columns; ++c) {
      sum += x[r * row_step + c * column_step];
    }
  }
  // Division truncates, so half the count moves it to the nearest, halves away from zero.
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

static int32_t maximum(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                       int32_t column_step) {
  int32_t max = INT8_MIN;
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = 0; c < columns; ++c) {
      max = nk_max(max, x[r * row_step + c * column_step]);
    }
  }
  return max;
}

/** With a padding below the filter's size the first window touches the input. */
static bool window_is_valid(const nk_axis *axis) {
  return nk_axis_has_valid_window(axis) && axis->pad < axis->kernel;
}

static nk_status pool(const nk_pool2d_params *params, const nk_dims4 *input_dims,
                      const int8_t *input, const nk_dims4 *output_dims, int8_t *output,
                      reduce reduce_window) {
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
        for (int32_t c = 0; c < channels; ++c) {
          const int32_t value =
              reduce_window(input + iy * row_step + ix * channels + c, rows.end - rows.begin,
                            columns.end - columns.begin, row_step, channels);
          *output++ = (int8_t)nk_clamp(value, params->activation_min, params->activation_max);
        }
      }
    }
  }
  return NK_OK;
}

nk_status nk_average_pool2d_s8(const nk_average_pool2d_params *params, const nk_dims4 *input_dims,
                               const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  return pool(params, input_dims, input, output_dims, output, average);
}

nk_status nk_max_pool2d_s8(const nk_max_pool2d_params *params, const nk_dims4 *input_dims,
                           const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  return pool(params, input_dims, input, output_dims, output, maximum);
}
