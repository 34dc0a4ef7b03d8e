/**
 * Compares the tuned depthwise kernels with the reference, bit for bit, over a grid of shapes with
 * random weights and inputs. Runs on this computer, under the sanitizers, and on the emulated
 * Cortex-M7 (test_m7_grid.py), where it exits with 0 after the line `<number> layers`.
 */
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_depthwise.h"
#include "../../tflm_ops/src/portable/nk_depthwise_s8_portable.h"
#include "../../tflm_ops/src/portable/nk_portable.h"
#include "../../tflm_ops/src/ref/nk_reference.h"
#include "test_grid.h"

enum {
  MAX_CHANNELS = 9,
  MAX_FILTER = 25 * MAX_CHANNELS,
  MAX_TENSOR = 64 * 64 * MAX_CHANNELS,
  GUARD = 16,
  GUARD_BYTE = 0x55,
};

typedef struct tensors {
  int8_t filter[MAX_FILTER];
  int32_t bias[MAX_CHANNELS];
  int32_t multiplier[MAX_CHANNELS];
  int32_t shift[MAX_CHANNELS];
  int8_t input[MAX_TENSOR];
  int8_t expected[MAX_TENSOR];
  int8_t output[GUARD + MAX_TENSOR + GUARD];
} tensors;

static tensors t;

/** Requantisation that spreads the outputs; now and then one that only the general way takes. */
static void fill_tables(int32_t channels, int32_t weights) {
  int32_t log = 0;
  while (weights >> log > 0) {
    log += 2;
  }
  for (int32_t c = 0; c < channels; ++c) {
    t.bias[c] = grid_number(-20000, 20000);
    t.multiplier[c] = grid_number(1 << 30, INT32_MAX) * (grid_number(0, 3) == 0 ? -1 : 1);
    t.shift[c] = -6 - log / 2 + grid_number(-1, 1);
    switch (grid_number(0, 23)) {
      case 0:
        t.shift[c] = grid_number(-31, 30);
        break;
      case 1:
        t.multiplier[c] = grid_number(0, 1 << 30);
        break;
      case 2:
        t.bias[c] = (int32_t)(grid_random() << 8);
        break;
      case 3:
        // Many exact halves.
        t.multiplier[c] = grid_number(0, 1) == 0 ? 1 << 30 : -(1 << 30);
        t.bias[c] = grid_number(-3, 3);
        break;
      default:
        break;
    }
  }
}

static bool guards_are_intact(int32_t size) {
  for (int32_t i = 0; i < GUARD; ++i) {
    if (t.output[i] != GUARD_BYTE || t.output[GUARD + size + i] != GUARD_BYTE) {
      return false;
    }
  }
  return true;
}

typedef void (*depthwise)(const nk_depthwise_conv2d_params *params, const nk_dims4 *input_dims,
                          const int8_t *input, const nk_dims4 *output_dims, int8_t *output);

/** Whether a kernel gives the bytes of the reference, and writes none beside them. */
static bool is_right(depthwise run, const nk_depthwise_conv2d_params *p, const nk_dims4 *in,
                     const nk_dims4 *out) {
  const int32_t size = nk_dims4_size(out);
  memset(t.output, GUARD_BYTE, sizeof t.output);
  run(p, in, t.input, out, t.output + GUARD);
  return guards_are_intact(size) && memcmp(t.expected, t.output + GUARD, (size_t)size) == 0;
}

/** Returns whether the kernels agree; prints the layer where they do not. */
static bool agree(const nk_depthwise_conv2d_params *p, const nk_dims4 *in, const nk_dims4 *out) {
  nk_depthwise_conv2d_s8_ref(p, in, t.input, out, t.expected);
  const nk_axis y = {in->h, out->h, p->filter_dims.h, p->stride_h, 1, p->pad_top};
  const nk_axis x = {in->w, out->w, p->filter_dims.w, p->stride_w, 1, p->pad_left};
  if ((!nk_depthwise_s8_dsp_supports(&y, &x) || is_right(nk_depthwise_conv2d_s8_dsp, p, in, out)) &&
      (!nk_depthwise_s8_portable_supports(&y, &x) ||
       is_right(nk_depthwise_conv2d_s8_portable, p, in, out))) {
    return true;
  }
  const int32_t facts[] = {p->filter_dims.h,
                           p->stride_h,
                           p->stride_w,
                           p->pad_top,
                           p->pad_left,
                           in->n,
                           in->h,
                           in->w,
                           in->c,
                           out->h,
                           out->w,
                           out->c};
  // Kernel, strides, pads, input and output.
  grid_print("depthwise", facts, (int32_t)(sizeof facts / sizeof *facts));
  return false;
}

/** A layer with this kernel, stride and output size and anything else. */
static bool try_layer(int32_t kernel, int32_t stride_h, int32_t output_h, int32_t output_w) {
  const int32_t depth_multiplier = grid_number(0, 2) == 0 ? grid_number(1, 3) : 1;
  nk_depthwise_conv2d_params p = {
      .filter = t.filter,
      .bias = t.bias,
      .multiplier = t.multiplier,
      .shift = t.shift,
      .stride_h = stride_h,
      .stride_w = grid_number(0, 3) == 0 ? grid_number(1, 3) : stride_h,
      .dilation_h = 1,
      .dilation_w = 1,
      .pad_top = grid_number(0, kernel),
      .pad_left = grid_number(0, kernel),
      .input_offset = grid_number(-127, 128),
      // Half of the layers as after a relu, where the requantisation is shorter.
      .output_offset = grid_number(0, 1) == 0 ? -128 : grid_number(-128, 127),
      .activation_min = grid_number(0, 3) == 0 ? grid_number(-128, 0) : -128,
      .activation_max = grid_number(0, 3) == 0 ? grid_number(0, 127) : 127,
      .depth_multiplier = depth_multiplier,
  };
  // From one column in the last window to one past it.
  const int32_t reach_h = (output_h - 1) * p.stride_h - p.pad_top;
  const int32_t reach_w = (output_w - 1) * p.stride_w - p.pad_left;
  const nk_dims4 in = {grid_number(1, 2), nk_max(1, reach_h + grid_number(1, kernel + 1)),
                       nk_max(1, reach_w + grid_number(1, kernel + 1)),
                       grid_number(1, MAX_CHANNELS / depth_multiplier)};
  const nk_dims4 out = {in.n, output_h, output_w, in.c * depth_multiplier};
  p.filter_dims = (nk_dims4){out.c, kernel, kernel, 1};
  if (nk_dims4_size(&in) > MAX_TENSOR || nk_dims4_size(&out) > MAX_TENSOR) {
    return true;
  }
  grid_fill(t.filter, nk_dims4_size(&p.filter_dims));
  grid_fill(t.input, nk_dims4_size(&in));
  fill_tables(out.c, kernel * kernel);
  return agree(&p, &in, &out);
}

int main(void) {
  int32_t layers = 0;
  // A stride of 3 both ways is for the reference.
  const nk_axis wide = {9, 3, 3, 3, 1, 0};
  bool all = !nk_depthwise_s8_portable_supports(&wide, &wide);
  for (int32_t kernel = 3; kernel <= 5; kernel += 2) {
    for (int32_t stride = 1; stride <= 3; ++stride) {
      // Past the tile's 18 (stride 2: 9; 5x5: 16 and 8) outputs in a row, and past its rows.
      for (int32_t width = 1; width <= 34; ++width) {
        for (int32_t height = 1; height <= 25; height += width % 5 == 0 ? 4 : 8) {
          all = try_layer(kernel, stride, height, width) && all;
          ++layers;
        }
      }
      // Past the 64 outputs of a line of the portable kernel's plane, also on its side.
      for (int32_t length = 63; length <= 130; length += length < 66 ? 1 : 32) {
        all = try_layer(kernel, stride, grid_number(1, 2), length) && all;
        all = try_layer(kernel, stride, length, grid_number(1, 2)) && all;
        layers += 2;
      }
      for (int32_t i = 0; i < 100; ++i) {
        all = try_layer(kernel, stride, grid_number(1, 8), grid_number(1, 9)) && all;
        ++layers;
      }
    }
  }
  return grid_end(layers, all);
}
