/**
 * The inner loops of the depthwise convolution for four neighbouring outputs at a time, in
 * assembler: each cycle has a multiplication and a load, two cycles ahead of the multiplication
 * that needs the load. Modelled on the Cortex-M7, four outputs of a 3x3 kernel take 40 cycles
 * (stride 2: 41), four outputs of a 5x5 kernel 77 (79). 24 and 60 of the cycles are
 * multiplications.
 */
#include <stddef.h>

#include "nk_depthwise_tile.h"

#if NK_HAS_SIMD32

// C promises strings of 4095 characters; compilers that take this assembler take longer ones.
#pragma GCC diagnostic ignored "-Woverlength-strings"

// clang-format off

// a0 .. a3 are the accumulators, h0 .. h2 hold words of the tile and w0, w1 weights. At the end h
// and w hold the constants of the requantisation. X() loads a word of the tile by row and pair of
// columns, C() a field of the channel by its offset.
#define X(to, row, pair) "ldr %[" #to "], [%[x], #64 * (" #row ") + 4 * (" #pair ")]\n\t"
#define C(to, offset) "ldr %[" #to "], [%[c], #" #offset "]\n\t"
_Static_assert(NK_DEPTHWISE_TILE_COLUMNS * sizeof(int16_t) == 64, "X() has the pitch in bytes");
_Static_assert(offsetof(nk_depthwise_taps, bias) == 80 &&
                   offsetof(nk_depthwise_taps, stage.multiplier) == 84 &&
                   offsetof(nk_depthwise_taps, stage.constant) == 88 &&
                   offsetof(nk_depthwise_taps, stage.right) == 92 &&
                   offsetof(nk_depthwise_taps, steps.y) == 96 &&
                   offsetof(nk_depthwise_taps, steps.next_y) == 100 &&
                   offsetof(nk_depthwise_taps, steps.next_x) == 104,
               "C() has the offsets of a channel");

// BOTH multiplies two columns. LAST multiplies the low column with the high weight: the last tap of
// a window that starts in the low half of a word. FIRST multiplies the high column with the low
// weight: the first tap of a window that starts in the high half. SET_ takes the bias, from h2, in
// place of the accumulator.
#define BOTH(acc, x, w) "smlad %[" #acc "], %[" #x "], %[" #w "], %[" #acc "]\n\t"
#define LAST(acc, x, w) "smlabt %[" #acc "], %[" #x "], %[" #w "], %[" #acc "]\n\t"
#define FIRST(acc, x, w) "smlatb %[" #acc "], %[" #x "], %[" #w "], %[" #acc "]\n\t"
#define SET_BOTH(acc, x, w) "smlad %[" #acc "], %[" #x "], %[" #w "], %[h2]\n\t"
#define SET_FIRST(acc, x, w) "smlatb %[" #acc "], %[" #x "], %[" #w "], %[h2]\n\t"

// nk_requantize_doubled(), with the constant in h0, the multiplier in h1 and the shift in w0.
#define SIGN(to, acc) "add %[" #to "], %[h0], %[" #acc "], asr #31\n\t"
#define SCALE(acc, sign) "smmlar %[" #acc "], %[" #acc "], %[h1], %[" #sign "]\n\t"
#define SHIFT(acc) "asr %[" #acc "], %[" #acc "], %[w0]\n\t"
#define SATURATE(acc) "ssat %[" #acc "], #8, %[" #acc "]\n\t"
#define STORE(acc) "strb %[" #acc "], [%[y]]\n\t"
#define ADD(to, step) "add %[" #to "], %[" #to "], %[" #step "]\n\t"
#define COUNT "subs %[n], %[n], #1\n\t"

// Four outputs after the other. `rows_of_window` finds the words 0 and 1 of the tile in h0 and h1,
// the first weights in w0 and the bias in h2, and ends with SIGN(w1, a0) and COUNT. After the last
// four the loop loads the words of one more four, for which nk_depthwise_s8_dsp.c leaves room.
#define PUT_FOURS(rows_of_window)                                                      \
  const int16_t *row = s->x;                                                           \
  int8_t *output = s->y;                                                               \
  for (int32_t r = s->runs; r > 0; --r, row += s->x_step, output += s->y_step) {       \
    const int16_t *x = row;                                                            \
    int8_t *y = output;                                                                \
    int32_t n = s->count;                                                              \
    int32_t a0, a1, a2, a3;                                                            \
    uint32_t h0, h1, h2, w0, w1;                                                       \
    __asm__ volatile(C(h2, 80) X(h0, 0, 0) C(w0, 0) X(h1, 0, 1)                        \
                     "1:\n\t"                                                          \
                     rows_of_window                                                    \
                     SCALE(a0, w1) SIGN(h2, a1)                                        \
                     SCALE(a1, h2) SIGN(w1, a2)                                        \
                     SCALE(a2, w1) SHIFT(a0)                                           \
                     SIGN(h2, a3)  C(w1, 104)                                          \
                     SCALE(a3, h2) SHIFT(a1)                                           \
                     SATURATE(a0)  ADD(x, w1)                                          \
                     SATURATE(a1)  C(w1, 96)                                           \
                     X(h1, 0, 1)   SHIFT(a2)                                           \
                     STORE(a0)     ADD(y, w1)                                          \
                     SATURATE(a2)  SHIFT(a3)                                           \
                     STORE(a1)     ADD(y, w1)                                          \
                     SATURATE(a3)  C(h2, 100)                                          \
                     STORE(a2)     ADD(y, w1)                                          \
                     STORE(a3)     X(h0, 0, 0)                                         \
                     ADD(y, h2)    C(w0, 0)                                            \
                     C(h2, 80)     "bne 1b\n\t"                                        \
                     : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), \
                       [h0] "=&r"(h0), [h1] "=&r"(h1), [h2] "=&r"(h2),                 \
                       [w0] "=&r"(w0), [w1] "=&r"(w1), [x] "+r"(x), [y] "+r"(y),       \
                       [n] "+r"(n)                                                     \
                     : [c] "r"(c)                                                      \
                     : "cc", "memory");                                                \
  }

static void put_fours_3x3(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  PUT_FOURS(SET_BOTH(a0, h0, w0)   C(w1, 4)
            SET_FIRST(a1, h0, w0)
            SET_BOTH(a2, h1, w0)   X(h0, 1, 0)
            SET_FIRST(a3, h1, w0)  X(h2, 0, 2)
            LAST(a0, h1, w1)       C(w0, 8)
            BOTH(a1, h1, w1)       X(h1, 1, 1)
            LAST(a2, h2, w1)
            BOTH(a3, h2, w1)       C(w1, 12)

            BOTH(a0, h0, w0)       X(h2, 1, 2)
            FIRST(a1, h0, w0)      X(h0, 2, 0)
            BOTH(a2, h1, w0)
            FIRST(a3, h1, w0)      C(w0, 16)
            LAST(a0, h1, w1)
            BOTH(a1, h1, w1)       X(h1, 2, 1)
            LAST(a2, h2, w1)
            BOTH(a3, h2, w1)       C(w1, 20)

            BOTH(a0, h0, w0)       X(h2, 2, 2)
            FIRST(a1, h0, w0)
            BOTH(a2, h1, w0)       C(h0, 88)
            FIRST(a3, h1, w0)      C(w0, 92)
            LAST(a0, h1, w1)
            BOTH(a1, h1, w1)       C(h1, 84)
            LAST(a2, h2, w1)       COUNT
            BOTH(a3, h2, w1)       SIGN(w1, a0));
}

static void put_fours_3x3_stride_2(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  PUT_FOURS(SET_BOTH(a0, h0, w0)  C(w1, 4)
            SET_BOTH(a1, h1, w0)  X(h0, 0, 2)
            LAST(a0, h1, w1)
            SET_BOTH(a2, h0, w0)  X(h1, 0, 3)
            LAST(a1, h0, w1)      X(h0, 1, 0)
            SET_BOTH(a3, h1, w0)  X(h2, 0, 4)
            LAST(a2, h1, w1)      C(w0, 8)
            LAST(a3, h2, w1)      X(h1, 1, 1)

            BOTH(a0, h0, w0)      C(w1, 12)
            BOTH(a1, h1, w0)      X(h0, 1, 2)
            LAST(a0, h1, w1)
            BOTH(a2, h0, w0)      X(h1, 1, 3)
            LAST(a1, h0, w1)      X(h0, 2, 0)
            BOTH(a3, h1, w0)      X(h2, 1, 4)
            LAST(a2, h1, w1)      C(w0, 16)
            LAST(a3, h2, w1)      X(h1, 2, 1)

            BOTH(a0, h0, w0)      C(w1, 20)
            BOTH(a1, h1, w0)      X(h0, 2, 2)
            LAST(a0, h1, w1)
            BOTH(a2, h0, w0)      X(h1, 2, 3)
            LAST(a1, h0, w1)      C(h0, 88)
            BOTH(a3, h1, w0)      X(h2, 2, 4)
            LAST(a2, h1, w1)      C(h1, 84)
            LAST(a3, h2, w1)      C(w0, 92)
            SIGN(w1, a0)          COUNT);
}

// One row of a 5x5 kernel; the loads of what the next row needs come from outside.
#define ROW_5X5(r, BOTH_0, FIRST_0, h1_first, next_h0, next_w0) \
  BOTH_0(a0, h0, w0)   h1_first                                 \
  FIRST_0(a1, h0, w0)  C(w1, 16 * r + 4)                        \
  BOTH_0(a2, h1, w0)   next_h0                                  \
  FIRST_0(a3, h1, w0)  X(h2, r, 2)                              \
  BOTH(a1, h1, w1)     C(w0, 16 * r + 8)                        \
  BOTH(a3, h2, w1)                                              \
  BOTH(a0, h1, w0)     C(w1, 16 * r + 12)                       \
  BOTH(a2, h2, w0)     X(h1, r, 3)                              \
  LAST(a0, h2, w1)     next_w0                                  \
  BOTH(a1, h2, w1)                                              \
  LAST(a2, h1, w1)                                              \
  BOTH(a3, h1, w1)

static void put_fours_5x5(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  PUT_FOURS(ROW_5X5(0, SET_BOTH, SET_FIRST, ,   X(h0, 1, 0), C(w0, 16))
            ROW_5X5(1, BOTH, FIRST, X(h1, 1, 1), X(h0, 2, 0), C(w0, 32))
            ROW_5X5(2, BOTH, FIRST, X(h1, 2, 1), X(h0, 3, 0), C(w0, 48))
            ROW_5X5(3, BOTH, FIRST, X(h1, 3, 1), X(h0, 4, 0), C(w0, 64))
            ROW_5X5(4, BOTH, FIRST, X(h1, 4, 1), C(h0, 88),   C(w0, 92))
            C(h1, 84) SIGN(w1, a0) COUNT);
}

// One row of a 5x5 kernel with stride 2, from its third multiplication on; h2 holds weights, too.
#define ROW_5X5_STRIDE_2(r, a3_first, next_w0, next_h0, next_h1) \
  BOTH(a0, h1, w1)  C(h2, 16 * r + 12)                           \
  BOTH(a2, h0, w0)  X(h1, r, 3)                                  \
  BOTH(a1, h0, w1)  a3_first                                     \
  LAST(a0, h0, h2)                                               \
  BOTH(a3, h1, w0)  X(h0, r, 4)                                  \
  BOTH(a2, h1, w1)  next_w0                                      \
  LAST(a1, h1, h2)                                               \
  BOTH(a3, h0, w1)  X(h1, r, 5)                                  \
  LAST(a2, h0, h2)  next_h0                                      \
  LAST(a3, h1, h2)  next_h1
#define ROW_5X5_STRIDE_2_BEGIN(r)       \
  BOTH(a0, h0, w0)  C(w1, 16 * r + 8)   \
  BOTH(a1, h1, w0)  X(h0, r, 2)

static void put_fours_5x5_stride_2(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  PUT_FOURS(C(a1, 80)             C(w1, 8)
            SET_BOTH(a0, h0, w0)  C(a2, 80)
            BOTH(a1, h1, w0)      X(h0, 0, 2)
            ROW_5X5_STRIDE_2(0, C(a3, 80), C(w0, 16), X(h0, 1, 0), X(h1, 1, 1))
            ROW_5X5_STRIDE_2_BEGIN(1)
            ROW_5X5_STRIDE_2(1, , C(w0, 32), X(h0, 2, 0), X(h1, 2, 1))
            ROW_5X5_STRIDE_2_BEGIN(2)
            ROW_5X5_STRIDE_2(2, , C(w0, 48), X(h0, 3, 0), X(h1, 3, 1))
            ROW_5X5_STRIDE_2_BEGIN(3)
            ROW_5X5_STRIDE_2(3, , C(w0, 64), X(h0, 4, 0), X(h1, 4, 1))
            ROW_5X5_STRIDE_2_BEGIN(4)
            ROW_5X5_STRIDE_2(4, , C(w0, 92), C(h0, 88), C(h1, 84))
            SIGN(w1, a0)          COUNT);
}

// clang-format on

#else

/** One row of a window that starts in the low half of a word. */
static int32_t add_even(int32_t kernel, const int16_t *x, const uint32_t *w, int32_t acc) {
  acc = nk_smlad(nk_load_word(x), w[0], acc);
  if (kernel == 5) {
    acc = nk_smlad(nk_load_word(x + 2), w[2], acc);
  }
  return nk_smlabt((int32_t)nk_load_word(x + kernel - 1), w[kernel - 2], acc);
}

/** One row of a window that starts in the high half of a word, of which `x` is the low half. */
static int32_t add_odd(int32_t kernel, const int16_t *x, const uint32_t *w, int32_t acc) {
  acc = nk_smlatb(nk_load_word(x), w[0], acc);
  acc = nk_smlad(nk_load_word(x + 2), w[1], acc);
  return kernel == 5 ? nk_smlad(nk_load_word(x + 4), w[3], acc) : acc;
}

/** One of four outputs. */
static int8_t output_of(int32_t kernel, int32_t stride, int32_t index, const int16_t *x,
                        const nk_depthwise_taps *c) {
  const int32_t column = index * stride;
  int32_t acc = c->bias;
  for (int32_t k = 0; k < kernel; ++k, x += NK_DEPTHWISE_TILE_COLUMNS) {
    const uint32_t *w = c->weights + k * (kernel - 1);
    acc = column % 2 == 0 ? add_even(kernel, x + column, w, acc)
                          : add_odd(kernel, x + column - 1, w, acc);
  }
  return nk_requantize_doubled(acc, &c->stage);
}

static void put_fours(int32_t kernel, int32_t stride, const nk_depthwise_strip *s,
                      const nk_depthwise_taps *c) {
  for (int32_t r = 0; r < s->runs; ++r) {
    const int16_t *x = s->x + r * s->x_step;
    int8_t *y = s->y + r * s->y_step;
    for (int32_t n = 0; n < s->count; ++n) {
      const int16_t *window = x + n * c->steps.next_x / (int32_t)sizeof(*x);
      int8_t *first = y + n * (3 * c->steps.y + c->steps.next_y);
      for (int32_t i = 0; i < 4; ++i) {
        first[i * c->steps.y] = output_of(kernel, stride, i, window, c);
      }
    }
  }
}

static void put_fours_3x3(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_fours(3, 1, s, c);
}

static void put_fours_3x3_stride_2(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_fours(3, 2, s, c);
}

static void put_fours_5x5(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_fours(5, 1, s, c);
}

static void put_fours_5x5_stride_2(const nk_depthwise_strip *s, const nk_depthwise_taps *c) {
  put_fours(5, 2, s, c);
}

#endif

nk_depthwise_put nk_depthwise_fours_s8_dsp(int32_t kernel, int32_t stride) {
  static const nk_depthwise_put kPuts[2][2] = {
      {put_fours_3x3, put_fours_3x3_stride_2},
      {put_fours_5x5, put_fours_5x5_stride_2},
  };
  return kPuts[kernel == 5][stride - 1];
}
