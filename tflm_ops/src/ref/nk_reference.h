/**
 * The portable references behind nk_depthwise_conv2d_s8() and nk_fully_connected_s8(), which have
 * checked the arguments, and the check that every nested kernel begins with.
 */
#ifndef NK_REFERENCE_H_
#define NK_REFERENCE_H_

#include <stddef.h>
#include <stdint.h>

#include "../../include/nk_nested_conv.h"
#include "../../include/nk_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The portable reference of nk_depthwise_conv2d_s8(). */
void nk_depthwise_conv2d_s8_ref(const nk_depthwise_conv2d_params *params,
                                const nk_dims4 *input_dims, const int8_t *input,
                                const nk_dims4 *output_dims, int8_t *output);

/** The portable reference of nk_fully_connected_s8(). */
void nk_fully_connected_s8_ref(const nk_fully_connected_params *params, int32_t rows,
                               const int8_t *input, int8_t *output);

/** Bytes of scratch that the kernel of a layer needs, once the levels can be read in place; -1 as
 * nk_nested_conv_s8_get_buffer_size(). */
int32_t nk_nested_conv_s8_get_kernel_size(const nk_stream *stream, const nk_conv_dims *dims);

/** Checks the arguments of a kernel and returns its status; kernels call this first. */
nk_status nk_nested_conv_s8_check(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                  const int8_t *input, const int8_t *output, const void *scratch,
                                  size_t scratch_size);

#ifdef __cplusplus
}
#endif

#endif  // NK_REFERENCE_H_
