/**
 * The other int8 operators that generated code needs, each bit-exact with TFLite's reference kernel
 * (BUILTIN_REF).
 *
 * Conventions:
 * - The parameter structs have the field names of the dataclasses in nested_keras/tflite/operators.
 * - Tensors are NHWC and dense. A tensor of lower rank is passed with leading dimensions of 1:
 *   [10] is {1, 1, 1, 10}.
 * - Input and output buffers must not overlap, except that the output of an element-wise function
 *   (add, sub, mul, maximum, minimum, prelu, lookup) may lie exactly where an input of the same
 *   dimensions lies. No function needs scratch memory.
 * - An input offset is minus the zero point (-127 .. 128), an output offset the zero point
 *   (-128 .. 127).
 * - Multipliers are Q31 in 0 .. 2^31 - 1 unless a comment gives another range; shifts are in
 *   -31 .. 30, positive to the left.
 * - -128 <= activation_min <= activation_max <= 127.
 * - Windows: strides and dilations are in 1 .. 65535, paddings in 0 .. 65535, and
 *   (kernel - 1) * dilation is at most 65535 * 255; heights and widths are at most 65535.
 *
 * Every function returns NK_OK, NK_ERROR_ARGUMENT (null pointer, parameter out of range) or
 * NK_ERROR_SHAPE (dimensions that are not positive, have more than INT32_MAX elements, or do not
 * fit each other). After an error the output is unchanged.
 */
#ifndef NK_OPS_H_
#define NK_OPS_H_

#include <stdint.h>

#include "nk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Dimensions of an NHWC tensor, or of an OHWI filter with n = output channels. */
typedef struct nk_dims4 {
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
} nk_dims4;

/** Dense convolution. */
typedef struct nk_conv2d_params {
  /** [out_channels][kernel_h][kernel_w][in_channels], dimensions in filter_dims. */
  const int8_t *filter;
  nk_dims4 filter_dims;
  /** One per output channel; a multiplier may be negative here, -(2^31 - 1) .. 2^31 - 1. */
  const int32_t *bias;
  const int32_t *multiplier;
  const int32_t *shift;
  int32_t stride_h;
  int32_t stride_w;
  int32_t dilation_h;
  int32_t dilation_w;
  int32_t pad_top;
  int32_t pad_left;
  int32_t input_offset;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
} nk_conv2d_params;

/** TFLite's CONV_2D; the last window must start inside the input. */
nk_status nk_conv2d_s8(const nk_conv2d_params *params, const nk_dims4 *input_dims,
                       const int8_t *input, const nk_dims4 *output_dims, int8_t *output);

/** Dense depthwise convolution: output channel c reads input channel c / depth_multiplier. */
typedef struct nk_depthwise_conv2d_params {
  /**
   * [out_channels][kernel_h][kernel_w][1], dimensions in filter_dims. TFLite has another order,
   * with the channels last.
   */
  const int8_t *filter;
  nk_dims4 filter_dims;
  /** One per output channel; a multiplier may be negative here, -(2^31 - 1) .. 2^31 - 1. */
  const int32_t *bias;
  const int32_t *multiplier;
  const int32_t *shift;
  int32_t stride_h;
  int32_t stride_w;
  int32_t dilation_h;
  int32_t dilation_w;
  int32_t pad_top;
  int32_t pad_left;
  int32_t input_offset;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  /** Output channels per input channel, at least 1. */
  int32_t depth_multiplier;
} nk_depthwise_conv2d_params;

/** TFLite's DEPTHWISE_CONV_2D; the last window must start inside the input. */
nk_status nk_depthwise_conv2d_s8(const nk_depthwise_conv2d_params *params,
                                 const nk_dims4 *input_dims, const int8_t *input,
                                 const nk_dims4 *output_dims, int8_t *output);

/** Dense matrix product; the multiplier is applied with one rounding, unlike in a convolution. */
typedef struct nk_fully_connected_params {
  /** [out_features][in_features], dimensions {out_features, 1, 1, in_features} in filter_dims. */
  const int8_t *filter;
  nk_dims4 filter_dims;
  /** One per output feature; a multiplier may be negative here, -(2^31 - 1) .. 2^31 - 1. */
  const int32_t *bias;
  const int32_t *multiplier;
  const int32_t *shift;
  int32_t input_offset;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
} nk_fully_connected_params;

/** Input [rows][in_features], output [rows][out_features]. */
nk_status nk_fully_connected_s8(const nk_fully_connected_params *params, int32_t rows,
                                const int8_t *input, int8_t *output);

/**
 * Sum of two tensors; left_shift is in 0 .. 22.
 *
 * The last three fields are a short form of the sum, which the caller vouches for: for all values
 * of both operands the short form (docs/kernels.md) equals the formula. nk_add_s8_shorten() finds
 * the three numbers; three zeros stand for no short form.
 */
typedef struct nk_add_params {
  int32_t left_shift;
  int32_t input1_offset;
  int32_t input1_multiplier;
  int32_t input1_shift;
  int32_t input2_offset;
  int32_t input2_multiplier;
  int32_t input2_shift;
  int32_t output_offset;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t activation_min;
  int32_t activation_max;
  int32_t short_factor1;
  int32_t short_factor2;
  int32_t short_constant;
} nk_add_params;

/**
 * Fills in the short form of a sum, or three zeros where the sum has none. Takes about 3 million
 * instructions, for which a program has time once, at its start. Returns NK_ERROR_ARGUMENT for a
 * null pointer or a parameter out of range.
 */
nk_status nk_add_s8_shorten(nk_add_params *params);

/** Adds with broadcasting: a dimension of an operand may be 1 where the output has more. */
nk_status nk_add_s8(const nk_add_params *params, const nk_dims4 *input1_dims, const int8_t *input1,
                    const nk_dims4 *input2_dims, const int8_t *input2, const nk_dims4 *output_dims,
                    int8_t *output);

/** Parameters of "first tensor minus second tensor". */
typedef nk_add_params nk_sub_params;

/** Broadcasts as nk_add_s8(). */
nk_status nk_sub_s8(const nk_sub_params *params, const nk_dims4 *input1_dims, const int8_t *input1,
                    const nk_dims4 *input2_dims, const int8_t *input2, const nk_dims4 *output_dims,
                    int8_t *output);

/** Product of two tensors. */
typedef struct nk_mul_params {
  int32_t input1_offset;
  int32_t input2_offset;
  int32_t output_offset;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t activation_min;
  int32_t activation_max;
} nk_mul_params;

/** Broadcasts as nk_add_s8(). */
nk_status nk_mul_s8(const nk_mul_params *params, const nk_dims4 *input1_dims, const int8_t *input1,
                    const nk_dims4 *input2_dims, const int8_t *input2, const nk_dims4 *output_dims,
                    int8_t *output);

/**
 * The larger of two tensors, element by element. Broadcasts as nk_add_s8(). The operands share
 * scale and zero point with the output.
 */
nk_status nk_maximum_s8(const nk_dims4 *input1_dims, const int8_t *input1,
                        const nk_dims4 *input2_dims, const int8_t *input2,
                        const nk_dims4 *output_dims, int8_t *output);

/** The smaller of two tensors, element by element, with the rules of nk_maximum_s8(). */
nk_status nk_minimum_s8(const nk_dims4 *input1_dims, const int8_t *input1,
                        const nk_dims4 *input2_dims, const int8_t *input2,
                        const nk_dims4 *output_dims, int8_t *output);

/**
 * Pooling window; padding pixels do not count. Paddings are below the filter's size, and the filter
 * has fewer than 2^23 pixels.
 */
typedef struct nk_pool2d_params {
  int32_t filter_h;
  int32_t filter_w;
  int32_t stride_h;
  int32_t stride_w;
  int32_t pad_top;
  int32_t pad_left;
  int32_t activation_min;
  int32_t activation_max;
} nk_pool2d_params;

typedef nk_pool2d_params nk_average_pool2d_params;
typedef nk_pool2d_params nk_max_pool2d_params;

/** Average of the window's valid pixels, rounded half away from zero. Every window must touch the
 * input. */
nk_status nk_average_pool2d_s8(const nk_average_pool2d_params *params, const nk_dims4 *input_dims,
                               const int8_t *input, const nk_dims4 *output_dims, int8_t *output);

/** Maximum of the window's valid pixels. Every window must touch the input. */
nk_status nk_max_pool2d_s8(const nk_max_pool2d_params *params, const nk_dims4 *input_dims,
                           const int8_t *input, const nk_dims4 *output_dims, int8_t *output);

typedef struct nk_mean_params {
  int32_t input_offset;
  int32_t output_offset;
  /** input scale / (output scale * number of pixels) */
  int32_t multiplier;
  int32_t shift;
} nk_mean_params;

/** Mean over height and width, fewer than 2^23 pixels: output [n][c], n * c elements. */
nk_status nk_mean_s8(const nk_mean_params *params, const nk_dims4 *input_dims, const int8_t *input,
                     int8_t *output);

typedef struct nk_pad_params {
  /** {before, after} of n, h, w and c, each at least 0. */
  int32_t paddings[4][2];
  /** The int8 value of a padded element. */
  int32_t value;
} nk_pad_params;

/** Output dimension = before + input dimension + after. */
nk_status nk_pad_s8(const nk_pad_params *params, const nk_dims4 *input_dims, const int8_t *input,
                    const nk_dims4 *output_dims, int8_t *output);

typedef struct nk_rearrange_params {
  /** Elements along each axis of the output, the last axis the fastest; each at least 1. */
  int32_t sizes[6];
  /** Steps in the input along each axis, in elements: 0 repeats, below 0 reverses. */
  int32_t strides[6];
  /** Place in the input of the first element. */
  int32_t offset;
} nk_rearrange_params;

/**
 * Copies each output element from one place of the input: slices, transpositions, depth to space
 * and its reverse, and repetitions of pixels.
 */
nk_status nk_rearrange_s8(const nk_rearrange_params *params, int32_t input_size,
                          const int8_t *input, int32_t output_size, int8_t *output);

typedef struct nk_resize_bilinear_params {
  /** Steps in the input from one output pixel to the next, in 1/1024 pixels: 0 .. 2^26. */
  int32_t step_h;
  int32_t step_w;
  /** Place of the first output pixel, in 1/1024 pixels: -512 .. 2^26. */
  int32_t start_h;
  int32_t start_w;
} nk_resize_bilinear_params;

/** TFLite's RESIZE_BILINEAR: the four nearest pixels, weighted in 1/1024. */
nk_status nk_resize_bilinear_s8(const nk_resize_bilinear_params *params, const nk_dims4 *input_dims,
                                const int8_t *input, const nk_dims4 *output_dims, int8_t *output);

typedef struct nk_concatenation_params {
  /** 0 .. 3: n, h, w or c of nk_dims4. A tensor of rank r counts its own axis a as a + 4 - r. */
  int32_t axis;
} nk_concatenation_params;

/**
 * Joins `count` tensors (at least 1) along one axis; the other dimensions equal the output's.
 * The operands share scale and zero point with the output.
 */
nk_status nk_concatenation_s8(const nk_concatenation_params *params, int32_t count,
                              const nk_dims4 *input_dims, const int8_t *const *inputs,
                              const nk_dims4 *output_dims, int8_t *output);

typedef struct nk_softmax_params {
  /** beta * input scale as Q31 multiplier with a left shift in 0 .. 31, scaled to Q5.26. */
  int32_t input_multiplier;
  int32_t input_left_shift;
  /**
   * At most 0. A difference to the row's maximum below diff_min gives a probability of zero.
   * diff_min * 2^input_left_shift must not be below -2^31.
   */
  int32_t diff_min;
} nk_softmax_params;

/** Softmax of each of `rows` rows of `depth` elements, at most 8191; output scale 1/256, zero point
 * -128. */
nk_status nk_softmax_s8(const nk_softmax_params *params, int32_t rows, int32_t depth,
                        const int8_t *input, int8_t *output);

typedef struct nk_lookup_params {
  /** [256] */
  const int8_t *table;
} nk_lookup_params;

/** output[i] = table[input[i] + 128] for `size` elements. */
nk_status nk_lookup_s8(const nk_lookup_params *params, int32_t size, const int8_t *input,
                       int8_t *output);

/** x for x >= 0, alpha * x for x < 0; each of the two branches has its own multiplier. */
typedef struct nk_prelu_params {
  int32_t input_offset;
  int32_t alpha_offset;
  int32_t output_offset;
  int32_t positive_multiplier;
  int32_t positive_shift;
  int32_t negative_multiplier;
  int32_t negative_shift;
} nk_prelu_params;

/** Broadcasts as nk_add_s8(). */
nk_status nk_prelu_s8(const nk_prelu_params *params, const nk_dims4 *input_dims,
                      const int8_t *input, const nk_dims4 *alpha_dims, const int8_t *alpha,
                      const nk_dims4 *output_dims, int8_t *output);

typedef struct nk_quantize_params {
  /** Positive and finite. */
  float scale;
  /** -128 .. 127 */
  int32_t zero_point;
} nk_quantize_params;

/**
 * output[i] = clamp(round(input[i] / scale) + zero_point), halves away from zero, for `size`
 * elements. Infinities saturate; a NaN gives the zero point.
 */
nk_status nk_quantize_f32_s8(const nk_quantize_params *params, int32_t size, const float *input,
                             int8_t *output);

typedef struct nk_dequantize_params {
  /** Positive and finite. */
  float scale;
  /** -128 .. 127 */
  int32_t zero_point;
} nk_dequantize_params;

/** output[i] = scale * (input[i] - zero_point) for `size` elements. */
nk_status nk_dequantize_s8_f32(const nk_dequantize_params *params, int32_t size,
                               const int8_t *input, float *output);

#ifdef __cplusplus
}
#endif

#endif  // NK_OPS_H_
