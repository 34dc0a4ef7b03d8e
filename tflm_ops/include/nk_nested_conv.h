/**
 * NESTED_SPARSE_CONV: an int8 convolution, depthwise convolution or fully connected layer whose
 * weights are a packed stream of nested sparsity levels.
 *
 * With w the weights of levels 0 .. level, bias the unfolded bias of the stream, and no addition
 * for a padding pixel:
 *
 *     acc = sum of w * (input + input_offset)
 *     output = clamp(scale(acc + bias[level], multiplier[level], shift[level]) + output_offset,
 *                    activation_min, activation_max)
 *
 * where scale is nk_multiply_by_quantized_multiplier(), for a fully connected layer
 * nk_multiply_with_single_rounding(). Every level has its own bias, multiplier and shift, one per
 * output channel. The result equals TFLite's reference kernel on the dense filter of the level, bit
 * for bit.
 */
#ifndef NK_NESTED_CONV_H_
#define NK_NESTED_CONV_H_

#include <stddef.h>
#include <stdint.h>

#include "nk_ops.h"
#include "nk_status.h"
#include "nk_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Dimensions of the tensors; the channel counts are in the stream. Input
 * [batches][input_h][input_w][in_channels], output [batches][output_h][output_w][out_channels]. A
 * fully connected layer has `batches` rows and 1 for the rest.
 */
typedef struct nk_conv_dims {
  int32_t batches;
  int32_t input_h;
  int32_t input_w;
  int32_t output_h;
  int32_t output_w;
} nk_conv_dims;

/**
 * Returns the bytes of scratch that nk_nested_conv_s8() needs. The number is equal for all levels
 * and on all targets, so that another computer can plan the memory. Returns 0 for a layer without
 * scratch, and -1 for a null pointer or wrong dimensions (see NK_ERROR_SHAPE below).
 */
int32_t nk_nested_conv_s8_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims);

/**
 * Runs the layer at one level, with the fastest kernel for this target.
 *
 * - stream: opened, and validated once.
 * - level: 0 (sparsest) .. stream->levels - 1.
 * - dims: all positive; heights and widths at most 65535; at most INT32_MAX elements per tensor and
 *   in stride_h rows of the input; the last window must start inside the input, that is
 *   (output_h - 1) * stride_h - pad_top < input_h, and so for the width. 1x1 for a fully connected
 *   layer.
 * - input, output: must not overlap.
 * - scratch: 4-byte aligned, of at least nk_nested_conv_s8_get_buffer_size() bytes. The caller may
 *   use the memory for other things between calls. A convolution of several levels may be faster
 *   with 2 bytes more for each of its weights.
 *
 * Returns NK_OK; NK_ERROR_ARGUMENT (null pointer), NK_ERROR_LEVEL, NK_ERROR_SHAPE or
 * NK_ERROR_BUFFER, with the output untouched.
 */
nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size);

/**
 * nk_nested_conv_s8() links all kernels. The next three functions run some layers only, so that a
 * program which knows its layers links only the kernels that it needs. For any other layer, and for
 * a level that cannot be read in place (nk_stream.in_place_levels), a function returns
 * NK_ERROR_ARGUMENT and writes nothing. nk_nested_conv2d_s8() runs every layer without dilation
 * that the next two functions refuse.
 */
nk_status nk_nested_conv2d_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size);

/** A depthwise layer of 3x3 or 5x5 without dilation, of strides 1 and 2. */
nk_status nk_nested_depthwise_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                 const int8_t *input, int8_t *output, void *scratch,
                                 size_t scratch_size);

/** A fully connected layer. */
nk_status nk_nested_fully_connected_s8(const nk_stream *stream, int32_t level,
                                       const nk_conv_dims *dims, const int8_t *input,
                                       int8_t *output, void *scratch, size_t scratch_size);

/**
 * The same as nk_nested_conv2d_s8(), with 3 KB less of code on a Cortex-M with the DSP extension.
 * Convolutions with single weights (deltas of 8 bits) take more cycles.
 */
nk_status nk_nested_conv2d_small_s8(const nk_stream *stream, int32_t level,
                                    const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                                    void *scratch, size_t scratch_size);

/**
 * The same for any level. A level that cannot be read in place is unpacked into the scratch memory,
 * some channels at a time, so that more scratch memory than the least means fewer cycles.
 */
nk_status nk_nested_conv2d_parts_s8(const nk_stream *stream, int32_t level,
                                    const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                                    void *scratch, size_t scratch_size);
nk_status nk_nested_depthwise_parts_s8(const nk_stream *stream, int32_t level,
                                       const nk_conv_dims *dims, const int8_t *input,
                                       int8_t *output, void *scratch, size_t scratch_size);
nk_status nk_nested_fully_connected_parts_s8(const nk_stream *stream, int32_t level,
                                             const nk_conv_dims *dims, const int8_t *input,
                                             int8_t *output, void *scratch, size_t scratch_size);

/**
 * A convolution without dilation and the sum of its output with another tensor of the same shape,
 * without a tensor between: the same bytes as nk_nested_conv2d_s8() and then nk_add_s8(), whose
 * first operand is the output of the convolution. `sum` must have a short form (nk_ops.h). `output`
 * may be `other`, and must not overlap the input. The scratch buffer has another size.
 */
nk_status nk_nested_conv2d_add_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                  const int8_t *input, const nk_add_params *sum,
                                  const int8_t *other, int8_t *output, void *scratch,
                                  size_t scratch_size);

/** The same, like nk_nested_conv2d_small_s8(). */
nk_status nk_nested_conv2d_add_small_s8(const nk_stream *stream, int32_t level,
                                        const nk_conv_dims *dims, const int8_t *input,
                                        const nk_add_params *sum, const int8_t *other,
                                        int8_t *output, void *scratch, size_t scratch_size);

/** The same for any level, like nk_nested_conv2d_parts_s8(). */
nk_status nk_nested_conv2d_add_parts_s8(const nk_stream *stream, int32_t level,
                                        const nk_conv_dims *dims, const int8_t *input,
                                        const nk_add_params *sum, const int8_t *other,
                                        int8_t *output, void *scratch, size_t scratch_size);

/** Returns the bytes of scratch of the three functions above, or -1 as the other such function. */
int32_t nk_nested_conv2d_add_s8_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims);

/** The portable reference kernel: same contract and same result as nk_nested_conv_s8(), for levels
 * that can be read in place. */
nk_status nk_nested_conv_s8_ref(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch,
                                size_t scratch_size);

#ifdef __cplusplus
}
#endif

#endif  // NK_NESTED_CONV_H_
