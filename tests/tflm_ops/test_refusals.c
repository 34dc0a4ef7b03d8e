/**
 * Spoils one argument of a good call after the other: each call must be refused with its own
 * status, and leave the output alone. The good call itself must run.
 */
#include "nk_nested_conv.h"
#include "nk_ops.h"
#include "refusals.h"

static const int32_t kBias[9] = {5, -5, 6, -6, 7, -7, 8, -8, 9};

static void test_conv2d(void) {
  int32_t multiplier[2] = {1 << 30, -(1 << 30)};
  int32_t shift[2] = {-8, -8};
  nk_dims4 in = {1, 3, 3, 2};
  nk_dims4 out = {1, 3, 3, 2};
  nk_conv2d_params p = {x, {2, 1, 1, 2}, kBias, multiplier, shift, 1, 1, 1, 1, 0, 0,
                        3, -3,           -128,  127};
#define CALL nk_conv2d_s8(&p, &in, x, &out, y)
  expect("conv2d", CALL, NK_OK);
  REFUSE(p.stride_h, 0);
  REFUSE(p.stride_w, 65536);
  REFUSE(p.dilation_h, 0);
  REFUSE(p.dilation_w, 65536);
  REFUSE(p.pad_top, -1);
  REFUSE(p.pad_left, 65536);
  REFUSE(p.filter_dims.h, 65536);
  REFUSE(p.filter_dims.w, 0);
  REFUSE(p.input_offset, 129);
  REFUSE(p.output_offset, -129);
  REFUSE(p.activation_max, 128);
  REFUSE(p.activation_min, -129);
  REFUSE(multiplier[1], INT32_MIN);
  REFUSE(shift[0], 31);
  REFUSE(shift[1], -32);
  TAKE(shift[0], 30);
  TAKE(shift[0], -31);
  TAKE(multiplier[0], -INT32_MAX);
  MISFIT(in.n, 2);
  MISFIT(in.h, 0);
  MISFIT(in.c, 3);
  MISFIT(out.c, 3);
  MISFIT(out.h, 4);
  MISFIT(out.w, 4);
  MISFIT(out.h, 65536);
  MISFIT(out.w, 65536);
  MISFIT(in.h, 65536);
  MISFIT(p.filter_dims.n, -1);
  // A window of the largest reach is taken, a larger one is not.
  p.filter_dims.h = 256;
  REFUSE(p.dilation_h, 65535 + 1);
  p.filter_dims.h = 257;
  p.dilation_h = 65535;
  expect("a reach of 65535 * 256", CALL, NK_ERROR_ARGUMENT);
#undef CALL
}

static void test_depthwise(void) {
  int32_t multiplier[2] = {1 << 30, 1 << 30};
  int32_t shift[2] = {-8, -8};
  nk_dims4 in = {1, 3, 3, 2};
  nk_dims4 out = {1, 3, 3, 2};
  nk_depthwise_conv2d_params p = {x, {2, 3, 3, 1}, kBias, multiplier, shift, 1, 1, 1, 1, 1, 1,
                                  3, -3,           -128,  127,        1};
#define CALL nk_depthwise_conv2d_s8(&p, &in, x, &out, y)
  expect("depthwise", CALL, NK_OK);
  REFUSE(p.stride_h, 0);
  REFUSE(p.stride_w, 0);
  REFUSE(p.input_offset, -128);
  REFUSE(p.output_offset, 128);
  REFUSE(p.activation_min, 128);
  REFUSE(multiplier[0], INT32_MIN);
  MISFIT(p.filter_dims.n, 0);
  MISFIT(p.filter_dims.n, 3);
  MISFIT(p.filter_dims.c, 2);
  MISFIT(p.depth_multiplier, 2);
  MISFIT(out.n, 2);
  MISFIT(in.c, 0);
  MISFIT(out.c, 0);
  MISFIT(out.h, 5);
  MISFIT(out.w, 5);
  TAKE(out.h, 4);
#undef CALL
}

static void test_fully_connected(void) {
  int32_t multiplier[3] = {1 << 30, 1 << 30, 1 << 30};
  int32_t shift[3] = {-8, -8, -8};
  int32_t rows = 2;
  nk_fully_connected_params p = {x, {3, 1, 1, 4}, kBias, multiplier, shift, 3, -3, -128, 127};
#define CALL nk_fully_connected_s8(&p, rows, x, y)
  expect("fully connected", CALL, NK_OK);
  REFUSE(p.input_offset, 129);
  REFUSE(p.output_offset, 128);
  REFUSE(p.activation_max, 128);
  REFUSE(shift[2], 31);
  MISFIT(p.filter_dims.h, 2);
  MISFIT(p.filter_dims.w, 2);
  MISFIT(p.filter_dims.n, 0);
  MISFIT(p.filter_dims.c, -4);
  MISFIT(rows, 0);
  // Too many elements of the input, and of the output.
  MISFIT(rows, 600000000);
  p.filter_dims = (nk_dims4){4, 1, 1, 1};
  MISFIT(rows, 600000000);
#undef CALL
}

static void test_mean(void) {
  nk_dims4 in = {1, 3, 3, 2};
  nk_mean_params p = {3, -3, 1 << 30, -3};
#define CALL nk_mean_s8(&p, &in, x, y)
  expect("mean", CALL, NK_OK);
  REFUSE(p.input_offset, 129);
  REFUSE(p.output_offset, 128);
  REFUSE(p.multiplier, -1);
  REFUSE(p.shift, -32);
  MISFIT(in.n, 0);
  in.w = 4096;
  MISFIT(in.h, 2048);
#undef CALL
}

static void test_pad(void) {
  nk_dims4 in = {1, 2, 3, 4};
  nk_dims4 out = {4, 5, 6, 7};
  nk_pad_params p = {{{1, 2}, {2, 1}, {3, 0}, {0, 3}}, -128};
#define CALL nk_pad_s8(&p, &in, x, &out, y)
  expect("pad", CALL, NK_OK);
  TAKE(p.value, 127);
  REFUSE(p.value, 128);
  REFUSE(p.value, -129);
  for (int32_t axis = 0; axis < 4; ++axis) {
    REFUSE(p.paddings[axis][0], -1);
    REFUSE(p.paddings[axis][1], -1);
    MISFIT(p.paddings[axis][0], p.paddings[axis][0] + 1);
    MISFIT(p.paddings[axis][1], p.paddings[axis][1] + 1);
    MISFIT(p.paddings[axis][1], INT32_MAX);
  }
  MISFIT(in.c, 0);
  MISFIT(out.c, 0);
#undef CALL
}

static void test_prelu(void) {
  nk_dims4 in = {1, 2, 3, 4};
  nk_dims4 alpha = {1, 1, 1, 4};
  nk_dims4 out = {1, 2, 3, 4};
  nk_prelu_params p = {3, 4, -3, 1 << 30, -1, 1 << 30, -2};
#define CALL nk_prelu_s8(&p, &in, x, &alpha, x, &out, y)
  expect("prelu", CALL, NK_OK);
  REFUSE(p.input_offset, 129);
  REFUSE(p.alpha_offset, -128);
  REFUSE(p.output_offset, 128);
  REFUSE(p.positive_multiplier, -1);
  REFUSE(p.positive_shift, 31);
  REFUSE(p.negative_multiplier, -1);
  REFUSE(p.negative_shift, -32);
  // What is neither 1 nor the output's cannot be broadcast.
  MISFIT(in.n, 2);
  MISFIT(alpha.h, 3);
  MISFIT(alpha.w, 2);
  MISFIT(alpha.c, 3);
  MISFIT(alpha.c, 0);
  TAKE(alpha.w, 3);
#undef CALL
}

static void test_rearrange(void) {
  int32_t input_size = 24;
  int32_t output_size = 24;
  nk_rearrange_params p = {{1, 1, 2, 3, 2, 2}, {0, 0, 12, 4, -2, 1}, 2};
#define CALL nk_rearrange_s8(&p, input_size, x, output_size, y)
  expect("rearrange", CALL, NK_OK);
  MISFIT(input_size, 0);
  MISFIT(input_size, 23);
  MISFIT(output_size, 0);
  MISFIT(output_size, 23);
  MISFIT(output_size, 25);
  MISFIT(p.offset, 1);
  MISFIT(p.offset, 3);
  MISFIT(p.offset, INT32_MAX);
  MISFIT(p.offset, INT32_MIN);
  for (int32_t axis = 0; axis < 6; ++axis) {
    MISFIT(p.sizes[axis], 0);
    MISFIT(p.sizes[axis], INT32_MAX);
    MISFIT(p.sizes[axis], p.sizes[axis] + 1);
  }
  for (int32_t axis = 2; axis < 6; ++axis) {
    MISFIT(p.strides[axis], INT32_MAX);
    MISFIT(p.strides[axis], INT32_MIN);
    MISFIT(p.strides[axis], 24);
    MISFIT(p.strides[axis], -24);
  }
#undef CALL
}

static void test_resize(void) {
  nk_dims4 in = {1, 3, 3, 2};
  nk_dims4 out = {1, 5, 5, 2};
  nk_resize_bilinear_params p = {512, 512, 0, 0};
#define CALL nk_resize_bilinear_s8(&p, &in, x, &out, y)
  expect("resize", CALL, NK_OK);
  TAKE(p.start_h, -512);
  TAKE(p.start_w, -512);
  TAKE(p.step_h, 0);
  REFUSE(p.step_h, -1);
  REFUSE(p.step_w, -1);
  REFUSE(p.step_h, (1 << 26) + 1);
  REFUSE(p.step_w, (1 << 26) + 1);
  REFUSE(p.start_h, -513);
  REFUSE(p.start_w, -513);
  REFUSE(p.start_h, (1 << 26) + 1);
  REFUSE(p.start_w, (1 << 26) + 1);
  MISFIT(in.n, 2);
  MISFIT(in.c, 3);
  MISFIT(in.h, 0);
  MISFIT(out.c, 0);
  // The last of 5 places is 2048 + start, and the input ends at 3072.
  TAKE(p.start_h, 1023);
  MISFIT(p.start_h, 1024);
  MISFIT(p.start_w, 1024);
  MISFIT(p.step_h, 768);
  p.step_h = p.step_w = 0;
  MISFIT(out.h, 65536);
  MISFIT(out.w, 65536);
  MISFIT(in.h, 65536);
  MISFIT(in.w, 65536);
#undef CALL
}

static void test_concatenation(void) {
  nk_dims4 in[2] = {{1, 2, 3, 4}, {1, 2, 3, 5}};
  nk_dims4 out = {1, 2, 3, 9};
  const int8_t *const inputs[2] = {x, x};
  int32_t count = 2;
  nk_concatenation_params p = {3};
#define CALL nk_concatenation_s8(&p, count, in, inputs, &out, y)
  expect("concatenation", CALL, NK_OK);
  REFUSE(p.axis, 4);
  REFUSE(p.axis, -1);
  MISFIT(in[1].n, 2);
  MISFIT(in[1].h, 1);
  MISFIT(in[0].w, 4);
  MISFIT(in[0].c, 5);
  MISFIT(in[1].c, 0);
  MISFIT(out.c, 10);
  MISFIT(count, 1);
#undef CALL
}

/** An empty 1x1 layer of one channel that no writer packed: only the checked fields are set. */
static nk_stream empty_layer(void) {
  return (nk_stream){.levels = 1,
                     .in_place_levels = 1,
                     .kind = NK_KIND_CONV,
                     .block_size = 1,
                     .stride_h = 1,
                     .stride_w = 1,
                     .dilation_h = 1,
                     .dilation_w = 1,
                     .kernel_h = 1,
                     .kernel_w = 1,
                     .out_channels = 1,
                     .in_channels = 1,
                     .depth_multiplier = 1,
                     .filter_channels = 1,
                     .channel_weights = 1};
}

static void test_nested_dimensions(void) {
  nk_stream s = empty_layer();
  nk_conv_dims d = {1, 1, 1, 1, 1};
  int32_t size = 0;
#define CALL ((size = nk_nested_conv_s8_get_buffer_size(&s, &d)) < 0 ? NK_ERROR_SHAPE : NK_OK)
  expect("nested convolution", CALL, NK_OK);
  TAKE(s.dilation_w, 2);
  MISFIT(d.batches, 0);
  MISFIT(d.input_h, 0);
  MISFIT(d.output_h, 2);
  MISFIT(d.output_w, 2);
  MISFIT(d.input_w, 65536);
  MISFIT(d.output_h, 65536);
  MISFIT(d.output_w, 65536);
  // The places of the scratch buffer, of 4 bytes each, are at most INT32_MAX bytes.
  d.input_h = d.output_h = d.input_w = 32768;
  TAKE(d.output_w, 16383);
  MISFIT(d.output_w, 16384);
  // stride_h rows of the input have at most INT32_MAX elements.
  d = (nk_conv_dims){1, 1, 32768, 1, 1};
  s.in_channels = 300;
  TAKE(s.stride_h, 218);
  MISFIT(s.stride_h, 219);
  s.kind = NK_KIND_FULLY_CONNECTED;
  d = (nk_conv_dims){5, 1, 1, 1, 1};
  TAKE(d.batches, 6);
  MISFIT(d.input_h, 2);
  MISFIT(d.input_w, 2);
  s.pad_top = s.pad_left = 9;
  MISFIT(d.output_h, 2);
  MISFIT(d.output_w, 2);
#undef CALL
  expect("no stream", nk_nested_conv_s8_get_buffer_size(NULL, &d) < 0 ? NK_OK : NK_ERROR_SHAPE,
         NK_OK);
  expect("no dimensions", nk_nested_conv_s8_get_buffer_size(&s, NULL) < 0 ? NK_OK : NK_ERROR_SHAPE,
         NK_OK);
}

/** A dense layer has widened weights in its scratch memory, up to 6144 bytes. */
static void test_nested_dense_scratch(void) {
  nk_stream s = empty_layer();
  s.out_channels = s.output_channels = 48;
  s.in_channels = s.filter_channels = s.channel_weights = 64;
  s.level[0].encoding = NK_ENCODING_DENSE;
  const nk_conv_dims d = {1, 1, 1, 1, 1};
#define CALL (nk_nested_conv_s8_get_buffer_size(&s, &d) > 6144 ? NK_OK : NK_ERROR_SHAPE)
  expect("48 channels", CALL, NK_OK);
  MISFIT(s.output_channels, 49);
#undef CALL
}

static void test_nested_arguments(void) {
  nk_stream s = {
      .levels = 1, .in_place_levels = 1, .kind = NK_KIND_DEPTHWISE, .kernel_h = 3, .kernel_w = 3};
  const nk_conv_dims d = {1, 1, 1, 1, 1};
  const nk_status argument = NK_ERROR_ARGUMENT;
  expect("no stream", nk_nested_depthwise_s8(NULL, 0, &d, x, y, NULL, 0), argument);
  expect("no stream", nk_nested_conv_s8(NULL, 0, &d, x, y, NULL, 0), argument);
  expect("no dimensions", nk_nested_conv_s8(&s, 0, NULL, x, y, NULL, 0), argument);
  expect("no input", nk_nested_depthwise_s8(&s, 0, &d, NULL, y, NULL, 0), argument);
  expect("no output", nk_nested_depthwise_s8(&s, 0, &d, x, NULL, NULL, 0), argument);
  nk_stream dilated = s;
  dilated.kind = NK_KIND_CONV;
  dilated.kernel_h = dilated.kernel_w = dilated.stride_h = dilated.stride_w = 1;
  dilated.in_channels = dilated.out_channels = dilated.dilation_h = 1;
  dilated.dilation_w = 2;
  int32_t scratch = 0;
  expect("dilated columns", nk_nested_conv2d_s8(&dilated, 0, &d, x, y, &scratch, sizeof(scratch)),
         argument);
  nk_stream unpacked = dilated;
  unpacked.in_place_levels = 0;
  unpacked.dilation_w = 1;
  const nk_add_params sum = {.short_factor1 = 1};
  expect("not in place", nk_nested_conv2d_s8(&unpacked, 0, &d, x, y, &scratch, sizeof(scratch)),
         argument);
  expect("not in place", nk_stream_validate_in_place(&unpacked), argument);
  expect("parts of no stream", nk_nested_conv2d_parts_s8(NULL, 0, &d, x, y, NULL, 0), argument);
  expect("parts to no output", nk_nested_fully_connected_parts_s8(&s, 0, &d, x, NULL, NULL, 0),
         argument);
  expect("parts without memory", nk_nested_conv2d_parts_s8(&unpacked, 0, &d, x, y, NULL, 0),
         NK_ERROR_BUFFER);
  expect("parts of no level", nk_nested_conv2d_parts_s8(&unpacked, 1, &d, x, y, NULL, 0),
         NK_ERROR_LEVEL);
  const nk_conv_dims none = {0, 1, 1, 1, 1};
  expect("parts of no image", nk_nested_depthwise_parts_s8(&unpacked, 0, &none, x, y, NULL, 0),
         NK_ERROR_SHAPE);
  expect("parts and no operand",
         nk_nested_conv2d_add_parts_s8(&unpacked, 0, &d, x, &sum, NULL, y, NULL, 0), argument);
  expect("parts and a sum without memory",
         nk_nested_conv2d_add_parts_s8(&unpacked, 0, &d, x, &sum, x, y, NULL, 0), NK_ERROR_BUFFER);
  expect("parts and no input", nk_nested_conv2d_parts_s8(&s, 0, &d, NULL, y, NULL, 0), argument);
  expect("parts and no dimensions", nk_nested_conv2d_parts_s8(&s, 0, NULL, x, y, NULL, 0),
         argument);
  expect("parts and no stream", nk_nested_conv2d_add_parts_s8(NULL, 0, &d, x, &sum, x, y, NULL, 0),
         argument);
  expect("parts and no dimensions",
         nk_nested_conv2d_add_parts_s8(&unpacked, 0, NULL, x, &sum, x, y, NULL, 0), argument);
  expect("parts and no input",
         nk_nested_conv2d_add_parts_s8(&unpacked, 0, &d, NULL, &sum, x, y, NULL, 0), argument);
  expect("parts and no output",
         nk_nested_conv2d_add_parts_s8(&unpacked, 0, &d, x, &sum, x, NULL, NULL, 0), argument);
  static int32_t memory[2000];
  expect("parts in misaligned memory",
         nk_nested_conv2d_parts_s8(&unpacked, 0, &d, x, y, (uint8_t *)memory + 1, 7996),
         NK_ERROR_BUFFER);
  expect("a sum of no image",
         nk_nested_conv2d_add_s8_get_buffer_size(&dilated, &none) < 0 ? NK_OK : NK_ERROR_SHAPE,
         NK_OK);
  expect("parts of no image",
         nk_nested_conv_s8_get_buffer_size(&unpacked, &none) < 0 ? NK_OK : NK_ERROR_SHAPE, NK_OK);
  expect("no stream in place", nk_stream_validate_in_place(NULL), argument);
  _Alignas(16) static const uint8_t kData[64] = {'N', 'S', 'C', '1'};
  _Alignas(16) static const uint8_t kForeign[64] = {'N', 'S', 'C', '2'};
  expect("another magic", nk_stream_open(kForeign, sizeof(kForeign), &s), NK_ERROR_FOREIGN);
  expect("half a magic", nk_stream_open(kData, 3, &s), NK_ERROR_TRUNCATED);
  expect("a magic alone", nk_stream_open(kData, 4, &s), NK_ERROR_TRUNCATED);
  expect("most of a header", nk_stream_open(kData, 63, &s), NK_ERROR_TRUNCATED);
  expect("version 0", nk_stream_open(kData, 64, &s), NK_ERROR_VERSION);
  expect("no data", nk_stream_open(NULL, sizeof(kData), &s), argument);
  expect("no result", nk_stream_open(kData, sizeof(kData), NULL), argument);
  expect("misaligned", nk_stream_open(kData + 1, sizeof(kData) - 1, &s), argument);
  expect("no stream to validate", nk_stream_validate(NULL), argument);
}

int main(void) {
  fill();
  test_conv2d();
  test_depthwise();
  test_fully_connected();
  test_mean();
  test_pad();
  test_prelu();
  test_rearrange();
  test_resize();
  test_concatenation();
  test_nested_dimensions();
  test_nested_dense_scratch();
  test_nested_arguments();
  return result();
}
