#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

/** A pixel, and the largest start and step: 65536 pixels. */
enum { kOne = 1024, kFarthest = 1 << 26 };

/** The two pixels that an output pixel reads along one axis, and their weights in 1/1024. */
typedef struct neighbours {
  int32_t lower;
  int32_t upper;
  int32_t lower_weight;
  int32_t upper_weight;
} neighbours;

static neighbours find_neighbours(int32_t start, int32_t step, int32_t output, int32_t input) {
  const int32_t place = start + output * step;
  neighbours found;
  found.lower = nk_max(place, 0) / kOne;
  found.upper = nk_min(nk_max(place + kOne - 1, 0) / kOne, input - 1);
  found.upper_weight = place - found.lower * kOne;
  found.lower_weight = kOne - found.upper_weight;
  return found;
}

/** Whether the places along one axis lie in the input, or at most half a pixel in front. */
static bool axis_fits(int32_t start, int32_t step, int32_t output, int32_t input) {
  const int64_t last = start + (int64_t)(output - 1) * step;
  return output <= NK_MAX_EXTENT && input <= NK_MAX_EXTENT && last < (int64_t)input * kOne;
}

nk_status nk_resize_bilinear_s8(const nk_resize_bilinear_params *params, const nk_dims4 *input_dims,
                                const int8_t *input, const nk_dims4 *output_dims, int8_t *output) {
  if (params == NULL || input_dims == NULL || input == NULL || output_dims == NULL ||
      output == NULL || !nk_in_range(params->step_h, 0, kFarthest) ||
      !nk_in_range(params->step_w, 0, kFarthest) ||
      !nk_in_range(params->start_h, -kOne / 2, kFarthest) ||
      !nk_in_range(params->start_w, -kOne / 2, kFarthest)) {
    return NK_ERROR_ARGUMENT;
  }
  if (nk_dims4_size(input_dims) == 0 || nk_dims4_size(output_dims) == 0 ||
      input_dims->n != output_dims->n || input_dims->c != output_dims->c ||
      !axis_fits(params->start_h, params->step_h, output_dims->h, input_dims->h) ||
      !axis_fits(params->start_w, params->step_w, output_dims->w, input_dims->w)) {
    return NK_ERROR_SHAPE;
  }
  const int32_t channels = input_dims->c;
  const int32_t row = input_dims->w * channels;
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t y = 0; y < output_dims->h; ++y) {
      const neighbours v = find_neighbours(params->start_h, params->step_h, y, input_dims->h);
      for (int32_t x = 0; x < output_dims->w; ++x) {
        const neighbours u = find_neighbours(params->start_w, params->step_w, x, input_dims->w);
        const int8_t *top_left = input + v.lower * row + u.lower * channels;
        const int8_t *top_right = input + v.lower * row + u.upper * channels;
        const int8_t *bottom_left = input + v.upper * row + u.lower * channels;
        const int8_t *bottom_right = input + v.upper * row + u.upper * channels;
        for (int32_t c = 0; c < channels; ++c) {
          // Weights add up to 2^20 and are at most 1536 in magnitude each: below 2^31.
          const int32_t top = top_left[c] * u.lower_weight + top_right[c] * u.upper_weight;
          const int32_t bottom = bottom_left[c] * u.lower_weight + bottom_right[c] * u.upper_weight;
          const int32_t sum = top * v.lower_weight + bottom * v.upper_weight;
          const int32_t half = sum > 0 ? kOne * kOne / 2 : -(kOne * kOne / 2);
          *output++ = (int8_t)((sum + half) / (kOne * kOne));
        }
      }
    }
    input += input_dims->h * row;
  }
  return NK_OK;
}
