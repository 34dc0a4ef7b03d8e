#include "../../include/nk_ops.h"
#include "../cortex_m/nk_doubled.h"
#include "../cortex_m/nk_short_sum.h"
#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_elementwise.h"

enum { FAST_LEFT_SHIFT = 20 };

/**
 * The parameters of add_fast(). TFLite converts both operands to twice the larger scale. The
 * operand with the larger scale is `exact`: its part (x + offset) * 2^20 / 2 needs no rounding.
 */
typedef struct fast_add {
  /** The offset of the other operand, times 2^21, and its scale. */
  int32_t offset;
  nk_doubled_stage scale;
  int32_t exact_offset;
  nk_doubled_stage output;
  /** Whether input1 is the exact operand. */
  bool is_first_exact;
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
      .offset = p->input2_offset * (2 << FAST_LEFT_SHIFT),
  };
  if (!fast->is_first_exact) {
    if (!is_half(multiplier, shift)) {
      return false;
    }
    multiplier = p->input1_multiplier;
    shift = p->input1_shift;
    fast->exact_offset = p->input2_offset;
    fast->offset = p->input1_offset * (2 << FAST_LEFT_SHIFT);
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

/** Adds `count` pairs. */
static void add_fast(const nk_add_params *p, const fast_add *c, const int8_t *exact,
                     const int8_t *x, int8_t *y, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    const int32_t doubled = x[i] * (2 << FAST_LEFT_SHIFT) + c->offset;
    const int32_t scaled =
        nk_smmlar(doubled, c->scale.multiplier, c->scale.constant + (doubled >> 31)) >>
        c->scale.right;
    y[i] = nk_requantize_doubled((exact[i] + c->exact_offset) * (1 << FAST_LEFT_SHIFT) + 2 * scaled,
                                 &c->output);
  }
  nk_clamp_s8(y, count, p->activation_min, p->activation_max);
}

/** Elements of one row; a step is 1, or 0 for an operand that has one element for all. */
static NK_NOINLINE void add_row(const nk_add_params *p, const fast_add *fast, const int8_t *a,
                                int32_t step_a, const int8_t *b, int32_t step_b, int8_t *y,
                                int32_t count) {
  if (nk_has_short_sum(p) && step_a == 1 && step_b == 1) {
    nk_short_sum_s8(p, a, b, y, count);
    return;
  }
  if (fast != NULL && step_a == 1 && step_b == 1) {
    add_fast(p, fast, fast->is_first_exact ? a : b, fast->is_first_exact ? b : a, y, count);
    return;
  }
  for (int32_t i = 0; i < count; ++i) {
    y[i] = nk_add_pair(p, a[i * step_a], b[i * step_b]);
  }
}

/** Runs the rows; an operand is broadcast along its dimensions of 1. */
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
      input2 == NULL || output_dims == NULL || output == NULL || !nk_add_params_are_valid(params)) {
    return NK_ERROR_ARGUMENT;
  }
  const int32_t size = nk_dims4_size(output_dims);
  const int32_t size1 = nk_dims4_size(input1_dims);
  const int32_t size2 = nk_dims4_size(input2_dims);
  if (size1 == 0 || size2 == 0 || size == 0 || !nk_dims4_broadcast_to(input1_dims, output_dims) ||
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
  return NK_OK;
}
