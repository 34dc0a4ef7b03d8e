/**
 * The nested convolution for Cortex-M7 (docs/kernels.md): the same result as
 * nk_nested_conv_s8_ref(). For the dispatcher, which has checked the arguments.
 */
#ifndef NK_NESTED_CONV_S8_DSP_H_
#define NK_NESTED_CONV_S8_DSP_H_

#include <stdbool.h>

#include "../../include/nk_nested_conv.h"
#include "nk_dsp_conv.h"

/** Whether the kernel can run the layer: a convolution, also depthwise, without dilation. */
bool nk_nested_conv_s8_dsp_applies(const nk_stream *stream);

/** Whether nk_nested_conv2d_s8() runs the layer, because nk_nested_depthwise_s8() refuses it. */
bool nk_nested_conv2d_s8_takes(const nk_stream *stream, const nk_conv_dims *dims);

/** Bytes of scratch, the same on every target, for a layer with a sink or without; dims valid. */
int32_t nk_nested_conv_s8_dsp_get_buffer_size(const nk_stream *stream, const nk_conv_dims *dims,
                                              bool has_sink);

/** Bytes of scratch of nk_nested_conv2d_add_s8() for a stream in place, or -1. */
int32_t nk_nested_conv2d_add_s8_get_kernel_size(const nk_stream *stream, const nk_conv_dims *dims);

/**
 * Runs the layer; scratch of the size above or more, 4-byte aligned. sink: NULL, or as in
 * nk_dsp_conv.h; a small dense layer then runs on the tiles, too. make_chain: NULL
 * or nk_dsp_chain_make.
 */
void nk_nested_conv_s8_dsp(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                           const int8_t *input, int8_t *output, void *scratch, size_t scratch_size,
                           const nk_dsp_sink *sink, nk_dsp_chain_maker *make_chain);

#endif  // NK_NESTED_CONV_S8_DSP_H_
