#include "../../include/nk_ops.h"
#include "../cortex_m/nk_short_sum.h"
#include "nk_elementwise.h"

/**
 * The factor of an operand, m1 * 2^s1 * m2 * 2^s2 with `scale` more bits, rounded; 0 if the factor
 * exceeds 31 bits.
 */
static int32_t factor_of(const nk_add_params *p, int32_t multiplier, int32_t shift) {
  const int64_t product = (int64_t)multiplier * p->output_multiplier;
  const int32_t bits = NK_SHORT_SUM_BITS + NK_SHORT_SUM_FACTOR_BITS;
  const int32_t right = 62 - p->left_shift - shift - p->output_shift - bits;
  if (right < 1 || right > 62) {
    return 0;
  }
  const int64_t factor = (product + ((int64_t)1 << (right - 1))) >> right;
  return factor > INT32_MAX ? 0 : (int32_t)factor;
}

/**
 * The constants for which all sums are right lie between `low` and `high`: the sum `y` of a pair of
 * operands needs y * 2^20 <= parts + constant < (y + 1) * 2^20, where a saturated sum has one
 * limit.
 */
static void find_constants(const nk_add_params *p, int64_t *low, int64_t *high) {
  nk_add_params wide = *p;
  wide.activation_min = INT8_MIN;
  wide.activation_max = INT8_MAX;
  *low = INT32_MIN;
  *high = INT32_MAX;
  for (int32_t b = INT8_MIN; b <= INT8_MAX; ++b) {
    const int64_t part = ((int64_t)p->short_factor2 * b) >> NK_SHORT_SUM_FACTOR_BITS;
    for (int32_t a = INT8_MIN; a <= INT8_MAX; ++a) {
      const int64_t parts = (((int64_t)p->short_factor1 * a) >> NK_SHORT_SUM_FACTOR_BITS) + part;
      const int32_t y = nk_add_pair(&wide, (int8_t)a, (int8_t)b);
      const int64_t least = (int64_t)y * (1 << NK_SHORT_SUM_BITS) - parts;
      const int64_t most = least + (1 << NK_SHORT_SUM_BITS) - 1;
      if (y > INT8_MIN && least > *low) {
        *low = least;
      }
      if (y < INT8_MAX && most < *high) {
        *high = most;
      }
    }
  }
}

nk_status nk_add_s8_shorten(nk_add_params *params) {
  if (params == NULL || !nk_add_params_are_valid(params)) {
    return NK_ERROR_ARGUMENT;
  }
  params->short_factor1 = factor_of(params, params->input1_multiplier, params->input1_shift);
  params->short_factor2 = factor_of(params, params->input2_multiplier, params->input2_shift);
  params->short_constant = 0;
  // Half of what the accumulator holds is for the constant.
  const int64_t largest = ((int64_t)params->short_factor1 + params->short_factor2) / 2;
  int64_t low = 1;
  int64_t high = 0;
  if (params->short_factor1 > 0 && params->short_factor2 > 0 && largest < 1 << 30) {
    find_constants(params, &low, &high);
  }
  const int64_t constant = low + (high - low) / 2;
  if (low > high || constant > 1 << 30 || constant < -(1 << 30)) {
    params->short_factor1 = 0;
    params->short_factor2 = 0;
    return NK_OK;
  }
  params->short_constant = (int32_t)constant;
  return NK_OK;
}
