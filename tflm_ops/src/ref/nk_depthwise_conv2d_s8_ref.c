#include "nk_arithmetic.h"
#include "nk_geometry.h"
#include "nk_reference.h"

/** The layer, with the sizes of its tensors. */
typedef struct layer {
  const nk_depthwise_conv2d_params *params;
  nk_axis y;
  nk_axis x;
  nk_output_stage stage;
  int32_t in_channels;
} layer;

/** The part of one output pixel's window that lies inside the input. */
typedef struct window {
  /** The first pixel (any, where there is none), and the offset of its tap in a channel's filter.
   */
  const int8_t *input;
  int32_t filter;
  int32_t rows;
  int32_t columns;
  /** Steps in the input from one tap to the next; 0 where there is no next one. */
  int32_t row_step;
  int32_t column_step;
} window;

static window find_window(const layer *l, nk_range rows, int32_t oy, int32_t ox,
                          const int8_t *image) {
  const nk_range columns = nk_axis_taps(&l->x, ox);
  const int32_t iy = oy * l->y.stride - l->y.pad + rows.begin * l->y.dilation;
  const int32_t ix = ox * l->x.stride - l->x.pad + columns.begin * l->x.dilation;
  // A window that meets no pixel still points into the image: sum_of_window() adds to the pointer.
  window w = {.input = image};
  if (rows.begin < rows.end && columns.begin < columns.end) {
    w.input = image + (iy * l->x.input + ix) * l->in_channels;
    w.filter = rows.begin * l->x.kernel + columns.begin;
    w.rows = rows.end - rows.begin;
    w.columns = columns.end - columns.begin;
    w.row_step = w.rows > 1 ? l->y.dilation * l->x.input * l->in_channels : 0;
    w.column_step = w.columns > 1 ? l->x.dilation * l->in_channels : 0;
  }
  return w;
}

/** Sum over the window of weight * (x + input_offset) for one channel of the input. */
static NK_NOINLINE int32_t sum_of_window(const window *w, int32_t channel, const int8_t *filter,
                                         int32_t kernel_w, int32_t input_offset) {
  const int8_t *row = w->input + channel;
  const int8_t *weights = filter + w->filter;
  const int32_t columns = w->columns;
  const int32_t step = w->column_step;
  int32_t acc = 0;
  for (int32_t ky = 0; ky < w->rows; ++ky, row += w->row_step, weights += kernel_w) {
    const int8_t *x = row;
    for (int32_t kx = 0; kx < columns; ++kx, x += step) {
      acc = nk_wrapping_add(acc, weights[kx] * (*x + input_offset));
    }
  }
  return acc;
}

static void run_image(const layer *l, const int8_t *input, int8_t *output) {
  const nk_depthwise_conv2d_params *p = l->params;
  const int32_t filter_size = l->y.kernel * l->x.kernel;
  for (int32_t oy = 0; oy < l->y.output; ++oy) {
    const nk_range rows = nk_axis_taps(&l->y, oy);
    for (int32_t ox = 0; ox < l->x.output; ++ox) {
      const window w = find_window(l, rows, oy, ox, input);
      for (int32_t o = 0; o < p->filter_dims.n; ++o) {
        const int32_t acc = sum_of_window(&w, o / p->depth_multiplier, p->filter + o * filter_size,
                                          l->x.kernel, p->input_offset);
        *output++ = nk_requantize(nk_wrapping_add(acc, p->bias[o]), p->multiplier[o], p->shift[o],
                                  &l->stage);
      }
    }
  }
}

void nk_depthwise_conv2d_s8_ref(const nk_depthwise_conv2d_params *params,
                                const nk_dims4 *input_dims, const int8_t *input,
                                const nk_dims4 *output_dims, int8_t *output) {
  const layer l = {
      .params = params,
      .y = {input_dims->h, output_dims->h, params->filter_dims.h, params->stride_h,
            params->dilation_h, params->pad_top},
      .x = {input_dims->w, output_dims->w, params->filter_dims.w, params->stride_w,
            params->dilation_w, params->pad_left},
      .stage = {params->output_offset, params->activation_min, params->activation_max},
      .in_channels = input_dims->c,
  };
  for (int32_t n = 0; n < input_dims->n; ++n) {
    run_image(&l, input + n * (input_dims->h * input_dims->w * input_dims->c),
              output + n * (output_dims->h * output_dims->w * output_dims->c));
  }
}
