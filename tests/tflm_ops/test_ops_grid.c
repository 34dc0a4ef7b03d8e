/**
 * Compares the operators that have tuned paths, and the extrema, with the formulas they stand for,
 * bit for bit, with random shapes and parameters. Runs on this computer, under the sanitizers, and
 * on the emulated Cortex-M7 (test_m7_grid.py), where it exits with 0 after the line `<number>
 * layers`.
 */
#include <string.h>

#include "../../tflm_ops/src/ref/nk_arithmetic.h"
#include "../../tflm_ops/src/ref/nk_geometry.h"
#include "nk_ops.h"
#include "test_grid.h"

enum { MAX_TENSOR = 16384, GUARD = 16, GUARD_BYTE = 0x55 };

static int8_t input1[MAX_TENSOR];
static int8_t input2[MAX_TENSOR];
static int8_t output[MAX_TENSOR + GUARD];

/** Fills the output with a pattern, so that what is not written shows. */
static void spoil_output(void) { memset(output, GUARD_BYTE, sizeof output); }

static bool guard_is_intact(int32_t size) {
  for (int32_t i = 0; i < GUARD; ++i) {
    if (output[size + i] != GUARD_BYTE) {
      return false;
    }
  }
  return true;
}

static bool report(bool good, const char *what, const nk_dims4 *in, const nk_dims4 *out) {
  if (!good) {
    const int32_t facts[] = {in->n, in->h, in->w, in->c, out->n, out->h, out->w, out->c};
    grid_print(what, facts, 8);
  }
  return good;
}

static int32_t at(const nk_dims4 *d, int32_t n, int32_t h, int32_t w, int32_t c) {
  return ((n * d->h + h) * d->w + w) * d->c + c;
}

// --- Add ---

/** A scale as TFLite has it: mostly normalised and to the right. */
static void random_scale(int32_t low, int32_t high, int32_t *multiplier, int32_t *shift) {
  *multiplier = grid_number(1 << 30, INT32_MAX);
  *shift = grid_number(low, high);
  switch (grid_number(0, 15)) {
    case 0:
      *multiplier = grid_number(0, 1 << 30);
      break;
    case 1:
      *multiplier = 1 << 30;
      break;
    case 2:
      *shift = grid_number(-31, 30);
      break;
    default:
      break;
  }
}

static int8_t expected_sum(const nk_add_params *p, int8_t a, int8_t b) {
  const nk_output_stage stage = {p->output_offset, p->activation_min, p->activation_max};
  const int32_t scaled1 = nk_multiply_by_quantized_multiplier(
      (a + p->input1_offset) * (1 << p->left_shift), p->input1_multiplier, p->input1_shift);
  const int32_t scaled2 = nk_multiply_by_quantized_multiplier(
      (b + p->input2_offset) * (1 << p->left_shift), p->input2_multiplier, p->input2_shift);
  return nk_requantize(nk_wrapping_add(scaled1, scaled2), p->output_multiplier, p->output_shift,
                       &stage);
}

static int32_t maybe_one(int32_t size) { return grid_number(0, 3) == 0 ? 1 : size; }

static bool try_add(bool shorten) {
  nk_add_params p = {
      .left_shift = grid_number(0, 3) == 0 ? grid_number(0, 22) : 20,
      .input1_offset = grid_number(-127, 128),
      .input2_offset = grid_number(-127, 128),
      .output_offset = grid_number(-128, 127),
      .activation_min = grid_number(0, 1) == 0 ? -128 : grid_number(-128, 0),
      .activation_max = grid_number(0, 1) == 0 ? 127 : grid_number(0, 127),
  };
  random_scale(-6, 0, &p.input1_multiplier, &p.input1_shift);
  random_scale(-6, 0, &p.input2_multiplier, &p.input2_shift);
  // TFLite's rule gives the operand with the larger scale one half; both, where they are equal.
  const int32_t halves = grid_number(0, 5);
  if (halves == 1 || halves == 3) {
    p.input1_multiplier = 1 << 30;
    p.input1_shift = 0;
  }
  if (halves == 2 || halves == 3) {
    p.input2_multiplier = 1 << 30;
    p.input2_shift = 0;
  }
  random_scale(-p.left_shift, 2 - p.left_shift, &p.output_multiplier, &p.output_shift);
  if (shorten) {
    p.left_shift = 20;
    p.output_multiplier = grid_number(1 << 30, INT32_MAX);
    p.output_shift = grid_number(-20, -18);
    if (nk_add_s8_shorten(&p) != NK_OK) {
      return false;
    }
  }
  const nk_dims4 out = {grid_number(1, 2), grid_number(1, 5), grid_number(1, 5),
                        grid_number(1, 37)};
  nk_dims4 a = out;
  nk_dims4 b = out;
  if (grid_number(0, 1) == 0) {
    a = (nk_dims4){maybe_one(out.n), maybe_one(out.h), maybe_one(out.w), maybe_one(out.c)};
    b = (nk_dims4){maybe_one(out.n), maybe_one(out.h), maybe_one(out.w), maybe_one(out.c)};
  }
  grid_fill(input1, nk_dims4_size(&a));
  grid_fill(input2, nk_dims4_size(&b));
  spoil_output();
  bool good = nk_add_s8(&p, &a, input1, &b, input2, &out, output) == NK_OK;
  const nk_dims4 step1 = nk_broadcast_strides(&a);
  const nk_dims4 step2 = nk_broadcast_strides(&b);
  for (int32_t i = 0; i < nk_dims4_size(&out); ++i) {
    const int32_t c = i % out.c;
    const int32_t w = i / out.c % out.w;
    const int32_t h = i / out.c / out.w % out.h;
    const int32_t n = i / out.c / out.w / out.h;
    const int8_t x1 = input1[n * step1.n + h * step1.h + w * step1.w + c * step1.c];
    const int8_t x2 = input2[n * step2.n + h * step2.h + w * step2.w + c * step2.c];
    good = output[i] == expected_sum(&p, x1, x2) && good;
  }
  return report(good && guard_is_intact(nk_dims4_size(&out)), "add", &a, &out);
}

// --- Maximum and minimum ---

static bool try_extremum(bool larger) {
  const nk_dims4 out = {grid_number(1, 2), grid_number(1, 5), grid_number(1, 5),
                        grid_number(1, 37)};
  const nk_dims4 a = {maybe_one(out.n), maybe_one(out.h), maybe_one(out.w), maybe_one(out.c)};
  const nk_dims4 b = {maybe_one(out.n), maybe_one(out.h), maybe_one(out.w), maybe_one(out.c)};
  grid_fill(input1, nk_dims4_size(&a));
  grid_fill(input2, nk_dims4_size(&b));
  spoil_output();
  bool good =
      (larger ? nk_maximum_s8 : nk_minimum_s8)(&a, input1, &b, input2, &out, output) == NK_OK;
  const nk_dims4 step1 = nk_broadcast_strides(&a);
  const nk_dims4 step2 = nk_broadcast_strides(&b);
  for (int32_t i = 0; i < nk_dims4_size(&out); ++i) {
    const int32_t c = i % out.c;
    const int32_t w = i / out.c % out.w;
    const int32_t h = i / out.c / out.w % out.h;
    const int32_t n = i / out.c / out.w / out.h;
    const int8_t x1 = input1[n * step1.n + h * step1.h + w * step1.w + c * step1.c];
    const int8_t x2 = input2[n * step2.n + h * step2.h + w * step2.w + c * step2.c];
    good = output[i] == ((x1 > x2) == larger ? x1 : x2) && good;
  }
  return report(good && guard_is_intact(nk_dims4_size(&out)), "extremum", &a, &out);
}

// --- Pools and mean ---

/** One output of a pool, from its definition. */
static int32_t expected_pool(const nk_pool2d_params *p, const nk_dims4 *in, int32_t n, int32_t oy,
                             int32_t ox, int32_t c, bool average) {
  int32_t sum = 0;
  int32_t max = INT8_MIN;
  int32_t count = 0;
  for (int32_t ky = 0; ky < p->filter_h; ++ky) {
    for (int32_t kx = 0; kx < p->filter_w; ++kx) {
      const int32_t y = oy * p->stride_h - p->pad_top + ky;
      const int32_t x = ox * p->stride_w - p->pad_left + kx;
      if (nk_in_range(y, 0, in->h - 1) && nk_in_range(x, 0, in->w - 1)) {
        const int32_t value = input1[at(in, n, y, x, c)];
        sum += value;
        max = nk_max(max, value);
        ++count;
      }
    }
  }
  const int32_t mean = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
  return nk_clamp(average ? mean : max, p->activation_min, p->activation_max);
}

static bool try_pool(bool average, int32_t largest_filter) {
  const nk_pool2d_params p = {
      .filter_h = grid_number(1, largest_filter),
      .filter_w = grid_number(1, largest_filter),
      .stride_h = grid_number(1, 3),
      .stride_w = grid_number(1, 3),
      .pad_top = 0,
      .pad_left = grid_number(0, 1),
      .activation_min = grid_number(0, 1) == 0 ? -128 : grid_number(-128, 0),
      .activation_max = grid_number(0, 1) == 0 ? 127 : grid_number(0, 127),
  };
  const nk_dims4 out = {grid_number(1, 2), grid_number(1, 3), grid_number(1, 3), grid_number(1, 9)};
  const nk_dims4 in = {
      out.n, (out.h - 1) * p.stride_h + grid_number(1, p.filter_h + 1),
      nk_max(1, (out.w - 1) * p.stride_w - p.pad_left + grid_number(1, p.filter_w + 1)), out.c};
  if (nk_dims4_size(&in) > MAX_TENSOR || p.pad_left >= p.filter_w) {
    return true;
  }
  grid_fill(input1, nk_dims4_size(&in));
  spoil_output();
  bool good =
      (average ? nk_average_pool2d_s8 : nk_max_pool2d_s8)(&p, &in, input1, &out, output) == NK_OK;
  for (int32_t i = 0; i < nk_dims4_size(&out); ++i) {
    good = output[i] == expected_pool(&p, &in, i / out.c / out.w / out.h, i / out.c / out.w % out.h,
                                      i / out.c % out.w, i % out.c, average) &&
           good;
  }
  return report(good && guard_is_intact(nk_dims4_size(&out)), "pool", &in, &out);
}

static bool try_mean(int32_t largest_side) {
  const nk_mean_params p = {grid_number(-127, 128), grid_number(-128, 127),
                            grid_number(1 << 30, INT32_MAX), grid_number(-10, -2)};
  const nk_dims4 in = {grid_number(1, 2), grid_number(1, largest_side),
                       grid_number(1, largest_side), grid_number(1, 9)};
  const nk_dims4 out = {in.n, 1, 1, in.c};
  const nk_output_stage stage = {p.output_offset, INT8_MIN, INT8_MAX};
  grid_fill(input1, nk_dims4_size(&in));
  spoil_output();
  bool good = nk_mean_s8(&p, &in, input1, output) == NK_OK;
  for (int32_t i = 0; i < nk_dims4_size(&out); ++i) {
    int32_t sum = 0;
    for (int32_t k = 0; k < in.h * in.w; ++k) {
      sum += input1[(i / in.c * in.h * in.w + k) * in.c + i % in.c] + p.input_offset;
    }
    good = output[i] == nk_requantize(sum, p.multiplier, p.shift, &stage) && good;
  }
  return report(good && guard_is_intact(nk_dims4_size(&out)), "mean", &in, &out);
}

int main(void) {
  int32_t layers = 0;
  bool all = true;
  for (int32_t i = 0; i < 400; ++i, layers += 6) {
    // Now and then more pixels than fit into the sum of one lane.
    const int32_t side = i % 20 == 0 ? 20 : 5;
    all = try_add(i % 20 == 0) && all;
    all = try_extremum(true) && all;
    all = try_extremum(false) && all;
    all = try_pool(true, side) && all;
    all = try_pool(false, side) && all;
    all = try_mean(side) && all;
  }
  return grid_end(layers, all);
}
