/**
 * Softmax in fixed point, after TFLite's reference kernel and gemmlowp's exponential and division.
 *
 * A Qm.n number is an int32 with n fractional and m = 31 - n integer bits. nk_doubling_high_mul of
 * a Qa and a Qb number, named by their integer bits, is a Q(a + b) number.
 */
#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

#define DIFF_INTEGER_BITS 5  // a scaled difference to the maximum is Q5.26
#define SUM_INTEGER_BITS 12  // the sum of exponentials is Q12.19
#define MAX_DEPTH 8191       // so that the sum stays below 2^32

/** x * 2^shift, saturated. */
static int32_t saturating_shift_left(int32_t x, int32_t shift) {
  const int64_t wide = (int64_t)x * (1 << shift);
  return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/** exp(a) of a Q0.31 number in [-1/4, 0): the Taylor polynomial of degree 4 around -1/8. */
static int32_t exp_of_fraction(int32_t a) {
  const int32_t exp_minus_eighth = 1895147668;
  const int32_t third = 715827883;
  const int32_t x = a + (1 << 28);
  const int32_t x2 = nk_doubling_high_mul(x, x);
  const int32_t x3 = nk_doubling_high_mul(x2, x);
  const int32_t x4 = nk_doubling_high_mul(x2, x2);
  const int32_t x4_over_4 = nk_rounding_divide_by_pot(x4, 2);
  // x^4 / 24 + x^3 / 6 + x^2 / 2
  const int32_t tail =
      nk_rounding_divide_by_pot(nk_doubling_high_mul(x4_over_4 + x3, third) + x2, 1);
  return exp_minus_eighth + nk_doubling_high_mul(exp_minus_eighth, x + tail);
}

/** exp(a) of a Q5.26 number a <= 0, as Q0.31. */
static int32_t exp_of_negative(int32_t a) {
  // exp(-2^k) in Q0.31 for k = -2 .. 4: a factor for each bit of the argument from 1/4 upwards.
  static const int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242};
  if (a == 0) {
    return INT32_MAX;
  }
  const int32_t quarter = 1 << 24;
  // a = fraction - remainder with the fraction in [-1/4, 0) and a multiple of 1/4 as remainder.
  const int32_t fraction = (a & (quarter - 1)) - quarter;
  const int32_t remainder = fraction - a;
  int32_t result = exp_of_fraction(saturating_shift_left(fraction, DIFF_INTEGER_BITS));
  for (int32_t k = 0; k < 7; ++k) {
    if ((remainder & (quarter << k)) != 0) {
      result = nk_doubling_high_mul(result, kFactors[k]);
    }
  }
  return result;
}

/** 1 / (1 + a) of a Q0.31 number in [0, 1), as Q0.31: three Newton-Raphson steps. */
static int32_t one_over_one_plus(int32_t a) {
  const int32_t c48_over_17 = 1515870810;         // Q2.29
  const int32_t minus_c32_over_17 = -1010580540;  // Q2.29
  const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
  int32_t x = c48_over_17 + nk_doubling_high_mul(half_denominator, minus_c32_over_17);
  for (int32_t i = 0; i < 3; ++i) {
    const int32_t error = (1 << 29) - nk_doubling_high_mul(half_denominator, x);
    x += saturating_shift_left(nk_doubling_high_mul(x, error), 2);
  }
  // x is 1 / half_denominator in Q2.29, which read as Q1.30 is 1 / denominator.
  return saturating_shift_left(x, 1);
}

static int32_t leading_zeros(uint32_t x) {
  int32_t count = 0;
  while (count < 32 && (x & ((uint32_t)1 << (31 - count))) == 0) {
    ++count;
  }
  return count;
}

/** exp((x - max) * scale) as Q0.31; the difference must be at least diff_min. */
static int32_t exp_of_difference(const nk_softmax_params *params, int32_t difference) {
  return exp_of_negative(nk_doubling_high_mul(
      nk_wrapping_shift_left(difference, params->input_left_shift), params->input_multiplier));
}

static void run_row(const nk_softmax_params *params, int32_t depth, const int8_t *input,
                    int8_t *output) {
  int32_t max = INT8_MIN;
  for (int32_t c = 0; c < depth; ++c) {
    max = nk_max(max, input[c]);
  }
  uint32_t sum = 0;
  for (int32_t c = 0; c < depth; ++c) {
    if (input[c] - max >= params->diff_min) {
      const int32_t e = exp_of_difference(params, input[c] - max);
      sum += (uint32_t)nk_rounding_divide_by_pot(e, SUM_INTEGER_BITS);
    }
  }
  // The sum is (1 + fraction) * 2^(SUM_INTEGER_BITS - headroom), with the fraction in Q0.31.
  const int32_t headroom = leading_zeros(sum);
  const int32_t fraction = (int32_t)((sum << headroom) - ((uint32_t)1 << 31));
  const int32_t reciprocal = one_over_one_plus(fraction);
  const int32_t exponent = SUM_INTEGER_BITS - headroom + 31 - 8;
  for (int32_t c = 0; c < depth; ++c) {
    int32_t probability = 0;  // in 1/256
    // Above 31 even a probability of one would round to zero; only rows of 512 and more get there.
    if (input[c] - max >= params->diff_min && exponent <= 31) {
      const int32_t e = exp_of_difference(params, input[c] - max);
      probability = nk_rounding_divide_by_pot(nk_doubling_high_mul(reciprocal, e), exponent);
    }
    output[c] = (int8_t)nk_clamp(probability + INT8_MIN, INT8_MIN, INT8_MAX);
  }
}

nk_status nk_softmax_s8(const nk_softmax_params *params, int32_t rows, int32_t depth,
                        const int8_t *input, int8_t *output) {
  if (params == NULL || input == NULL || output == NULL || params->input_multiplier < 0 ||
      !nk_in_range(params->input_left_shift, 0, 31) || params->diff_min > 0 ||
      params->diff_min < INT32_MIN >> params->input_left_shift) {
    return NK_ERROR_ARGUMENT;
  }
  const nk_dims4 dims = {rows, 1, 1, depth};
  if (nk_dims4_size(&dims) == 0 || depth > MAX_DEPTH) {
    return NK_ERROR_SHAPE;
  }
  for (int32_t row = 0; row < rows; ++row) {
    run_row(params, depth, input + row * depth, output + row * depth);
  }
  return NK_OK;
}
