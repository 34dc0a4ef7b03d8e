#include "nk_arithmetic.h"
#include "nk_doubled.h"
#include "nk_geometry.h"
#include "nk_ops.h"
#include "nk_simd.h"

static bool params_are_valid(const nk_add_params *p) {
  return nk_in_range(p->left_shift, 0, 22) && nk_is_input_offset(p->input1_offset) &&
         nk_is_multiplier(p->input1_multiplier, p->input1_shift) &&
         nk_is_input_offset(p->input2_offset) &&
         nk_is_multiplier(p->input2_multiplier, p->input2_shift) &&
         nk_is_output_offset(p->output_offset) &&
         nk_is_multiplier(p->output_multiplier, p->output_shift) &&
         nk_is_activation_range(p->activation_min, p->activation_max);
}

/** Both operands are brought to a common scale with `left_shift` spare bits, summed, rescaled. */
static int8_t add(const nk_add_params *p, int8_t a, int8_t b) {
  const nk_output_stage stage = {p->output_offset, p->activation_min, p->activation_max};
  const int32_t scaled1 = nk_multiply_by_quantized_multiplier(
      (a + p->input1_offset) * (1 << p->left_shift), p->input1_multiplier, p->input1_shift);
  const int32_t scaled2 = nk_multiply_by_quantized_multiplier(
      (b + p->input2_offset) * (1 << p->left_shift), p->input2_multiplier, p->input2_shift);
  return nk_requantize(nk_wrapping_add(scaled1, scaled2), p->output_multiplier, p->output_shift,
                       &stage);
}

/** Elements of one row; a step is 1, or 0 for an operand that has one element for all. */
typedef void (*add_row)(const nk_add_params *p, const int8_t *a, int32_t step_a, const int8_t *b,
                        int32_t step_b, int8_t *y, int32_t count);

static void add_row_in_general(const nk_add_params *p, const int8_t *a, int32_t step_a,
                               const int8_t *b, int32_t step_b, int8_t *y, int32_t count) {
  for (int32_t i = 0; i < count; ++i, a += step_a, b += step_b) {
    y[i] = add(p, *a, *b);
  }
}

/**
 * Whether the numbers are in the range that add_row_fast() asks for: with at most 20 spare bits
 * twice the sum stays below 2^31, and the shifts are to the right as for any pair of scales.
 */
static bool is_fast(const nk_add_params *p) {
  return p->left_shift <= 20 && nk_is_fast_multiplier(p->input1_multiplier) &&
         nk_in_range(p->input1_shift, -22, 0) && nk_is_fast_multiplier(p->input2_multiplier) &&
         nk_in_range(p->input2_shift, -22, 0) && nk_is_fast_multiplier(p->output_multiplier) &&
         nk_in_range(p->output_shift, -22, -1);
}

/** The same without the clamp, by nk_requantize_doubled()'s arithmetic. */
static NK_NOINLINE void add_row_fast(const nk_add_params *p, const int8_t *a, int32_t step_a,
                                     const int8_t *b, int32_t step_b, int8_t *y, int32_t count) {
  const int32_t factor = 2 << p->left_shift;
  const int32_t offset1 = p->input1_offset * factor;
  const int32_t offset2 = p->input2_offset * factor;
  const int32_t multiplier1 = p->input1_multiplier;
  const int32_t multiplier2 = p->input2_multiplier;
  const int32_t right1 = -p->input1_shift;
  const int32_t right2 = -p->input2_shift;
  // Without a shift there is nothing to round, and no sign to look at.
  const int32_t half1 = (1 << right1) >> 1;
  const int32_t half2 = (1 << right2) >> 1;
  const int32_t sign1 = right1 > 0 ? -1 : 0;
  const int32_t sign2 = right2 > 0 ? -1 : 0;
  const nk_doubled_stage stage =
      nk_doubled_stage_of(p->output_multiplier, p->output_shift, p->output_offset);
  for (int32_t i = 0; i < count; ++i, a += step_a, b += step_b) {
    const int32_t x1 = *a * factor + offset1;
    const int32_t x2 = *b * factor + offset2;
    const int32_t y1 = nk_smmlar(x1, multiplier1, half1 + ((x1 >> 31) & sign1)) >> right1;
    const int32_t y2 = nk_smmlar(x2, multiplier2, half2 + ((x2 >> 31) & sign2)) >> right2;
    y[i] = nk_requantize_doubled(2 * (y1 + y2), &stage);
  }
}

/** Runs the rows; the operands' dimensions, which may be 1, say how they are broadcast. */
static void run(const nk_add_params *p, add_row row, const nk_dims4 *input1_dims,
                const int8_t *input1, const nk_dims4 *input2_dims, const int8_t *input2,
                const nk_dims4 *output_dims, int8_t *output) {
  const nk_dims4 step1 = nk_broadcast_strides(input1_dims);
  const nk_dims4 step2 = nk_broadcast_strides(input2_dims);
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t h = 0; h < output_dims->h; ++h) {
      for (int32_t w = 0; w < output_dims->w; ++w, output += output_dims->c) {
        row(p, input1 + n * step1.n + h * step1.h + w * step1.w, step1.c,
            input2 + n * step2.n + h * step2.h + w * step2.w, step2.c, output, output_dims->c);
      }
    }
  }
}

nk_status nk_add_s8(const nk_add_params *params, const nk_dims4 *input1_dims, const int8_t *input1,
                    const nk_dims4 *input2_dims, const int8_t *input2, const nk_dims4 *output_dims,
                    int8_t *output) {
  if (params == NULL || input1_dims == NULL || input1 == NULL || input2_dims == NULL ||
      input2 == NULL || output_dims == NULL || output == NULL || !params_are_valid(params)) {
    return NK_ERROR_ARGUMENT;
  }
  const int32_t size = nk_dims4_size(output_dims);
  if (nk_dims4_size(input1_dims) == 0 || nk_dims4_size(input2_dims) == 0 || size == 0 ||
      !nk_dims4_broadcast_to(input1_dims, output_dims) ||
      !nk_dims4_broadcast_to(input2_dims, output_dims)) {
    return NK_ERROR_SHAPE;
  }
  const add_row row = is_fast(params) ? add_row_fast : add_row_in_general;
  if (nk_dims4_size(input1_dims) == size && nk_dims4_size(input2_dims) == size) {
    row(params, input1, 1, input2, 1, output, size);
  } else {
    run(params, row, input1_dims, input1, input2_dims, input2, output_dims, output);
  }
  if (params->activation_min > INT8_MIN || params->activation_max < INT8_MAX) {
    nk_clamp_bytes(output, size, params->activation_min, params->activation_max);
  }
  return NK_OK;
}
