#include "../../include/nk_ops.h"
#include "../cortex_m/nk_doubled.h"
#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"
#include "nk_elementwise.h"

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
 * The parameters of add_fours(). TFLite converts both operands to twice the larger scale. The
 * operand with the larger scale is `exact`: its part (x + offset) * 2^20 / 2 needs no rounding.
 */
typedef struct fast_add {
  /** The offset of the other operand, times 2^21, and its scale. */
  int32_t offset;
  nk_doubled_stage scale;
  int32_t exact_offset;
  nk_doubled_stage output;
  /** From the other operand to the exact operand, in bytes; set and used by the assembler. */
  int32_t distance;
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

#if NK_HAS_SIMD32

// clang-format off

// x0 .. x3 are the elements of the other operand and, in the end, the sums; k0 .. k3 and t hold
// constants and the exact elements. K() loads a constant by its offset in fast_add.
#define K(to, offset) "ldr %[" #to "], [%[c], #" #offset "]\n\t"
_Static_assert(offsetof(fast_add, offset) == 0 && offsetof(fast_add, scale.multiplier) == 4 &&
                   offsetof(fast_add, scale.constant) == 8 &&
                   offsetof(fast_add, scale.right) == 12 &&
                   offsetof(fast_add, exact_offset) == 16 &&
                   offsetof(fast_add, output.multiplier) == 20 &&
                   offsetof(fast_add, output.constant) == 24 &&
                   offsetof(fast_add, output.right) == 28 && offsetof(fast_add, distance) == 32,
               "K() has the offsets of the constants");
#define LOAD(to, index) "ldrsb %[" #to "], [%[x], #" #index "]\n\t"
#define STORE(from, index) "strb %[" #from "], [%[y], #" #index "]\n\t"
// (x + offset) * 2^21, then nk_requantize_doubled()'s steps; the constant is in k1, the multiplier
// in k2.
#define WIDEN(x) "add %[" #x "], %[k0], %[" #x "], lsl #21\n\t"
#define SIGN(x) "add %[t], %[k1], %[" #x "], asr #31\n\t"
#define SCALE(x) "smmlar %[" #x "], %[" #x "], %[k2], %[t]\n\t"
#define SHIFT(x, right) "asr %[" #x "], %[" #x "], %[" #right "]\n\t"
#define SATURATE(x) "ssat %[" #x "], #8, %[" #x "]\n\t"
// 2 * x + (exact + offset) * 2^20, from the word of exact elements in k0 and the offset in k1.
#define DOUBLE(x) "add %[" #x "], %[" #x "], %[" #x "]\n\t"
#define EXACT(to, rotation) "sxtab %[" #to "], %[k1], %[k0]" rotation "\n\t"
#define SUM(x, exact) "add %[" #x "], %[" #x "], %[" #exact "], lsl #20\n\t"

/**
 * Adds four elements at a time, without the clamp, in 34 modelled cycles. Each cycle but one has two
 * instructions. `fours` is at least 1.
 */
static void add_fours(fast_add *c, const int8_t *exact, const int8_t *x, int8_t *y,
                      int32_t fours) {
  c->distance = (int32_t)((uintptr_t)exact - (uintptr_t)x);
  int32_t k0, k1, k2, k3, x0, x1, x2, x3, t;
  __asm__ volatile(K(k1, 8) K(k2, 4) K(k0, 0) LOAD(x0, 0) LOAD(x1, 1) K(k3, 12)
                   "1:\n\t"
                   WIDEN(x0)              LOAD(x2, 2)
                   WIDEN(x1)              LOAD(x3, 3)
                   SIGN(x0)               "subs %[n], %[n], #1\n\t"
                   SCALE(x0)              SIGN(x1)
                   SCALE(x1)              WIDEN(x2)
                   WIDEN(x3)              SHIFT(x0, k3)
                   SIGN(x2)               SHIFT(x1, k3)
                   SCALE(x2)              SIGN(x3)
                   SCALE(x3)              K(k0, 32)
                   SHIFT(x2, k3)          K(k1, 16)
                   SHIFT(x3, k3)          "ldr %[k0], [%[x], %[k0]]\n\t"
                   "it ne\n\t"            "addne %[x], %[x], #4\n\t"
                   EXACT(t, "")           DOUBLE(x0)
                   EXACT(k2, ", ror #8")  DOUBLE(x1)
                   EXACT(k3, ", ror #16") DOUBLE(x2)
                   SUM(x0, t)             DOUBLE(x3)
                   EXACT(t, ", ror #24")  K(k0, 28)
                   SUM(x1, k2)            K(k1, 24)
                   SUM(x2, k3)            K(k2, 20)
                   SUM(x3, t)             K(k3, 12)
                   SIGN(x0)
                   SCALE(x0)              SIGN(x1)
                   SCALE(x1)              SIGN(x2)
                   SCALE(x2)              SIGN(x3)
                   SCALE(x3)              SHIFT(x0, k0)
                   SATURATE(x0)           SHIFT(x1, k0)
                   SATURATE(x1)           SHIFT(x2, k0)
                   SATURATE(x2)           SHIFT(x3, k0)
                   SATURATE(x3)           K(k1, 8)
                   STORE(x0, 0)           K(k2, 4)
                   STORE(x1, 1)           K(k0, 0)
                   STORE(x2, 2)           LOAD(x0, 0)
                   STORE(x3, 3)           LOAD(x1, 1)
                   "add %[y], %[y], #4\n\t" "bne 1b\n\t"
                   : [k0] "=&r"(k0), [k1] "=&r"(k1), [k2] "=&r"(k2), [k3] "=&r"(k3),
                     [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [x3] "=&r"(x3),
                     [t] "=&r"(t), [x] "+r"(x), [y] "+r"(y), [n] "+r"(fours)
                   : [c] "r"(c)
                   : "cc", "memory");
}

// clang-format on

#else

static void add_fours(fast_add *c, const int8_t *exact, const int8_t *x, int8_t *y, int32_t fours) {
  for (int32_t i = 0; i < 4 * fours; ++i) {
    const int32_t doubled = x[i] * (2 << FAST_LEFT_SHIFT) + c->offset;
    const int32_t scaled =
        nk_smmlar(doubled, c->scale.multiplier, c->scale.constant + (doubled >> 31)) >>
        c->scale.right;
    y[i] = nk_requantize_doubled((exact[i] + c->exact_offset) * (1 << FAST_LEFT_SHIFT) + 2 * scaled,
                                 &c->output);
  }
}

#endif

/** Elements of one row; a step is 1, or 0 for an operand that has one element for all. */
static NK_NOINLINE void add_row(const nk_add_params *p, fast_add *fast, const int8_t *a,
                                int32_t step_a, const int8_t *b, int32_t step_b, int8_t *y,
                                int32_t count) {
  int32_t done = 0;
  if (fast != NULL && step_a == 1 && step_b == 1 && count >= 4) {
    const int8_t *exact = fast->is_first_exact ? a : b;
    if (nk_loads_words_at(exact)) {
      add_fours(fast, exact, fast->is_first_exact ? b : a, y, count / 4);
      done = count / 4 * 4;
    }
  }
  for (int32_t i = done; i < count; ++i) {
    y[i] = add(p, a[i * step_a], b[i * step_b]);
  }
}

/** Runs the rows; an operand is broadcast along its dimensions of 1. */
static void run(const nk_add_params *p, fast_add *fast, const nk_dims4 *input1_dims,
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
  fast_add *fast = make_fast(params, &made) ? &made : NULL;
  if (nk_dims4_size(input1_dims) == size && nk_dims4_size(input2_dims) == size) {
    add_row(params, fast, input1, 1, input2, 1, output, size);
  } else {
    run(params, fast, input1_dims, input1, input2_dims, input2, output_dims, output);
  }
  if (params->activation_min > INT8_MIN || params->activation_max < INT8_MAX) {
    nk_clamp_s8(output, size, params->activation_min, params->activation_max);
  }
  return NK_OK;
}
