#include "nk_arithmetic.h"
#include "nk_geometry.h"
#include "nk_ops.h"

/** One image and the layer that runs over it. */
typedef struct layer {
  const nk_conv2d_params *params;
  nk_axis y;
  nk_axis x;
  nk_output_stage stage;
} layer;

/** Sum over the filter of weight * (x + input_offset) for one output pixel and channel. */
static int32_t sum_of_window(const layer *l, int32_t oy, int32_t ox, nk_range rows,
                             nk_range columns, const int8_t *input, const int8_t *filter) {
  const nk_dims4 *f = &l->params->filter_dims;
  int32_t acc = 0;
  for (int32_t ky = rows.begin; ky < rows.end; ++ky) {
    const int32_t iy = oy * l->y.stride - l->y.pad + ky * l->y.dilation;
    for (int32_t kx = columns.begin; kx < columns.end; ++kx) {
      const int32_t ix = ox * l->x.stride - l->x.pad + kx * l->x.dilation;
      acc = nk_wrapping_add(
          acc, nk_dot(input + (iy * l->x.input + ix) * f->c, filter + (ky * f->w + kx) * f->c, f->c,
                      l->params->input_offset));
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
      const nk_range columns = nk_axis_taps(&l->x, ox);
      for (int32_t o = 0; o < p->filter_dims.n; ++o) {
        const int32_t acc =
            sum_of_window(l, oy, ox, rows, columns, input, p->filter + o * filter_size);
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
  if (nk_dims4_size(input_dims) == 0 || nk_dims4_size(output_dims) == 0 ||
      nk_dims4_size(&params->filter_dims) == 0 || input_dims->n != output_dims->n ||
      input_dims->c != params->filter_dims.c || output_dims->c != params->filter_dims.n ||
      !nk_axis_has_valid_sizes(&l.y) || !nk_axis_has_valid_sizes(&l.x)) {
    return NK_ERROR_SHAPE;
  }
  if (!nk_axis_has_valid_window(&l.y) || !nk_axis_has_valid_window(&l.x) ||
      !nk_is_input_offset(params->input_offset) || !nk_is_output_offset(params->output_offset) ||
      !nk_is_activation_range(params->activation_min, params->activation_max) ||
      !nk_are_channel_multipliers(params->multiplier, params->shift, params->filter_dims.n)) {
    return NK_ERROR_ARGUMENT;
  }
  for (int32_t n = 0; n < input_dims->n; ++n) {
    run_image(&l, input + n * (input_dims->h * input_dims->w * input_dims->c),
              output + n * (output_dims->h * output_dims->w * output_dims->c));
  }
  return NK_OK;
}
