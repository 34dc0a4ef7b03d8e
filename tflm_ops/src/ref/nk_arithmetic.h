/**
 * TFLite's fixed-point arithmetic, which all kernels share; docs/quantization.md derives the rules.
 *
 * Sums wrap modulo 2^32 where TFLite's would overflow, so nothing here is undefined for any input.
 */
#ifndef NK_ARITHMETIC_H_
#define NK_ARITHMETIC_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Keeps a hot loop in a function of its own, where the loop has all registers. */
#if defined(__GNUC__)
#define NK_NOINLINE __attribute__((noinline))
#else
#define NK_NOINLINE
#endif

/** Makes a copy of a function for each caller, whose constants then shape the loops. */
#if defined(__GNUC__)
#define NK_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define NK_ALWAYS_INLINE inline
#endif

/** C++ has no _Static_assert, and assert.h no static_assert for -std=c99. */
#if defined(__cplusplus)
#define NK_STATIC_ASSERT static_assert
#else
#define NK_STATIC_ASSERT _Static_assert
#endif

NK_STATIC_ASSERT((-1 >> 1) == -1, "right shifts of negative numbers must be arithmetic");

/** a + b modulo 2^32. */
static inline int32_t nk_wrapping_add(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t nk_wrapping_sub(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a - (uint32_t)b);
}

/** x * 2^shift modulo 2^32, shift in 0 .. 31. */
static inline int32_t nk_wrapping_shift_left(int32_t x, int32_t shift) {
  return (int32_t)((uint32_t)x << shift);
}

static inline int32_t nk_min(int32_t a, int32_t b) { return a < b ? a : b; }

static inline int32_t nk_max(int32_t a, int32_t b) { return a > b ? a : b; }

static inline int32_t nk_clamp(int32_t x, int32_t low, int32_t high) {
  return nk_min(nk_max(x, low), high);
}

static inline bool nk_in_range(int32_t x, int32_t low, int32_t high) {
  return low <= x && x <= high;
}

/**
 * The product of two Q31 numbers: a * b / 2^31, rounded to nearest with halves upwards. TFLite's
 * SaturatingRoundingDoublingHighMul adds 2^30 to a positive product and 1 - 2^30 to a negative one
 * and divides by 2^31 towards zero. For a negative product p that is
 * ceil((p + 1 - 2^30) / 2^31) = floor((p + 2^30) / 2^31): the same expression for both signs.
 *
 * a and b must not both be -2^31, whose product TFLite saturates: no multiplier is -2^31.
 */
static inline int32_t nk_doubling_high_mul(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/** x / 2^exponent, exponent in 0 .. 31, rounded to nearest with halves away from zero. */
static inline int32_t nk_rounding_divide_by_pot(int32_t x, int32_t exponent) {
  const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
  const int32_t remainder = x & mask;
  const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/**
 * x * multiplier / 2^31 * 2^shift by TFLite's rule: a positive shift is applied before the product,
 * a negative shift after the product. Product and shift to the right each round.
 *
 * multiplier in -(2^31 - 1) .. 2^31 - 1, shift in -31 .. 30.
 */
static inline int32_t nk_multiply_by_quantized_multiplier(int32_t x, int32_t multiplier,
                                                          int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  return nk_rounding_divide_by_pot(
      nk_doubling_high_mul(nk_wrapping_shift_left(x, left), multiplier), right);
}

/** The constants, equal for all channels, that turn an accumulator into an int8 output. */
typedef struct nk_output_stage {
  int32_t offset;
  int32_t min;
  int32_t max;
} nk_output_stage;

/** clamp(acc * multiplier * 2^shift + offset). */
static inline int8_t nk_requantize(int32_t acc, int32_t multiplier, int32_t shift,
                                   const nk_output_stage *stage) {
  const int32_t scaled = nk_multiply_by_quantized_multiplier(acc, multiplier, shift);
  return (int8_t)nk_clamp(nk_wrapping_add(scaled, stage->offset), stage->min, stage->max);
}

/**
 * x * multiplier / 2^31 * 2^shift rounded once, to nearest with halves away from zero. TFLite's
 * reference kernel of FULLY_CONNECTED multiplies in double and rounds the result, where the
 * convolutions round twice.
 *
 * multiplier in -(2^31 - 1) .. 2^31 - 1, shift in -31 .. 30; the result may exceed 32 bits.
 */
static inline int64_t nk_multiply_with_single_rounding(int32_t x, int32_t multiplier,
                                                       int32_t shift) {
  const int64_t product = (int64_t)x * multiplier;
  const int64_t half = (int64_t)1 << (30 - shift);
  return product < 0 ? -((half - product) >> (31 - shift)) : (half + product) >> (31 - shift);
}

/** nk_requantize() with a single rounding. */
static inline int8_t nk_requantize_once(int32_t acc, int32_t multiplier, int32_t shift,
                                        const nk_output_stage *stage) {
  const int64_t y = nk_multiply_with_single_rounding(acc, multiplier, shift) + stage->offset;
  return (int8_t)(y < stage->min ? stage->min : y > stage->max ? stage->max : y);
}

/** Sum of w[i] * (x[i] + input_offset) over `count` elements. */
int32_t nk_dot_s8(const int8_t *x, const int8_t *w, int32_t count, int32_t input_offset);

/**
 * The sums over a window of four neighbouring channels: x[r * row_step + c * column_step + i] over
 * all rows r and columns c, to sums[i]. At most 2^23 terms.
 */
void nk_sum_four_s8(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                    int32_t column_step, int32_t *sums);

/** Clamps `size` elements in place. */
void nk_clamp_s8(int8_t *data, int32_t size, int32_t min, int32_t max);

// Ranges that nk_ops.h promises to check.

static inline bool nk_is_input_offset(int32_t offset) { return nk_in_range(offset, -127, 128); }

static inline bool nk_is_output_offset(int32_t offset) { return nk_in_range(offset, -128, 127); }

static inline bool nk_is_activation_range(int32_t min, int32_t max) {
  return -128 <= min && min <= max && max <= 127;
}

static inline bool nk_is_multiplier(int32_t multiplier, int32_t shift) {
  return multiplier >= 0 && nk_in_range(shift, -31, 30);
}

/** Whether every channel's multiplier, which may be negative, and shift are in range. */
static inline bool nk_are_channel_multipliers(const int32_t *multiplier, const int32_t *shift,
                                              int32_t channels) {
  for (int32_t c = 0; c < channels; ++c) {
    if (multiplier[c] == INT32_MIN || !nk_in_range(shift[c], -31, 30)) {
      return false;
    }
  }
  return true;
}

#endif  // NK_ARITHMETIC_H_
