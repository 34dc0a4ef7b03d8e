/**
 * The fast kernels behind nk_fully_connected_s8() and, for fully connected layers,
 * nk_nested_conv_s8(). The kernels trust their arguments, which these two functions have checked,
 * and give the same result as the references.
 */
#ifndef NK_FULLY_CONNECTED_H_
#define NK_FULLY_CONNECTED_H_

#include <stdint.h>

#include "../../include/nk_nested_conv.h"
#include "../../include/nk_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/** nk_fully_connected_s8_ref() for cores with the instructions of nk_simd.h, tuned for the
 * Cortex-M7. */
void nk_fully_connected_s8_dsp(const nk_fully_connected_params *params, int32_t rows,
                               const int8_t *input, int8_t *output);

/** The same kernel for a packed stream of kind NK_KIND_FULLY_CONNECTED and an existing `level`. */
void nk_nested_fully_connected_s8_dsp(const nk_stream *stream, int32_t level, int32_t rows,
                                      const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif  // NK_FULLY_CONNECTED_H_
