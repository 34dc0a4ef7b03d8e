/** The short form of sums (docs/kernels.md, "Additions"): who has one, who takes it, refusals. */
#include <stdbool.h>

#include "nk_nested_conv.h"
#include "nk_ops.h"
#include "refusals.h"

/** A sum of two tensors, a factor of 0.35 each. */
static nk_add_params sum_of_two(void) {
  return (nk_add_params){.left_shift = 20,
                         .input1_multiplier = 1500000000,
                         .input2_multiplier = 1500000000,
                         .output_multiplier = 1 << 30,
                         .output_shift = -19,
                         .activation_min = -128,
                         .activation_max = 127};
}

static void expect_short(const char *what, nk_add_params p, bool wanted) {
  expect(what, nk_add_s8_shorten(&p), NK_OK);
  const bool got = p.short_factor1 != 0 || p.short_factor2 != 0 || p.short_constant != 0;
  expect(what, got == wanted ? NK_OK : NK_ERROR_SHAPE, NK_OK);
}

static void test_shorten(void) {
  nk_add_params p = sum_of_two();
  expect("no parameters", nk_add_s8_shorten(NULL), NK_ERROR_ARGUMENT);
#define CALL nk_add_s8_shorten(&p)
  REFUSE(p.left_shift, 23);
  REFUSE(p.input2_multiplier, -1);
#undef CALL
  expect_short("a short sum", p, true);
  p.input1_multiplier = 0;
  expect_short("a factor of zero", p, false);
  p = sum_of_two();
  p.input2_multiplier = 0;
  expect_short("a second factor of zero", p, false);
  p = sum_of_two();
  p.input1_shift = p.output_shift = 10;
  expect_short("a factor of more bits than a product", p, false);
  p.input1_shift = p.output_shift = -31;
  p.left_shift = 0;
  expect_short("a factor of no bits", p, false);
  p = sum_of_two();
  p.output_shift = 8;
  expect_short("factors beyond 31 bits", p, false);
  p = sum_of_two();
  p.input1_multiplier = p.input2_multiplier = p.output_multiplier = INT32_MAX;
  p.output_shift = -17;
  expect_short("factors beyond half of the accumulator", p, false);
  // All sums saturate here, so that one side of the constant has no limit.
  p = (nk_add_params){7,       128, 1317011456, -1,  128, 1317011456, -1, 127,
                      1 << 30, -3,  -128,       127, 0,   0,          0};
  expect_short("a constant beyond half of the accumulator", p, false);
  p = (nk_add_params){8,       -127, 1497366528, 0,   -127, 1497366528, 0, -128,
                      1 << 30, -6,   -128,       127, 0,    0,          0};
  expect_short("a constant below half of the accumulator", p, false);
}

/** The short form is for operands of all channels; a broadcast operand takes the formula. */
static void test_broadcast(void) {
  static int8_t wanted[12];
  const nk_dims4 all = {1, 1, 3, 4};
  const nk_dims4 one = {1, 1, 3, 1};
  const nk_dims4 *const a[2] = {&all, &one};
  for (int turned = 0; turned < 2; ++turned) {
    nk_add_params p = sum_of_two();
    expect("a difference", nk_sub_s8(&p, a[turned], x, a[1 - turned], x, &all, wanted), NK_OK);
    p.short_factor1 = p.short_factor2 = p.short_constant = 1;
    const nk_status status = nk_sub_s8(&p, a[turned], x, a[1 - turned], x, &all, y);
    const bool same = memcmp(wanted, y, sizeof wanted) == 0;
    expect("a broadcast difference", same ? status : NK_ERROR_SHAPE, NK_OK);
  }
}

/** One of the three numbers makes a short form. */
static void test_parts_of_the_form(void) {
  static int8_t got[12];
  const nk_dims4 all = {1, 1, 3, 4};
  nk_add_params p = sum_of_two();
  p.short_factor2 = 1 << 28;
  expect("the second operand", nk_add_s8(&p, &all, x, &all, x + 12, &all, got), NK_OK);
  expect("its values", memcmp(got, x + 12, sizeof got) == 0 ? NK_OK : NK_ERROR_SHAPE, NK_OK);
  p.short_factor2 = 0;
  p.short_constant = 7 << 20;
  expect("a constant", nk_add_s8(&p, &all, x, &all, x, &all, got), NK_OK);
  expect("its value", got[0] == 7 && got[11] == 7 ? NK_OK : NK_ERROR_SHAPE, NK_OK);
}

static void test_joined(void) {
  nk_stream s = {.levels = 1, .kind = NK_KIND_CONV, .dilation_h = 1, .dilation_w = 1};
  const nk_conv_dims d = {1, 1, 1, 1, 1};
  nk_add_params p = sum_of_two();
  const nk_stream *stream = &s;
  const nk_add_params *sum = &p;
  const int8_t *other = x;
#define CALL nk_nested_conv2d_add_s8(stream, 0, &d, x, sum, other, y, NULL, 0)
  expect("no short form", CALL, NK_ERROR_ARGUMENT);
  p.short_constant = 1;
  REFUSE(p.activation_max, 128);
  REFUSE(p.activation_min, -129);
  REFUSE(s.kind, NK_KIND_DEPTHWISE);
  sum = NULL;
  expect("no sum", CALL, NK_ERROR_ARGUMENT);
  sum = &p;
  other = NULL;
  expect("no other operand", CALL, NK_ERROR_ARGUMENT);
  other = x;
  stream = NULL;
  expect("no stream", CALL, NK_ERROR_ARGUMENT);
#undef CALL
  const int32_t size = nk_nested_conv2d_add_s8_get_buffer_size(NULL, &d);
  expect("no buffer without a stream", size == -1 ? NK_OK : NK_ERROR_SHAPE, NK_OK);
}

int main(void) {
  fill();
  test_shorten();
  test_broadcast();
  test_parts_of_the_form();
  test_joined();
  return result();
}
