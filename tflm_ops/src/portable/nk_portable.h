/**
 * The kernels for cores without the DSP extension (Cortex-M0+, M3, M23, RISC-V), and for PCs: plain
 * C, the same results as the references. For the dispatchers, which have checked the arguments.
 */
#ifndef NK_PORTABLE_H_
#define NK_PORTABLE_H_

#include <stdint.h>

#include "../../include/nk_nested_conv.h"
#include "../../include/nk_ops.h"
#include "../cortex_m/nk_dsp_conv.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Runs a layer of kind NK_KIND_CONV without dilation; scratch as nk_nested_conv_s8() asks for.
 * sink: NULL, or as in nk_dsp_conv.h. */
void nk_nested_conv_s8_portable(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch,
                                const nk_dsp_sink *sink);

/** Runs a layer that nk_nested_depthwise_s8() takes; scratch as nk_nested_conv_s8() asks for. */
void nk_nested_depthwise_s8_portable(const nk_stream *stream, int32_t level,
                                     const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                                     void *scratch);

/** nk_depthwise_conv2d_s8_ref() for layers that nk_depthwise_s8_portable_supports(). */
void nk_depthwise_conv2d_s8_portable(const nk_depthwise_conv2d_params *params,
                                     const nk_dims4 *input_dims, const int8_t *input,
                                     const nk_dims4 *output_dims, int8_t *output);

/** nk_fully_connected_s8_ref(), with the same result. */
void nk_fully_connected_s8_portable(const nk_fully_connected_params *params, int32_t rows,
                                    const int8_t *input, int8_t *output);

/** The same for a packed stream of kind NK_KIND_FULLY_CONNECTED and an existing `level`. */
void nk_nested_fully_connected_s8_portable(const nk_stream *stream, int32_t level, int32_t rows,
                                           const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif  // NK_PORTABLE_H_
