/**
 * Calls the convolutions and the matrix product with random parameters, in and out of their ranges
 * (test_random_calls.py calls the operators without weights): test_random_parameters ROUNDS SEED.
 * Each call must refuse them or run inside buffers of exactly the right size; build with
 * -fsanitize=address,undefined to see that. Round n of a run with seed s is round 0 of a run with
 * seed s + n.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_fully_connected.h"
#include "../../tflm_ops/src/cortex_m/nk_simd.h"
#include "../../tflm_ops/src/ref/nk_geometry.h"
#include "../../tflm_ops/src/ref/nk_reference.h"
#include "nk_ops.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define MAX_ELEMENTS 4096
#define MAX_CHANNELS 4

static uint64_t current_seed;
static uint64_t state;
static int accepted;

static void print_seed(void) {
  fprintf(stderr, "failed with: test_random_parameters 1 %llu\n", (unsigned long long)current_seed);
}

static uint32_t next_random(void) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return (uint32_t)(state >> 32);
}

/** low .. high, and once in 64 times any int32 at all. */
static int32_t number(int32_t low, int32_t high) {
  if (next_random() % 64 == 0) {
    static const int32_t kExtremes[] = {INT32_MIN, INT32_MAX, -1, 0, 65535, 65536};
    const uint32_t choice = next_random() % 8;
    return choice < 6 ? kExtremes[choice] : (int32_t)next_random();
  }
  return (int32_t)(low + (int64_t)(next_random() % (uint32_t)((int64_t)high - low + 1)));
}

static int32_t input_offset(void) { return number(-127, 128); }

static int32_t output_offset(void) { return number(-128, 127); }

static nk_dims4 dims(void) {
  const nk_dims4 made = {number(1, 2), number(1, 6), number(1, 6), number(1, MAX_CHANNELS)};
  return made;
}

/** A block of one byte for each element; of one byte where the dimensions are refused anyway. */
static int8_t *tensor(const nk_dims4 *d) {
  const int32_t size = nk_dims4_size(d);
  int8_t *memory = malloc((size_t)(size > 0 ? size : 1));
  if (memory == NULL) {
    fprintf(stderr, "out of memory\n");
    exit(2);
  }
  for (int32_t i = 0; i < size; ++i) {
    memory[i] = (int8_t)next_random();
  }
  return memory;
}

static bool is_too_large(const nk_dims4 *d) { return nk_dims4_size(d) > MAX_ELEMENTS; }

static void note(nk_status status) {
  if (status == NK_OK) {
    ++accepted;
  } else if (status != NK_ERROR_ARGUMENT && status != NK_ERROR_SHAPE) {
    fprintf(stderr, "unexpected status %d\n", (int)status);
    print_seed();
    exit(1);
  }
}

/** Tables of one output channel each; random_tables() fills them. */
typedef struct tables {
  int32_t bias[MAX_CHANNELS * MAX_CHANNELS];
  int32_t multiplier[MAX_CHANNELS * MAX_CHANNELS];
  int32_t shift[MAX_CHANNELS * MAX_CHANNELS];
} tables;

static tables random_tables(void) {
  tables t;
  for (int32_t i = 0; i < MAX_CHANNELS * MAX_CHANNELS; ++i) {
    t.bias[i] = (int32_t)next_random();
    t.multiplier[i] = (int32_t)next_random();
    t.shift[i] = (int32_t)(next_random() % 62) - 31;
  }
  return t;
}

static void check(bool right, const char *what) {
  if (!right) {
    fprintf(stderr, "%s gives another output\n", what);
    print_seed();
    exit(1);
  }
}

/** Compares the kernels that this target does not choose with the output of the one it does. */
static void check_fully_connected_kernels(const nk_fully_connected_params *p, int32_t rows,
                                          const int8_t *x, const int8_t *expected) {
  nk_dims4 out = {rows, 1, 1, p->filter_dims.n};
  const size_t size = (size_t)nk_dims4_size(&out);
  int8_t *y = tensor(&out);
  nk_fully_connected_s8_dsp(p, rows, x, y);
  check(memcmp(y, expected, size) == 0, "nk_fully_connected_s8_dsp");
  nk_fully_connected_s8_ref(p, rows, x, y);
  check(memcmp(y, expected, size) == 0, "nk_fully_connected_s8_ref");
  free(y);
}

/** The product of a core that has none of 64 bits. */
static void try_product(void) {
  const int32_t a = number(-65536, 65536);
  const int32_t b = (int32_t)next_random();
  const int32_t acc = (int32_t)next_random();
  if (a != INT32_MIN || b != INT32_MIN) {
    check(nk_smmlar_halves(a, b, acc) == nk_smmlar(a, b, acc), "nk_smmlar_halves");
  }
}

static void try_convolutions(void) {
  const tables t = random_tables();
  nk_dims4 in = dims();
  nk_dims4 out = dims();
  nk_dims4 f = {number(1, MAX_CHANNELS), number(1, 3), number(1, 3), in.c};
  if (next_random() % 8 != 0) {
    out.n = in.n;
    out.c = f.n;
  }
  if (is_too_large(&in) || is_too_large(&out) || is_too_large(&f) ||
      f.n > MAX_CHANNELS * MAX_CHANNELS) {
    return;
  }
  int8_t *x = tensor(&in);
  int8_t *y = tensor(&out);
  int8_t *w = tensor(&f);
  const nk_conv2d_params p = {w,
                              f,
                              t.bias,
                              t.multiplier,
                              t.shift,
                              number(1, 3),
                              number(1, 3),
                              number(1, 3),
                              number(1, 3),
                              number(0, 2),
                              number(0, 2),
                              input_offset(),
                              output_offset(),
                              number(-128, 0),
                              number(0, 127)};
  note(nk_conv2d_s8(&p, &in, x, &out, y));
  const nk_fully_connected_params row = {w,
                                         f,
                                         t.bias,
                                         t.multiplier,
                                         t.shift,
                                         p.input_offset,
                                         p.output_offset,
                                         p.activation_min,
                                         p.activation_max};
  if (f.h == 1 && f.w == 1 && out.c == f.n && nk_dims4_size(&out) > 0 && nk_dims4_size(&in) > 0) {
    const int32_t rows = nk_min(nk_dims4_size(&in) / in.c, nk_dims4_size(&out) / out.c);
    const nk_status status = nk_fully_connected_s8(&row, rows, x, y);
    note(status);
    if (status == NK_OK) {
      check_fully_connected_kernels(&row, rows, x, y);
    }
  }
  free(w);
  free(y);
  const int32_t per_channel = number(1, MAX_CHANNELS);
  f.c = 1;
  f.n = in.c > 0 && per_channel > 0 && in.c <= MAX_CHANNELS && per_channel <= MAX_CHANNELS
            ? in.c * per_channel
            : 1;
  out.c = f.n;
  if (!is_too_large(&out) && !is_too_large(&f)) {
    y = tensor(&out);
    w = tensor(&f);
    const nk_depthwise_conv2d_params d = {w,
                                          f,
                                          t.bias,
                                          t.multiplier,
                                          t.shift,
                                          p.stride_h,
                                          p.stride_w,
                                          p.dilation_h,
                                          p.dilation_w,
                                          p.pad_top,
                                          p.pad_left,
                                          p.input_offset,
                                          p.output_offset,
                                          p.activation_min,
                                          p.activation_max,
                                          per_channel};
    note(nk_depthwise_conv2d_s8(&d, &in, x, &out, y));
    free(w);
    free(y);
  }
  free(x);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: test_random_parameters ROUNDS SEED\n");
    return 2;
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(print_seed);
#endif
  const uint64_t rounds = strtoull(argv[1], NULL, 10);
  const uint64_t first_seed = strtoull(argv[2], NULL, 10);
  for (uint64_t n = 0; n < rounds; ++n) {
    current_seed = first_seed + n;
    state = current_seed * 0x9e3779b97f4a7c15;
    try_convolutions();
    try_product();
  }
  printf("%d calls accepted\n", accepted);
  // A run in which hardly anything is accepted shows nothing.
  return accepted >= (int)(rounds >= 100 ? rounds / 4 : 0) ? 0 : 1;
}
