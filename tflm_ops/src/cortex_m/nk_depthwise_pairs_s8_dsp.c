/**
 * The inner loops of the depthwise convolution for two outputs at a time, one above the other, in
 * assembler. Modelled on the Cortex-M7, two outputs of a 3x3 kernel take 18 cycles as after a relu
 * and 21 else (5x5: 44); 12 of the cycles are multiplications.
 */
#include <stddef.h>
#include <string.h>

#include "../ref/nk_arithmetic.h"
#include "nk_depthwise_tile.h"
#include "nk_doubled.h"
#include "nk_simd.h"

#if NK_HAS_SIMD32

// C promises strings of 4095 characters; compilers that take this assembler take longer ones.
#pragma GCC diagnostic ignored "-Woverlength-strings"

// clang-format off

// The registers: the six pairs of weights A0, B0, A1, B1, A2, B2 of the three columns; the two
// accumulators, two words of the tile, and the places in tile and output. COUNT is `columns` plus
// the shift to the right.
#define A0 "r0"
#define B0 "r1"
#define A1 "r2"
#define B1 "r3"
#define A2 "r4"
#define B2 "r5"
#define UP "r6"
#define COUNT "r7"
#define LOW "r8"
#define P "r9"
#define Q "r10"
#define X "r11"
#define Y "r12"
#define T "lr"

// The stack: the constants of a channel, what is left of its runs, and fields of nk_depthwise_run.
#define STACK(offset) "[sp, #" offset "]"
#define MULTIPLIER STACK("0")
#define BIAS STACK("4")
#define CONSTANT STACK("8")
#define COLUMNS STACK("12")
#define Y_SECOND STACK("16")
#define RUNS STACK("20")
#define Y_LAST_SECOND STACK("24")
#define X_RUN STACK("28")
#define Y_RUN STACK("32")
#define X_STEP STACK("36")
#define RUN STACK("40")
#define FIELD(name, offset) (offsetof(nk_depthwise_run, name) == (offset))
_Static_assert(FIELD(weights, 0) && FIELD(bias, 4) && FIELD(multiplier, 8) && FIELD(shift, 12) &&
                   FIELD(x, 16) && FIELD(y, 20) && FIELD(channels, 24) &&
                   FIELD(output_offset, 28) && FIELD(columns, 32) && FIELD(runs, 36) &&
                   FIELD(y_second, 40) && FIELD(y_last_second, 44) && FIELD(x_run, 48) &&
                   FIELD(y_run, 52) && FIELD(x_step, 56),
               "PUT_RUN() loads the fields into registers in this order");
_Static_assert(NK_DEPTHWISE_PAIR_WORDS * sizeof(uint32_t) == 320 &&
                   NK_DEPTHWISE_TILE_COLUMNS * sizeof(uint32_t) == 80,
               "TILE() and PUT_RUN() have the pitches in bytes");

#define OP4(op, d, a, b, c) op " " d ", " a ", " b ", " c "\n\t"
#define OP3(op, d, a, b) op " " d ", " a ", " b "\n\t"
#define LOAD(to, place) "ldr " to ", " place "\n\t"
/** The word of a pair of rows and a column. */
#define TILE(to, pair, column) "ldr " to ", [" X ", #320 * (" #pair ") + 4 * (" #column ")]\n\t"
// BOTH multiplies two rows. HIGH multiplies the lower row with the upper weight: the first tap of a
// window that starts in the middle of a word. LAST multiplies the upper row with the lower weight.
#define BOTH(acc, x, w) OP4("smlad", acc, x, w, acc)
#define HIGH(acc, x, w) OP4("smlatb", acc, x, w, acc)
#define LAST(acc, x, w) OP4("smlabt", acc, x, w, acc)

// The next output, and one column less.
#define NEXT_Y "uxtah " Y ", " Y ", " COUNT ", ror #8\n\t"
#define NEXT_COUNT OP3("subs", COUNT, COUNT, "#0x1000000")

// The products of two outputs. P and Q hold the first words of the window, LOW the bias. In the end
// X is at the next window: `next_0` moves X on by its load, to where the columns are `c1` and `c2`,
// or `next_1` and `next_2` do so.
#define PRODUCTS_3X3(next_0, c1, c2, next_1, next_2)                                    \
  OP4("smlad", UP, P, A0, LOW)                                                          \
  HIGH(LOW, P, A0)              next_0                                                  \
  LAST(UP, Q, B0)                                                                       \
  BOTH(LOW, Q, B0)              TILE(Q, 1, c1)                                          \
  NEXT_Y                        BOTH(UP, P, A1)                                         \
  HIGH(LOW, P, A1)              TILE(P, 0, c2)                                          \
  LAST(UP, Q, B1)               next_1                                                  \
  BOTH(LOW, Q, B1)              TILE(Q, 1, c2)                                          \
  BOTH(UP, P, A2)               next_2                                                  \
  HIGH(LOW, P, A2)              LOAD(P, MULTIPLIER)                                     \
  BOTH(LOW, Q, B2)              NEXT_COUNT                                              \
  LAST(UP, Q, B2)               LOAD(Q, CONSTANT)

#define PRODUCTS_3X3_STRIDE_2(next_1, next_2)                                           \
  OP4("smlad", UP, P, A0, LOW)                                                          \
  LAST(UP, Q, B0)               TILE(P, 2, 0)                                           \
  BOTH(LOW, Q, A0)              TILE(Q, 0, 1)                                           \
  LAST(LOW, P, B0)              TILE(P, 1, 1)                                           \
  BOTH(UP, Q, A1)               TILE(Q, 2, 1)                                           \
  NEXT_Y                        LAST(UP, P, B1)                                         \
  BOTH(LOW, P, A1)              TILE(P, 0, 2)                                           \
  LAST(LOW, Q, B1)              TILE(Q, 1, 2)                                           \
  BOTH(UP, P, A2)               TILE(P, 2, 2)                                           \
  BOTH(LOW, Q, A2)              next_1                                                  \
  LAST(LOW, P, B2)              LOAD(P, MULTIPLIER)                                     \
  LAST(UP, Q, B2)               LOAD(Q, CONSTANT)                                       \
  NEXT_COUNT                    next_2

// From the accumulators, with the multiplier in P and the constant in Q, to the outputs. The lower
// output is stored first, because the upper one takes its place if there is but one row.
#define STORE_LOW "strb " LOW ", [" Y ", " T "]\n\t"
#define STORE_UP "strb " UP ", [" Y "]\n\t"
#define PUT_SHORT                                                                       \
  OP4("smmlar", LOW, LOW, P, Q)                                                         \
  OP4("smmlar", UP, UP, P, Q)   TILE(P, 0, 0)                                           \
  OP3("asr", LOW, LOW, COUNT)   TILE(Q, 1, 0)                                           \
  OP3("ssat", LOW, "#8", LOW)   OP3("asr", UP, UP, COUNT)                               \
  OP3("ssat", UP, "#8", UP)     STORE_LOW                                               \
  STORE_UP                      LOAD(LOW, BIAS)

#define PUT_LONG                                                                        \
  OP4("smmlar", T, LOW, P, Q)                                                           \
  OP4("smmlar", P, UP, P, Q)    LOAD(Q, Y_SECOND)                                       \
  OP4("add", LOW, T, LOW, "asr #31")                                                    \
  OP4("add", UP, P, UP, "asr #31") OP3("asr", LOW, LOW, COUNT)                          \
  OP3("ssat", LOW, "#8", LOW)   OP3("asr", UP, UP, COUNT)                               \
  OP3("ssat", UP, "#8", UP)     "strb " LOW ", [" Y ", " Q "]\n\t"                      \
  STORE_UP                      TILE(P, 0, 0)                                           \
  LOAD(LOW, BIAS)               TILE(Q, 1, 0)

// The weights of a column of a 5x5 kernel, and one more word of the tile. r0 stays at the run.
#define W0 "r1"
#define W1 "r2"
#define W2 "r3"
#define W3 "r4"
#define R "r5"
#define WEIGHT(to, column, row) "ldr " to ", [r0, #16 * (" #column ") + 4 * (" #row ")]\n\t"
#define WEIGHTS_5X5(column) \
  WEIGHT(W0, column, 0) WEIGHT(W1, column, 1) WEIGHT(W2, column, 2) WEIGHT(W3, column, 3)

#define COLUMN_5X5(column, next, first)                                                 \
  first                         TILE(R, 2, column)                                      \
  HIGH(LOW, P, W0)              TILE(P, 0, next)                                        \
  BOTH(LOW, Q, W1)              WEIGHT(W0, next, 0)                                     \
  BOTH(UP, Q, W2)               WEIGHT(W1, next, 1)                                     \
  BOTH(LOW, R, W3)              TILE(Q, 1, next)                                        \
  LAST(UP, R, W3)               WEIGHT(W2, next, 2)                                     \
  WEIGHT(W3, next, 3)
#define PRODUCTS_5X5                                                                    \
  COLUMN_5X5(0, 1, OP4("smlad", UP, P, W0, LOW))                                        \
  COLUMN_5X5(1, 2, BOTH(UP, P, W0))                                                     \
  COLUMN_5X5(2, 3, BOTH(UP, P, W0))                                                     \
  COLUMN_5X5(3, 4, BOTH(UP, P, W0))                                                     \
  BOTH(UP, P, W0)               TILE(R, 2, 4)                                           \
  HIGH(LOW, P, W0)              WEIGHT(W0, 0, 0)                                        \
  BOTH(LOW, Q, W1)              WEIGHT(W1, 0, 1)                                        \
  BOTH(UP, Q, W2)               LOAD(T, X_STEP)                                         \
  NEXT_Y                        BOTH(LOW, R, W3)                                        \
  LAST(UP, R, W3)               LOAD(P, MULTIPLIER)                                     \
  OP3("add", X, X, T)           LOAD(Q, CONSTANT)                                       \
  WEIGHT(W2, 0, 2)              WEIGHT(W3, 0, 3)                                        \
  NEXT_COUNT

#define COLUMN_5X5_STRIDE_2(column, next, first, second)                                \
  first                         TILE(R, 2, column)                                      \
  second                        TILE(P, 3, column)                                      \
  BOTH(UP, Q, W2)               WEIGHT(W0, next, 0)                                     \
  BOTH(LOW, R, W2)              TILE(Q, 1, next)                                        \
  LAST(UP, R, W3)               WEIGHT(W2, next, 2)                                     \
  LAST(LOW, P, W3)              TILE(P, 0, next)                                        \
  WEIGHT(W3, next, 3)
#define PRODUCTS_5X5_STRIDE_2                                                           \
  COLUMN_5X5_STRIDE_2(0, 1, OP4("smlad", UP, P, W0, LOW), BOTH(LOW, Q, W0))             \
  COLUMN_5X5_STRIDE_2(1, 2, BOTH(UP, P, W0), BOTH(LOW, Q, W0))                          \
  COLUMN_5X5_STRIDE_2(2, 3, BOTH(UP, P, W0), BOTH(LOW, Q, W0))                          \
  COLUMN_5X5_STRIDE_2(3, 4, BOTH(UP, P, W0), BOTH(LOW, Q, W0))                          \
  BOTH(UP, P, W0)               TILE(R, 2, 4)                                           \
  BOTH(LOW, Q, W0)              TILE(P, 3, 4)                                           \
  BOTH(UP, Q, W2)               WEIGHT(W0, 0, 0)                                        \
  BOTH(LOW, R, W2)              LOAD(T, X_STEP)                                         \
  NEXT_Y                        LAST(UP, R, W3)                                         \
  LAST(LOW, P, W3)              LOAD(Q, CONSTANT)                                       \
  LOAD(P, MULTIPLIER)           OP3("add", X, X, T)                                     \
  WEIGHT(W2, 0, 2)              WEIGHT(W3, 0, 3)                                        \
  NEXT_COUNT

// The weights of a channel before r1, times lr, as pairs.
#define WEIGHT_3X3(to, index) "ldrsb " to ", [r1, #" index " - 9]\n\t"
#define SCALED(weight) OP3("mul", weight, weight, "lr")
#define PAIR(to, first, second) OP4("pkhbt", to, first, second, "lsl #16")
#define PAIRS_3X3                                                                       \
  WEIGHT_3X3("r6", "0")   WEIGHT_3X3("r7", "3")   WEIGHT_3X3("r0", "6")                 \
  WEIGHT_3X3("r10", "2")  SCALED("r6")            WEIGHT_3X3("r2", "5")                 \
  SCALED("r7")            WEIGHT_3X3("r5", "8")   SCALED("r0")                          \
  WEIGHT_3X3("r8", "1")   SCALED("r10")           WEIGHT_3X3("r9", "4")                 \
  SCALED("r2")            WEIGHT_3X3("r3", "7")   SCALED("r5")                          \
  PAIR(B0, "r7", "r0")    SCALED("r8")                                                  \
  PAIR(A0, "r6", "r7")    SCALED("r9")                                                  \
  PAIR(A2, "r10", "r2")   SCALED("r3")                                                  \
  PAIR(B2, "r2", "r5")                                                                  \
  PAIR(A1, "r8", "r9")                                                                  \
  PAIR(B1, "r9", "r3")
#define PAIRS_5X5 "sub r0, r1, #9\n\t"

// The factor of weights and bias, 2. The long requantisation takes multipliers of at least 0.
#define FACTOR_SHORT "movs lr, #2\n\t"
#define FACTOR_LONG                                                                     \
  "cmp r2, #0\n\t"                                                                      \
  "mov lr, #2\n\t"                                                                      \
  "itt lt\n\t"                                                                          \
  "rsblt r2, r2, #0\n\t"                                                                \
  "mvnlt lr, #1\n\t"

// The frame pointers r7 and r11 cannot be named as changed, so the code keeps and restores these
// registers itself. 0 is the loop over the channels, 1 over the runs, 2 over the columns.
#define PUT_RUN(get_factor, get_weights, get_first_weights, products, put)              \
  register nk_depthwise_run *first __asm__("r0") = run;                                 \
  __asm__ volatile(                                                                     \
      "push {r7, r11}\n\t"                                                              \
      "add r5, r0, #44\n\t"                                                             \
      "ldm r5, {r1-r4}\n\t"                                                             \
      "push {r0}\n\t"                                                                   \
      "push {r1-r4}\n\t"                                                                \
      "sub sp, sp, #24\n\t"                                                             \
      "0:\n\t"                                                                          \
      "ldm r0, {r1-r6, r8-r12}\n\t"                                                     \
      "str r11, " RUNS "\n\t"                                                           \
      "mov " X ", r5\n\t"                                                               \
      "str r12, " Y_SECOND "\n\t"                                                       \
      "mov " Y ", r6\n\t"                                                               \
      "ldr r7, [r2], #4\n\t"                                                            \
      "ldrsb lr, [r4], #1\n\t"                                                          \
      "adds r1, #9\n\t"                                                                 \
      "adds r3, #4\n\t"                                                                 \
      "adds r5, #80\n\t"                                                                \
      "adds r6, #1\n\t"                                                                 \
      "sub r8, r8, #1\n\t"                                                              \
      "sub r10, r10, lr\n\t"                                                            \
      "stm r0, {r1-r6, r8}\n\t"                                                         \
      "rsb lr, lr, #0\n\t"                                                              \
      "ldr r2, [r3, #-4]\n\t"                                                           \
      "movs r4, #1\n\t"                                                                 \
      "lsl r9, r9, lr\n\t"                                                              \
      "sub lr, lr, #1\n\t"                                                              \
      "ubfx r5, r10, #8, #16\n\t"                                                       \
      "lsl r4, r4, lr\n\t"                                                              \
      get_factor                                                                        \
      "add r9, r9, r4\n\t"                                                              \
      "mul r7, r7, lr\n\t"                                                              \
      OP3("sub", Y, Y, "r5")                                                            \
      "stm sp, {r2, r7, r9, r10}\n\t"                                                   \
      get_weights                                                                       \
      "1:\n\t"                                                                          \
      LOAD(COUNT, COLUMNS)  TILE(P, 0, 0)                                               \
      LOAD(T, Y_SECOND)     TILE(Q, 1, 0)                                               \
      LOAD(LOW, BIAS)       get_first_weights                                           \
      "2:\n\t"                                                                          \
      products                                                                          \
      put                                                                               \
      "bpl 2b\n\t"                                                                      \
      LOAD(P, RUNS)         LOAD(Q, X_RUN)                                              \
      LOAD(T, Y_RUN)        OP3("subs", P, P, "#1")                                     \
      OP3("add", X, X, Q)   OP3("add", Y, Y, T)                                         \
      "str " P ", " RUNS "\n\t"                                                         \
      "itt eq\n\t"                                                                      \
      "ldreq " Q ", " Y_LAST_SECOND "\n\t"                                              \
      "streq " Q ", " Y_SECOND "\n\t"                                                   \
      "bge 1b\n\t"                                                                      \
      "ldr r0, " RUN "\n\t"                                                             \
      "ldr r1, [r0, #24]\n\t"                                                           \
      "cmp r1, #0\n\t"                                                                  \
      "bne 0b\n\t"                                                                      \
      "add sp, sp, #44\n\t"                                                             \
      "pop {r7, r11}"                                                                   \
      : "+r"(first)                                                                     \
      :                                                                                 \
      : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "lr", "cc", "memory")
#define PUT_3X3(factor, products, put) PUT_RUN(factor, PAIRS_3X3, "", products, put)
#define PUT_5X5(products, put) PUT_RUN(FACTOR_LONG, PAIRS_5X5, WEIGHTS_5X5(0), products, put)
// The long requantisation leaves T, and so any step from window to window.
#define GET_X_STEP LOAD(T, X_STEP)
#define ADD_X_STEP OP3("add", X, X, T)

static void put_3x3(nk_depthwise_run *run) {
  PUT_3X3(FACTOR_LONG, PRODUCTS_3X3(TILE(P, 0, 1), 1, 2, GET_X_STEP, ADD_X_STEP), PUT_LONG);
}

static void put_3x3_short(nk_depthwise_run *run) {
  PUT_3X3(FACTOR_SHORT, PRODUCTS_3X3("ldr " P ", [" X ", #4]!\n\t", 0, 1, "", ""), PUT_SHORT);
}

static void put_3x3_stride_2(nk_depthwise_run *run) {
  PUT_3X3(FACTOR_LONG, PRODUCTS_3X3_STRIDE_2(GET_X_STEP, ADD_X_STEP), PUT_LONG);
}

static void put_3x3_stride_2_short(nk_depthwise_run *run) {
  PUT_3X3(FACTOR_SHORT, PRODUCTS_3X3_STRIDE_2("", OP3("add", X, X, "#8")), PUT_SHORT);
}

static void put_5x5(nk_depthwise_run *run) { PUT_5X5(PRODUCTS_5X5, PUT_LONG); }

static void put_5x5_stride_2(nk_depthwise_run *run) {
  PUT_5X5(PRODUCTS_5X5_STRIDE_2, PUT_LONG);
}

// clang-format on

#else

/** The sum of a window whose first row is the upper or the lower one of the word at `x`. */
static int32_t sum_of(int32_t kernel, bool is_low, const uint32_t *x, const uint32_t *weights,
                      int32_t acc) {
  for (int32_t k = 0; k < kernel; ++k, ++x, weights += kernel - 1) {
    if (is_low) {
      acc = nk_smlatb(x[0], weights[0], acc);
    }
    for (int32_t i = 0; i < kernel / 2; ++i) {
      const uint32_t *word = x + (is_low ? i + 1 : i) * NK_DEPTHWISE_PAIR_WORDS;
      acc = nk_smlad(*word, weights[is_low ? 2 * i + 1 : 2 * i], acc);
    }
    if (!is_low) {
      const uint32_t last = x[kernel / 2 * NK_DEPTHWISE_PAIR_WORDS];
      acc = nk_smlabt((int32_t)last, weights[kernel - 2], acc);
    }
  }
  return acc;
}

/** The channel at hand. */
typedef struct channel {
  uint32_t pairs[NK_DEPTHWISE_MAX_PAIRS];
  int32_t bias;
  nk_doubled_stage stage;
} channel;

static void prepare(const nk_depthwise_run *run, int32_t kernel, bool is_short, channel *c) {
  const bool is_negated = !is_short && *run->multiplier < 0;
  const int32_t factor = is_negated ? -2 : 2;
  const int32_t multiplier = is_negated ? -*run->multiplier : *run->multiplier;
  if (kernel == 3) {
    nk_depthwise_pair_weights(3, run->weights, factor, c->pairs);
  } else {
    memcpy(c->pairs, run->weights, sizeof c->pairs);
  }
  c->bias = factor * *run->bias;
  c->stage = nk_doubled_stage_of(multiplier, *run->shift, run->output_offset);
}

static int8_t output_of(const channel *c, bool is_short, int32_t acc) {
  return is_short ? nk_requantize_doubled_relu(acc, &c->stage)
                  : nk_requantize_doubled(acc, &c->stage);
}

static void put_channel(const nk_depthwise_run *run, int32_t kernel, int32_t stride, bool is_short,
                        const channel *c) {
  const int32_t y_step = run->columns >> 8 & 0xffff;
  int32_t x = 0;
  int32_t y = 0;
  for (int32_t r = run->runs; r >= 0; --r) {
    for (int32_t n = run->columns >> 24; n >= 0; --n) {
      const uint32_t *upper = run->x + x / (int32_t)sizeof(uint32_t);
      const uint32_t *lower = stride == 1 ? upper : upper + NK_DEPTHWISE_PAIR_WORDS;
      const int32_t up = sum_of(kernel, false, upper, c->pairs, c->bias);
      const int32_t low = sum_of(kernel, stride == 1, lower, c->pairs, c->bias);
      run->y[y + (r == 0 ? run->y_last_second : run->y_second)] = output_of(c, is_short, low);
      run->y[y] = output_of(c, is_short, up);
      x += run->x_step;
      y += y_step;
    }
    x += run->x_run;
    y += run->y_run;
  }
}

static void put(nk_depthwise_run *run, int32_t kernel, int32_t stride, bool is_short) {
  for (; run->channels > 0; --run->channels) {
    channel c;
    prepare(run, kernel, is_short, &c);
    put_channel(run, kernel, stride, is_short, &c);
    run->weights = (const int8_t *)run->weights + kernel * kernel;
    ++run->bias;
    ++run->multiplier;
    ++run->shift;
    run->x += NK_DEPTHWISE_TILE_COLUMNS;
    ++run->y;
  }
}

static void put_3x3(nk_depthwise_run *run) { put(run, 3, 1, false); }

static void put_3x3_short(nk_depthwise_run *run) { put(run, 3, 1, true); }

static void put_3x3_stride_2(nk_depthwise_run *run) { put(run, 3, 2, false); }

static void put_3x3_stride_2_short(nk_depthwise_run *run) { put(run, 3, 2, true); }

static void put_5x5(nk_depthwise_run *run) { put(run, 5, 1, false); }

static void put_5x5_stride_2(nk_depthwise_run *run) { put(run, 5, 2, false); }

#endif

nk_depthwise_put nk_depthwise_pairs_s8_dsp(int32_t kernel, int32_t stride, bool is_short) {
  static const nk_depthwise_put kPuts[3][2] = {
      {put_3x3, put_3x3_stride_2},
      {put_3x3_short, put_3x3_stride_2_short},
      {put_5x5, put_5x5_stride_2},
  };
  return kPuts[kernel == 5 ? 2 : is_short ? 1 : 0][stride - 1];
}
