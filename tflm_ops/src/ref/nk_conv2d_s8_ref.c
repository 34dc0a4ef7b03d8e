#include "../../include/nk_ops.h"
#include "nk_arithmetic.h"
#include "nk_geometry.h"

/** The layer, with the sizes of its tensors. */
typedef struct layer {
  const nk_conv2d_params *params;
  nk_axis y;
  nk_axis x;
  nk_output_stage stage;
} layer;

/** The part of one output pixel's window that lies inside the input. */
typedef struct window {
  /** The first pixel, and the offset of its tap in a channel's filter. */
  const int8_t *input;
  int32_t filter;
  int32_t rows;
  int32_t columns;
} window;

static window find_window(const layer *l, nk_range rows, int32_t oy, int32_t ox,
                          const int8_t *image) {
  const nk_range columns = nk_axis_taps(&l->x, ox);
  const int32_t iy = oy * l->y.stride - l->y.pad + rows.begin * l->y.dilation;
  const int32_t ix = ox * l->x.stride - l->x.pad + columns.begin * l->x.dilation;
  const int32_t channels = l->params->filter_dims.c;
  window w = {.rows = 0};
  if (rows.begin < rows.end && columns.begin < columns.end) {
    w.input = image + (iy * l->x.input + ix) * channels;
    w.filter = (rows.begin * l->x.kernel + columns.begin) * channels;
    w.rows = rows.end - rows.begin;
    w.columns = columns.end - columns.begin;
  }
  return w;
}

/** Sum over the window of weight * (x + input_offset) for one output channel. */
static int32_t sum_of_window(const layer *l, const window *w, const int8_t *filter) {
  const int32_t channels = l->params->filter_dims.c;
  const int32_t row_step = w->rows > 1 ? l->y.dilation * l->x.input * channels : 0;
  // Without dilation the pixels of a row are neighbours, as their weights are: one long run.
  const bool neighbours = l->x.dilation == 1;
  const int32_t runs = neighbours ? 1 : w->columns;
  const int32_t length = neighbours ? w->columns * channels : channels;
  int32_t acc = 0;
  for (int32_t row = 0; row < w->rows; ++row) {
    for (int32_t run = 0; run < runs; ++run) {
      const int8_t *x = w->input + row * row_step + run * l->x.dilation * channels;
      const int8_t *weights = filter + w->filter + (row * l->x.kernel + run) * channels;
      acc = nk_wrapping_add(acc, nk_dot_s8(x, weights, length, l->params->input_offset));
    }
  }
  return acc;
}

static void run_image(const layer *l, const int8_t *input, int8_t *output) {
  const nk_conv2d_params *p = l->params;
  const int32_t filter_size = p->filter_dims.h * p->filter_dims.w * p->filter_dims.c;
  for (int32_t oy = 0; oy < l->y.output; ++oy) {
    const nk_range rows = nk_axis_taps(&l->y, oy);
    for (int32_t ox = 0; ox < l->x.output; ++ox) {
      const window w = find_window(l, rows, oy, ox, input);
      for (int32_t o = 0; o < p->filter_dims.n; ++o) {
        const int32_t acc = sum_of_window(l, &w, p->filter + o * filter_size);
        *output++ = nk_requantize(nk_wrapping_add(acc, p->bias[o]), p->multiplier[o], p->shift[o],
                                  &l->stage);
      }
    }
  }
}

nk_status nk_conv2d_s8(const nk_conv2d_params *params, const nk_dims4 *input_dims,
                       const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || output_dims == NULL ||
      output == NULL || params->filter == NULL || params->bias == NULL ||
      params->multiplier == NULL || params->shift == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  const layer l = {
      .params = params,
      .y = {input_dims->h, output_dims->h, params->filter_dims.h, params->stride_h,
            params->dilation_h, params->pad_top},
      .x = {input_dims->w, output_dims->w, params->filter_dims.w, params->stride_w,
            params->dilation_w, params->pad_left},
      .stage = {params->output_offset, params->activation_min, params->activation_max},
  };
  if (!nk_axis_has_valid_window(&l.y) || !nk_axis_has_valid_window(&l.x) ||
      !nk_is_input_offset(params->input_offset) || !nk_is_output_offset(params->output_offset) ||
      !nk_is_activation_range(params->activation_min, params->activation_max)) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_dims4_size(input_dims) == 0 || nk_dims4_size(output_dims) == 0 ||
      nk_dims4_size(&params->filter_dims) == 0 || input_dims->n != output_dims->n ||
      input_dims->c != params->filter_dims.c || output_dims->c != params->filter_dims.n ||
      !nk_axis_has_valid_sizes(&l.y) || !nk_axis_has_valid_sizes(&l.x)) {
    return NK_ERROR_SHAPE;
  }
  if (!nk_are_channel_multipliers(params->multiplier, params->shift, params->filter_dims.n)) {
    return NK_ERROR_ARGUMENT;
  }
  for (int32_t n = 0; n < input_dims->n; ++n) {
    run_image(&l, input + n * (input_dims->h * input_dims->w * input_dims->c),
              output + n * (output_dims->h * output_dims->w * output_dims->c));
  }
  return NK_OK;
}
