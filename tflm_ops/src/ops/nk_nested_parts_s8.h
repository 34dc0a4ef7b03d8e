/** Runs a layer part by part: nk_stream_parts.h with a kernel. */
#ifndef NK_NESTED_PARTS_S8_H_
#define NK_NESTED_PARTS_S8_H_

#include "../../include/nk_nested_conv.h"
#include "../stream/nk_stream_parts.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A function that runs streams in place, such as nk_nested_conv2d_s8(). */
typedef nk_status nk_nested_kernel(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                   const int8_t *input, int8_t *output, void *scratch,
                                   size_t scratch_size);

/** The bytes of scratch that such a function needs; -1 for wrong dimensions. */
typedef int32_t nk_nested_kernel_size(const nk_stream *stream, const nk_conv_dims *dims);

/** Bytes of scratch for a layer in parts, equal on every target; -1 for wrong dimensions. */
int32_t nk_nested_parts_s8_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims,
                                           nk_nested_kernel_size *kernel_size);

/**
 * Starts before the first part. `*parts` lies in the scratch memory, whose rest is for the kernel.
 * Returns NK_OK, NK_ERROR_LEVEL, NK_ERROR_SHAPE or NK_ERROR_BUFFER.
 */
nk_status nk_nested_parts_s8_check(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                   nk_nested_kernel_size *kernel_size, void *scratch,
                                   size_t scratch_size, nk_stream_parts **parts);

/** Runs a layer: a level that can be read in place at once if the scratch memory is enough, any
 * other level in parts. */
nk_status nk_nested_parts_s8(nk_nested_kernel *kernel, const nk_stream *stream, int32_t level,
                             const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                             void *scratch, size_t scratch_size);

#ifdef __cplusplus
}
#endif

#endif  // NK_NESTED_PARTS_S8_H_
