/**
 * Calls one function of nk_ops.h or nk_detection.h with parameters, dimensions and pointers in and
 * out of their ranges, in buffers of just the right size. A call that is accepted must write every
 * byte of its output, and the same bytes each time; a call that is refused must write nothing.
 */
#include <stdbool.h>
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_depthwise.h"
#include "../../tflm_ops/src/cortex_m/nk_fully_connected.h"
#include "../../tflm_ops/src/ref/nk_geometry.h"
#include "../../tflm_ops/src/ref/nk_reference.h"
#include "fuzz_input.h"
#include "nk_detection.h"
#include "nk_ops.h"

#define MAX_ELEMENTS 4096
#define MAX_PRODUCTS (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIRST, SECOND, OUTPUT, TENSORS };
enum { FILTER, BIAS, MULTIPLIER, SHIFT, BLOCKS };

/** One call: what it passes, and the memory behind that. */
typedef struct call {
  union {
    nk_conv2d_params conv2d;
    nk_depthwise_conv2d_params depthwise;
    nk_fully_connected_params fully_connected;
    nk_add_params add;
    nk_mul_params mul;
    nk_pool2d_params pool;
    nk_mean_params mean;
    nk_pad_params pad;
    nk_rearrange_params rearrange;
    nk_resize_bilinear_params resize;
    nk_concatenation_params concatenation;
    nk_softmax_params softmax;
    nk_lookup_params lookup;
    nk_prelu_params prelu;
    nk_quantize_params quantize;
    nk_dequantize_params dequantize;
    nk_detection_params detection;
  } of;
  const void *params;
  nk_dims4 dims[TENSORS];
  const nk_dims4 *shape[TENSORS];
  int8_t *input[OUTPUT];
  void *block[BLOCKS];
  /** The counts that stand for dimensions. */
  int32_t rows;
  int32_t depth;
  size_t output_bytes;
  /** Set where the call would take too long or too much memory. */
  bool is_too_large;
} call;

/** Fills in parameters, dimensions and inputs of a call. */
typedef void maker(fuzz_input *in, call *c);
typedef nk_status runner(const call *c, int8_t *output);

/** Elements of a tensor; 0 where the dimensions are wrong or too large. */
static int32_t room_of(call *c, const nk_dims4 *dims) {
  const int32_t size = nk_dims4_size(dims);
  c->is_too_large = c->is_too_large || size > MAX_ELEMENTS;
  return c->is_too_large ? 0 : size;
}

static nk_dims4 take_dims(fuzz_input *in) {
  const nk_dims4 made = {take_number(in, 1, 2), take_number(in, 1, 9), take_number(in, 1, 9),
                         take_number(in, 1, 9)};
  return made;
}

/** Gives the call its inputs and its output, as large as the dimensions say. */
static void place_tensors(fuzz_input *in, call *c, int32_t inputs) {
  for (int32_t i = 0; i < inputs; ++i) {
    c->input[i] = take_block(in, (size_t)room_of(c, &c->dims[i]));
  }
  c->output_bytes = (size_t)room_of(c, &c->dims[OUTPUT]);
}

static void take_activation(fuzz_input *in, int32_t *min, int32_t *max) {
  const bool is_wide = take_byte(in) % 2 == 0;
  *min = is_wide ? -128 : take_number(in, -128, 0);
  *max = is_wide ? 127 : take_number(in, 0, 127);
}

/** A multiplier with its shift; often a usual one, for which there are faster ways. */
static void take_scale(fuzz_input *in, int32_t *multiplier, int32_t *shift) {
  *multiplier = take_number(in, 1 << 30, INT32_MAX);
  *shift = take_byte(in) % 4 == 0 ? take_number(in, -31, 30) : -take_between(in, 0, 11);
  if (take_byte(in) % 8 == 0) {
    *multiplier = 1 << 30;
    *shift = 0;
  }
}

/** An output of the operands' larger dimensions, or any; an operand may be broadcast. */
static void take_pair(fuzz_input *in, call *c) {
  c->dims[OUTPUT] = take_dims(in);
  for (int32_t i = FIRST; i <= SECOND; ++i) {
    c->dims[i] = c->dims[OUTPUT];
    const uint8_t change = take_byte(in);
    c->dims[i].n = change & 1 && change & 128 ? 1 : c->dims[i].n;
    c->dims[i].h = change & 2 && change & 128 ? 1 : c->dims[i].h;
    c->dims[i].w = change & 4 && change & 128 ? 1 : c->dims[i].w;
    c->dims[i].c = change & 8 && change & 128 ? take_number(in, 1, 9) : c->dims[i].c;
  }
  place_tensors(in, c, 2);
}

/* ---- convolutions and the matrix product ---------------------------------------------------- */

/** Filter and tables for `channels` output channels. */
static void take_tables(fuzz_input *in, call *c, const nk_dims4 *filter) {
  const int32_t weights = room_of(c, filter);
  const size_t channels = weights > 0 ? (size_t)filter->n : 0;
  int32_t *multiplier = fuzz_allocate(channels * sizeof(int32_t));
  int32_t *shift = fuzz_allocate(channels * sizeof(int32_t));
  for (size_t i = 0; i < channels; ++i) {
    take_scale(in, &multiplier[i], &shift[i]);
    multiplier[i] = take_byte(in) % 8 == 0 && multiplier[i] > 0 ? -multiplier[i] : multiplier[i];
  }
  c->block[MULTIPLIER] = multiplier;
  c->block[SHIFT] = shift;
  c->block[FILTER] = take_block(in, (size_t)weights);
  c->block[BIAS] = take_block(in, channels * sizeof(int32_t));
  const uint8_t missing = take_byte(in);
  if (missing > 255 - BLOCKS) {
    free(c->block[255 - missing]);
    c->block[255 - missing] = NULL;
  }
}

static void limit_products(call *c, const nk_dims4 *filter) {
  const int64_t outputs = nk_dims4_size(&c->dims[OUTPUT]);
  c->is_too_large = c->is_too_large || outputs * nk_dims4_size(filter) > MAX_PRODUCTS;
}

static void make_conv2d(fuzz_input *in, call *c) {
  nk_conv2d_params *p = &c->of.conv2d;
  c->dims[FIRST] = take_dims(in);
  c->dims[OUTPUT] = take_dims(in);
  const bool fits = take_byte(in) % 8 != 0;
  c->dims[OUTPUT].n = fits ? c->dims[FIRST].n : c->dims[OUTPUT].n;
  p->filter_dims =
      (nk_dims4){fits ? c->dims[OUTPUT].c : take_number(in, 1, 9), take_number(in, 1, 5),
                 take_number(in, 1, 5), fits ? c->dims[FIRST].c : take_number(in, 1, 9)};
  p->stride_h = take_number(in, 1, 3);
  p->stride_w = take_number(in, 1, 3);
  p->dilation_h = take_number(in, 1, 2);
  p->dilation_w = take_number(in, 1, 2);
  p->pad_top = take_number(in, 0, 3);
  p->pad_left = take_number(in, 0, 3);
  p->input_offset = take_number(in, -127, 128);
  p->output_offset = take_number(in, -128, 127);
  take_activation(in, &p->activation_min, &p->activation_max);
  take_tables(in, c, &p->filter_dims);
  p->filter = c->block[FILTER];
  p->bias = c->block[BIAS];
  p->multiplier = c->block[MULTIPLIER];
  p->shift = c->block[SHIFT];
  place_tensors(in, c, 1);
  limit_products(c, &p->filter_dims);
}

static nk_status run_conv2d(const call *c, int8_t *y) {
  return nk_conv2d_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
}

static void make_depthwise(fuzz_input *in, call *c) {
  call conv = {0};
  make_conv2d(in, &conv);
  const nk_conv2d_params *from = &conv.of.conv2d;
  nk_depthwise_conv2d_params *p = &c->of.depthwise;
  for (int32_t i = 0; i < BLOCKS; ++i) {
    free(conv.block[i]);
  }
  free(conv.input[FIRST]);
  memcpy(c->dims, conv.dims, sizeof(c->dims));
  p->depth_multiplier = take_number(in, 1, 3);
  const bool fits = take_byte(in) % 8 != 0;
  if (fits && nk_in_range(c->dims[FIRST].c, 1, 64) && nk_in_range(p->depth_multiplier, 1, 64)) {
    c->dims[OUTPUT].c = c->dims[FIRST].c * p->depth_multiplier;
  }
  const int32_t square = take_byte(in) % 2 == 0 ? 3 : 5;
  const bool is_usual = take_byte(in) % 2 == 0;
  p->filter_dims = (nk_dims4){c->dims[OUTPUT].c, is_usual ? square : from->filter_dims.h,
                              is_usual ? square : from->filter_dims.w, 1};
  p->stride_h = from->stride_h;
  p->stride_w = from->stride_w;
  p->dilation_h = is_usual ? 1 : from->dilation_h;
  p->dilation_w = is_usual ? 1 : from->dilation_w;
  p->pad_top = from->pad_top;
  p->pad_left = from->pad_left;
  p->input_offset = from->input_offset;
  p->output_offset = from->output_offset;
  p->activation_min = from->activation_min;
  p->activation_max = from->activation_max;
  take_tables(in, c, &p->filter_dims);
  p->filter = c->block[FILTER];
  p->bias = c->block[BIAS];
  p->multiplier = c->block[MULTIPLIER];
  p->shift = c->block[SHIFT];
  place_tensors(in, c, 1);
  limit_products(c, &p->filter_dims);
}

static nk_axis axis_of(const nk_depthwise_conv2d_params *p, const call *c, bool is_y) {
  const nk_dims4 *in = &c->dims[FIRST];
  const nk_dims4 *out = &c->dims[OUTPUT];
  const nk_axis y = {in->h, out->h, p->filter_dims.h, p->stride_h, p->dilation_h, p->pad_top};
  const nk_axis x = {in->w, out->w, p->filter_dims.w, p->stride_w, p->dilation_w, p->pad_left};
  return is_y ? y : x;
}

/** The kernel for the Cortex-M7 and the reference must agree. */
static nk_status run_depthwise(const call *c, int8_t *y) {
  const nk_status status =
      nk_depthwise_conv2d_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
  if (status == NK_OK) {
    const nk_axis axis_y = axis_of(c->params, c, true);
    const nk_axis axis_x = axis_of(c->params, c, false);
    int8_t *tuned = fuzz_allocate(c->output_bytes);
    memset(tuned, 0x33, c->output_bytes);
    if (nk_depthwise_s8_dsp_supports(&axis_y, &axis_x)) {
      nk_depthwise_conv2d_s8_dsp(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT],
                                 tuned);
      if (memcmp(tuned, y, c->output_bytes) != 0) {
        fuzz_fail("nk_depthwise_conv2d_s8_dsp: another output than the reference");
      }
    }
    free(tuned);
  }
  return status;
}

static void make_fully_connected(fuzz_input *in, call *c) {
  nk_fully_connected_params *p = &c->of.fully_connected;
  c->rows = take_number(in, 1, 5);
  p->filter_dims = (nk_dims4){take_number(in, 1, 40), take_byte(in) % 16 == 0 ? 2 : 1, 1,
                              take_number(in, 1, 80)};
  p->input_offset = take_number(in, -127, 128);
  p->output_offset = take_number(in, -128, 127);
  take_activation(in, &p->activation_min, &p->activation_max);
  take_tables(in, c, &p->filter_dims);
  p->filter = c->block[FILTER];
  p->bias = c->block[BIAS];
  p->multiplier = c->block[MULTIPLIER];
  p->shift = c->block[SHIFT];
  c->dims[FIRST] = (nk_dims4){c->rows, 1, 1, p->filter_dims.c};
  c->dims[OUTPUT] = (nk_dims4){c->rows, 1, 1, p->filter_dims.n};
  place_tensors(in, c, 1);
}

/** The kernel for the Cortex-M7 and the reference must agree. */
static nk_status run_fully_connected(const call *c, int8_t *y) {
  const nk_status status = nk_fully_connected_s8(c->params, c->rows, c->input[FIRST], y);
  if (status == NK_OK) {
    int8_t *tuned = fuzz_allocate(c->output_bytes);
    memset(tuned, 0x33, c->output_bytes);
    nk_fully_connected_s8_dsp(c->params, c->rows, c->input[FIRST], tuned);
    if (memcmp(tuned, y, c->output_bytes) != 0) {
      fuzz_fail("nk_fully_connected_s8_dsp: another output than the reference");
    }
    free(tuned);
  }
  return status;
}

/* ---- two operands --------------------------------------------------------------------------- */

static void make_add(fuzz_input *in, call *c) {
  nk_add_params *p = &c->of.add;
  p->left_shift = take_byte(in) % 4 != 0 ? 20 : take_number(in, 0, 22);
  p->input1_offset = take_number(in, -127, 128);
  take_scale(in, &p->input1_multiplier, &p->input1_shift);
  p->input2_offset = take_number(in, -127, 128);
  take_scale(in, &p->input2_multiplier, &p->input2_shift);
  p->output_offset = take_number(in, -128, 127);
  take_scale(in, &p->output_multiplier, &p->output_shift);
  take_activation(in, &p->activation_min, &p->activation_max);
  p->short_factor1 = take_number(in, INT32_MIN + 1, INT32_MAX);
  p->short_factor2 = take_number(in, INT32_MIN + 1, INT32_MAX);
  p->short_constant = take_number(in, INT32_MIN + 1, INT32_MAX);
  take_pair(in, c);
}

static nk_status run_add(const call *c, int8_t *y) {
  return nk_add_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[SECOND], c->input[SECOND],
                   c->shape[OUTPUT], y);
}

static nk_status run_sub(const call *c, int8_t *y) {
  return nk_sub_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[SECOND], c->input[SECOND],
                   c->shape[OUTPUT], y);
}

static void make_mul(fuzz_input *in, call *c) {
  nk_mul_params *p = &c->of.mul;
  p->input1_offset = take_number(in, -127, 128);
  p->input2_offset = take_number(in, -127, 128);
  p->output_offset = take_number(in, -128, 127);
  take_scale(in, &p->output_multiplier, &p->output_shift);
  take_activation(in, &p->activation_min, &p->activation_max);
  take_pair(in, c);
}

static nk_status run_mul(const call *c, int8_t *y) {
  return nk_mul_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[SECOND], c->input[SECOND],
                   c->shape[OUTPUT], y);
}

static nk_status run_maximum(const call *c, int8_t *y) {
  return nk_maximum_s8(c->shape[FIRST], c->input[FIRST], c->shape[SECOND], c->input[SECOND],
                       c->shape[OUTPUT], y);
}

static nk_status run_minimum(const call *c, int8_t *y) {
  return nk_minimum_s8(c->shape[FIRST], c->input[FIRST], c->shape[SECOND], c->input[SECOND],
                       c->shape[OUTPUT], y);
}

static void make_prelu(fuzz_input *in, call *c) {
  nk_prelu_params *p = &c->of.prelu;
  p->input_offset = take_number(in, -127, 128);
  p->alpha_offset = take_number(in, -127, 128);
  p->output_offset = take_number(in, -128, 127);
  take_scale(in, &p->positive_multiplier, &p->positive_shift);
  take_scale(in, &p->negative_multiplier, &p->negative_shift);
  take_pair(in, c);
}

static nk_status run_prelu(const call *c, int8_t *y) {
  return nk_prelu_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[SECOND],
                     c->input[SECOND], c->shape[OUTPUT], y);
}

/* ---- windows and means ---------------------------------------------------------------------- */

static void make_pool(fuzz_input *in, call *c) {
  nk_pool2d_params *p = &c->of.pool;
  c->dims[FIRST] = take_dims(in);
  c->dims[OUTPUT] = take_dims(in);
  if (take_byte(in) % 8 != 0) {
    c->dims[OUTPUT].n = c->dims[FIRST].n;
    c->dims[OUTPUT].c = c->dims[FIRST].c;
  }
  p->filter_h = take_number(in, 1, 20);
  p->filter_w = take_number(in, 1, 20);
  p->stride_h = take_number(in, 1, 3);
  p->stride_w = take_number(in, 1, 3);
  p->pad_top = take_number(in, 0, 3);
  p->pad_left = take_number(in, 0, 3);
  take_activation(in, &p->activation_min, &p->activation_max);
  place_tensors(in, c, 1);
}

static nk_status run_average(const call *c, int8_t *y) {
  return nk_average_pool2d_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
}

static nk_status run_max(const call *c, int8_t *y) {
  return nk_max_pool2d_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
}

static void make_mean(fuzz_input *in, call *c) {
  nk_mean_params *p = &c->of.mean;
  c->dims[FIRST] = take_dims(in);
  c->dims[OUTPUT] = (nk_dims4){c->dims[FIRST].n, 1, 1, c->dims[FIRST].c};
  p->input_offset = take_number(in, -127, 128);
  p->output_offset = take_number(in, -128, 127);
  take_scale(in, &p->multiplier, &p->shift);
  place_tensors(in, c, 1);
}

static nk_status run_mean(const call *c, int8_t *y) {
  return nk_mean_s8(c->params, c->shape[FIRST], c->input[FIRST], y);
}

/* ---- other places ---------------------------------------------------------------------------- */

static void make_pad(fuzz_input *in, call *c) {
  nk_pad_params *p = &c->of.pad;
  c->dims[FIRST] = take_dims(in);
  int32_t sizes[4] = {c->dims[FIRST].n, c->dims[FIRST].h, c->dims[FIRST].w, c->dims[FIRST].c};
  for (int32_t axis = 0; axis < 4; ++axis) {
    p->paddings[axis][0] = take_number(in, 0, 2);
    p->paddings[axis][1] = take_number(in, 0, 2);
    const int64_t size = (int64_t)sizes[axis] + p->paddings[axis][0] + p->paddings[axis][1];
    sizes[axis] = size > INT32_MAX || take_byte(in) % 32 == 0 ? take_number(in, 1, 9)
                                                              : (int32_t)nk_max((int32_t)size, 0);
  }
  p->value = take_number(in, -128, 127);
  c->dims[OUTPUT] = (nk_dims4){sizes[0], sizes[1], sizes[2], sizes[3]};
  place_tensors(in, c, 1);
}

static nk_status run_pad(const call *c, int8_t *y) {
  return nk_pad_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
}

static void make_rearrange(fuzz_input *in, call *c) {
  nk_rearrange_params *p = &c->of.rearrange;
  int64_t count = 1;
  for (int32_t axis = 0; axis < 6; ++axis) {
    p->sizes[axis] = take_number(in, 1, 4);
    p->strides[axis] = take_number(in, -8, 8);
    count = count > MAX_ELEMENTS || count < 1 ? count : count * p->sizes[axis];
  }
  p->offset = take_number(in, 0, 64);
  c->rows = take_byte(in) % 8 == 0 ? 3200 : take_number(in, 1, 200);
  c->depth = nk_in_range((int32_t)nk_min((int32_t)count, MAX_ELEMENTS), 1, MAX_ELEMENTS)
                 ? (int32_t)count
                 : take_number(in, 1, 64);
  c->dims[FIRST] = (nk_dims4){1, 1, 1, c->rows};
  c->dims[OUTPUT] = (nk_dims4){1, 1, 1, c->depth};
  place_tensors(in, c, 1);
}

static nk_status run_rearrange(const call *c, int8_t *y) {
  return nk_rearrange_s8(c->params, c->rows, c->input[FIRST], c->depth, y);
}

static void make_resize(fuzz_input *in, call *c) {
  nk_resize_bilinear_params *p = &c->of.resize;
  c->dims[FIRST] = take_dims(in);
  c->dims[OUTPUT] = take_dims(in);
  if (take_byte(in) % 8 != 0) {
    c->dims[OUTPUT].n = c->dims[FIRST].n;
    c->dims[OUTPUT].c = c->dims[FIRST].c;
  }
  p->step_h = take_number(in, 0, 1200);
  p->step_w = take_number(in, 0, 1200);
  p->start_h = take_number(in, -512, 600);
  p->start_w = take_number(in, -512, 600);
  place_tensors(in, c, 1);
}

static nk_status run_resize(const call *c, int8_t *y) {
  return nk_resize_bilinear_s8(c->params, c->shape[FIRST], c->input[FIRST], c->shape[OUTPUT], y);
}

static int32_t *axis_in(nk_dims4 *dims, int32_t axis) {
  int32_t *const all[] = {&dims->n, &dims->h, &dims->w, &dims->c};
  return nk_in_range(axis, 0, 3) ? all[axis] : &dims->n;
}

static void make_concatenation(fuzz_input *in, call *c) {
  c->of.concatenation.axis = take_number(in, 0, 3);
  const int32_t axis = c->of.concatenation.axis;
  c->rows = take_byte(in) % 16 == 0 ? take_number(in, -1, 2) : 2;
  c->rows = nk_min(c->rows, 2);
  c->dims[FIRST] = take_dims(in);
  c->dims[SECOND] = take_byte(in) % 16 == 0 ? take_dims(in) : c->dims[FIRST];
  *axis_in(&c->dims[SECOND], axis) = take_number(in, 1, 5);
  c->dims[OUTPUT] = take_byte(in) % 16 == 0 ? take_dims(in) : c->dims[FIRST];
  const int64_t sum = (int64_t)*axis_in(&c->dims[FIRST], axis) +
                      (c->rows == 2 ? *axis_in(&c->dims[SECOND], axis) : 0);
  *axis_in(&c->dims[OUTPUT], axis) = nk_in_range((int32_t)(sum >> 31), 0, 0) ? (int32_t)sum : 0;
  place_tensors(in, c, 2);
}

static nk_status run_concatenation(const call *c, int8_t *y) {
  const int8_t *const inputs[] = {c->input[FIRST], c->input[SECOND]};
  return nk_concatenation_s8(c->params, c->rows, c->shape[FIRST] == NULL ? NULL : c->dims, inputs,
                             c->shape[OUTPUT], y);
}

/* ---- element by element -----------------------------------------------------------------------
 */

static void take_row(fuzz_input *in, call *c, size_t input_bytes, size_t output_bytes) {
  c->rows = take_number(in, 1, 100);
  c->is_too_large = c->rows > MAX_ELEMENTS;
  const size_t size = c->rows > 0 && !c->is_too_large ? (size_t)c->rows : 0;
  c->input[FIRST] = take_block(in, size * input_bytes);
  c->output_bytes = size * output_bytes;
}

static void make_softmax(fuzz_input *in, call *c) {
  nk_softmax_params *p = &c->of.softmax;
  p->input_multiplier = take_number(in, 1 << 30, INT32_MAX);
  p->input_left_shift = take_byte(in) % 4 == 0 ? take_number(in, 0, 31) : take_between(in, 15, 25);
  p->diff_min = take_byte(in) % 4 == 0 ? take_number(in, -255, 0) : -take_between(in, 0, 63);
  c->rows = take_number(in, 1, 4);
  c->depth = take_byte(in) % 16 == 0 ? take_number(in, 1, 8191) : take_number(in, 1, 40);
  c->dims[FIRST] = c->dims[OUTPUT] = (nk_dims4){1, 1, c->rows, c->depth};
  c->is_too_large = c->is_too_large || nk_dims4_size(&c->dims[FIRST]) > MAX_ELEMENTS;
  place_tensors(in, c, 1);
}

static nk_status run_softmax(const call *c, int8_t *y) {
  return nk_softmax_s8(c->params, c->rows, c->depth, c->input[FIRST], y);
}

static void make_lookup(fuzz_input *in, call *c) {
  c->block[FILTER] = take_block(in, 256);
  c->of.lookup.table = c->block[FILTER];
  take_row(in, c, 1, 1);
}

static nk_status run_lookup(const call *c, int8_t *y) {
  return nk_lookup_s8(c->params, c->rows, c->input[FIRST], y);
}

/** Any float, also the infinite ones and those that are no numbers. */
static float take_scale_f32(fuzz_input *in) {
  float scale = 0.003f * (float)(1 + take_byte(in));
  if (take_byte(in) % 8 == 0) {
    const int32_t bits = take_int32(in);
    memcpy(&scale, &bits, sizeof(scale));
  }
  return scale;
}

static void make_quantize(fuzz_input *in, call *c) {
  c->of.quantize.scale = take_scale_f32(in);
  c->of.quantize.zero_point = take_number(in, -128, 127);
  take_row(in, c, sizeof(float), 1);
}

static nk_status run_quantize(const call *c, int8_t *y) {
  return nk_quantize_f32_s8(c->params, c->rows, (const float *)(void *)c->input[FIRST], y);
}

static void make_dequantize(fuzz_input *in, call *c) {
  c->of.dequantize.scale = take_scale_f32(in);
  c->of.dequantize.zero_point = take_number(in, -128, 127);
  take_row(in, c, 1, sizeof(float));
}

static nk_status run_dequantize(const call *c, int8_t *y) {
  return nk_dequantize_s8_f32(c->params, c->rows, c->input[FIRST], (float *)(void *)y);
}

/* ---- detection ------------------------------------------------------------------------------ */

static uint32_t *falling_table(fuzz_input *in) {
  uint32_t *table = fuzz_allocate(256 * sizeof(*table));
  const uint32_t step = take_byte(in);
  table[0] = 1u << NK_DETECTION_SCORE_BITS;
  for (int32_t i = 1; i < 256; ++i) {
    table[i] = (uint32_t)((uint64_t)table[i - 1] * (256 - step) / 256);
  }
  if (take_byte(in) % 16 == 0) {
    table[take_byte(in)] = (uint32_t)take_int32(in);
  }
  return table;
}

static void make_detection(fuzz_input *in, call *c) {
  nk_detection_params *p = &c->of.detection;
  p->anchors = take_number(in, 1, 60);
  p->classes = take_number(in, 1, 5);
  p->offset = take_number(in, -127, 128);
  take_scale(in, &p->multiplier, &p->shift);
  p->score_threshold = take_number(in, 1, 1 << NK_DETECTION_SCORE_BITS);
  p->iou_threshold = take_number(in, 0, 16384);
  p->max_boxes = take_number(in, 1, 20);
  p->max_candidates = take_number(in, 20, 80);
  c->dims[FIRST] = (nk_dims4){1, 1, p->anchors, 4};
  c->dims[SECOND] = (nk_dims4){1, 1, p->anchors, p->classes < INT32_MAX ? p->classes + 1 : 0};
  c->dims[OUTPUT] = (nk_dims4){1, 1, 1, 1};
  c->is_too_large = p->anchors > MAX_ELEMENTS;
  place_tensors(in, c, 2);
  const size_t anchors = p->anchors > 0 && !c->is_too_large ? (size_t)p->anchors : 0;
  c->block[FILTER] = falling_table(in);
  c->block[BIAS] = take_block(in, 256 * sizeof(uint32_t));
  c->block[MULTIPLIER] = take_block(in, anchors * 4 * sizeof(uint16_t));
  p->exp_table = c->block[FILTER];
  p->size_table = c->block[BIAS];
  p->anchor_table = c->block[MULTIPLIER];
}

/** Checks each box that is found, and leaves the first in the output. */
static nk_status run_detection(const call *c, int8_t *y) {
  const int32_t needed = nk_detection_s8_get_buffer_size(c->params);
  const size_t room = needed > 0 ? (size_t)needed : 0;
  const size_t boxes = nk_in_range(c->of.detection.max_boxes, 1, NK_DETECTION_MAX_BOXES)
                           ? (size_t)c->of.detection.max_boxes
                           : 1;
  void *scratch = fuzz_allocate(room);
  nk_detection *found = fuzz_allocate(boxes * sizeof(*found));
  int32_t count = -1;
  const nk_status status =
      nk_detection_s8(c->params, c->input[FIRST], c->input[SECOND], scratch, room, found, &count);
  if (status == NK_OK && !nk_in_range(count, 0, (int32_t)boxes)) {
    fuzz_fail("nk_detection_s8 found another number of boxes than it may");
  }
  if (status != NK_OK && count != -1) {
    fuzz_fail("nk_detection_s8 refused its arguments and wrote the number of boxes");
  }
  for (int32_t i = 0; i < count; ++i) {
    const nk_detection *box = &found[i];
    if (!(0 <= box->ymin && box->ymin < box->ymax && box->ymax <= 16384 && 0 <= box->xmin &&
          box->xmin < box->xmax && box->xmax <= 16384) ||
        !nk_in_range(box->class_index, 0, c->of.detection.classes - 1) ||
        box->score < c->of.detection.score_threshold ||
        (i > 0 && box->score > found[i - 1].score)) {
      fuzz_fail("nk_detection_s8 found a box that is none");
    }
  }
  if (status == NK_OK) {
    *y = (int8_t)count;
  }
  free(found);
  free(scratch);
  return status;
}

/* ---- one call ------------------------------------------------------------------------------- */

static const struct {
  maker *make;
  runner *run;
} kFunctions[] = {
    {make_conv2d, run_conv2d},
    {make_depthwise, run_depthwise},
    {make_add, run_add},
    {make_fully_connected, run_fully_connected},
    {make_add, run_sub},
    {make_mul, run_mul},
    {take_pair, run_maximum},
    {take_pair, run_minimum},
    {make_prelu, run_prelu},
    {make_pool, run_average},
    {make_pool, run_max},
    {make_mean, run_mean},
    {make_pad, run_pad},
    {make_rearrange, run_rearrange},
    {make_resize, run_resize},
    {make_concatenation, run_concatenation},
    {make_softmax, run_softmax},
    {make_lookup, run_lookup},
    {make_quantize, run_quantize},
    {make_dequantize, run_dequantize},
    {make_detection, run_detection},
};

/** Runs a call into an output that is full of `filler`, which a refused call must leave. */
static nk_status run_over(const call *c, runner *run, int8_t *output, uint8_t filler) {
  memset(output, filler, c->output_bytes);
  const nk_status status = run(c, output);
  if (status != NK_OK && status != NK_ERROR_ARGUMENT && status != NK_ERROR_SHAPE &&
      status != NK_ERROR_BUFFER) {
    fuzz_fail("a status that no operator returns");
  }
  for (size_t i = 0; status != NK_OK && i < c->output_bytes; ++i) {
    if ((uint8_t)output[i] != filler) {
      fuzz_fail("a call was refused and wrote to its output");
    }
  }
  return status;
}

static void run_twice(const call *c, runner *run) {
  int8_t *first = fuzz_allocate(c->output_bytes);
  int8_t *second = fuzz_allocate(c->output_bytes);
  const nk_status status = run_over(c, run, first, 0x55);
  if (run_over(c, run, second, 0xaa) != status) {
    fuzz_fail("the same call has another status");
  }
  if (status == NK_OK && memcmp(first, second, c->output_bytes) != 0) {
    fuzz_fail("the same call has another output, or leaves bytes of its output unwritten");
  }
  free(second);
  free(first);
}

/** Makes one pointer of the call null, for few inputs. */
static void drop_pointer(fuzz_input *in, call *c) {
  switch (take_byte(in)) {
    case 1:
      c->params = NULL;
      break;
    case 2:
      c->shape[FIRST] = NULL;
      break;
    case 3:
      c->shape[SECOND] = NULL;
      break;
    case 4:
      c->shape[OUTPUT] = NULL;
      break;
    case 5:
      free(c->input[FIRST]);
      c->input[FIRST] = NULL;
      break;
    case 6:
      free(c->input[SECOND]);
      c->input[SECOND] = NULL;
      break;
    default:
      break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input in = {data, size};
  const size_t function = take_byte(&in) % (sizeof(kFunctions) / sizeof(kFunctions[0]));
  fuzz_input drop = {data + 1, size > 1 ? 1 : 0};
  take_byte(&in);
  call c = {0};
  c.params = &c.of;
  for (int32_t i = 0; i < TENSORS; ++i) {
    c.shape[i] = &c.dims[i];
  }
  kFunctions[function].make(&in, &c);
  drop_pointer(&drop, &c);
  if (!c.is_too_large) {
    run_twice(&c, kFunctions[function].run);
  }
  for (int32_t i = 0; i < BLOCKS; ++i) {
    free(c.block[i]);
  }
  free(c.input[FIRST]);
  free(c.input[SECOND]);
  return 0;
}
