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

enum { FAST_LEFT_SHIFT = 20 };

/**
 * What add_fours() needs of the usual parameters. TFLite brings both operands to twice the larger
 * scale: that of the `exact` operand, whose part (x + offset) * 2^20 / 2 needs no rounding.
 */
typedef struct fast_add {
  /** Whether input1 is the exact operand. */
  bool is_first_exact;
  int32_t exact_offset;
  int32_t offset;
  /** For the other operand's part. */
  nk_doubled_stage scale;
  nk_doubled_stage output;
} fast_add;

static bool is_half(int32_t multiplier, int32_t shift) {
  return multiplier == 1 << 30 && shift == 0;
}

/** Returns false where the parameters are not of the usual kind. */
static bool make_fast(const nk_add_params *p, fast_add *fast) {
  int32_t multiplier = p->input2_multiplier;
  int32_t shift = p->input2_shift;
  *fast = (fast_add){
      .is_first_exact = is_half(p->input1_multiplier, p->input1_shift),
      .exact_offset = p->input1_offset,
      .offset = p->input2_offset,
  };
  if (!fast->is_first_exact) {
    if (!is_half(multiplier, shift)) {
      return false;
    }
    multiplier = p->input1_multiplier;
    shift = p->input1_shift;
    fast->exact_offset = p->input2_offset;
    fast->offset = p->input1_offset;
  }
  if (is_half(multiplier, shift)) {
    // As good as one half: the product has 21 zero bits, so that this rounds to the same.
    multiplier = INT32_MAX;
    shift = -1;
  }
  if (p->left_shift != FAST_LEFT_SHIFT || !nk_is_fast_multiplier(multiplier) ||
      !nk_in_range(shift, -22, -1) || !nk_is_fast_multiplier(p->output_multiplier) ||
      !nk_in_range(p->output_shift, -22, -1)) {
    return false;
  }
  fast->scale = nk_doubled_stage_of(multiplier, shift, 0);
  fast->output = nk_doubled_stage_of(p->output_multiplier, p->output_shift, p->output_offset);
  return true;
}

/** The part of the operand that is rounded. */
static inline int32_t scaled_part(int8_t x, int32_t offset, const nk_doubled_stage *s) {
  const int32_t doubled = x * (2 << FAST_LEFT_SHIFT) + offset;
  return nk_smmlar(doubled, s->multiplier, s->constant + (doubled >> 31)) >> s->right;
}

static inline int8_t sum_of_parts(int8_t exact, int32_t offset, int32_t scaled,
                                  const nk_doubled_stage *s) {
  return nk_requantize_doubled(exact * (1 << FAST_LEFT_SHIFT) + offset + 2 * scaled, s);
}

/** Four elements at a time and without the clamp, by nk_requantize_doubled()'s arithmetic. */
static NK_NOINLINE void add_fours(const fast_add *fast, const int8_t *exact, const int8_t *x,
                                  int8_t *y, int32_t fours) {
  const nk_doubled_stage scale = fast->scale;
  const nk_doubled_stage output = fast->output;
  const int32_t exact_offset = fast->exact_offset * (1 << FAST_LEFT_SHIFT);
  const int32_t offset = fast->offset * (2 << FAST_LEFT_SHIFT);
  for (; fours > 0; --fours, exact += 4, x += 4, y += 4) {
    const int32_t x0 = scaled_part(x[0], offset, &scale);
    const int32_t x1 = scaled_part(x[1], offset, &scale);
    const int32_t x2 = scaled_part(x[2], offset, &scale);
    const int32_t x3 = scaled_part(x[3], offset, &scale);
    const int8_t y0 = sum_of_parts(exact[0], exact_offset, x0, &output);
    const int8_t y1 = sum_of_parts(exact[1], exact_offset, x1, &output);
    const int8_t y2 = sum_of_parts(exact[2], exact_offset, x2, &output);
    const int8_t y3 = sum_of_parts(exact[3], exact_offset, x3, &output);
    y[0] = y0;
    y[1] = y1;
    y[2] = y2;
    y[3] = y3;
  }
}

/** Elements of one row; a step is 1, or 0 for an operand that has one element for all. */
static void add_row(const nk_add_params *p, const fast_add *fast, const int8_t *a, int32_t step_a,
                    const int8_t *b, int32_t step_b, int8_t *y, int32_t count) {
  int32_t done = 0;
  if (fast != NULL && step_a == 1 && step_b == 1) {
    add_fours(fast, fast->is_first_exact ? a : b, fast->is_first_exact ? b : a, y, count / 4);
    done = count / 4 * 4;
  }
  for (int32_t i = done; i < count; ++i) {
    y[i] = add(p, a[i * step_a], b[i * step_b]);
  }
}

/** Runs the rows; the operands' dimensions, which may be 1, say how they are broadcast. */
static void run(const nk_add_params *p, const fast_add *fast, const nk_dims4 *input1_dims,
                const int8_t *input1, const nk_dims4 *input2_dims, const int8_t *input2,
                const nk_dims4 *output_dims, int8_t *output) {
  const nk_dims4 step1 = nk_broadcast_strides(input1_dims);
  const nk_dims4 step2 = nk_broadcast_strides(input2_dims);
  for (int32_t n = 0; n < output_dims->n; ++n) {
    for (int32_t h = 0; h < output_dims->h; ++h) {
      for (int32_t w = 0; w < output_dims->w; ++w, output += output_dims->c) {
        add_row(p, fast, input1 + n * step1.n + h * step1.h + w * step1.w, step1.c,
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
  fast_add made;
  const fast_add *fast = make_fast(params, &made) ? &made : NULL;
  if (nk_dims4_size(input1_dims) == size && nk_dims4_size(input2_dims) == size) {
    add_row(params, fast, input1, 1, input2, 1, output, size);
  } else {
    run(params, fast, input1_dims, input1, input2_dims, input2, output_dims, output);
  }
  if (params->activation_min > INT8_MIN || params->activation_max < INT8_MAX) {
    nk_clamp_bytes(output, size, params->activation_min, params->activation_max);
  }
  return NK_OK;
}
