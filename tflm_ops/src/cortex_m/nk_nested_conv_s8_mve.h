/** The nested convolution for cores with Helium (MVE): nk_nested_conv_s8_dsp() calls it. */
#ifndef NK_NESTED_CONV_S8_MVE_H_
#define NK_NESTED_CONV_S8_MVE_H_

#include <stdbool.h>

#include "../../include/nk_nested_conv.h"
#include "nk_dsp_conv.h"

/**
 * Runs a convolution, if it is one that this kernel runs, in few enough bytes of scratch, and
 * returns whether it did. The other arguments are those of nk_nested_conv_s8_dsp().
 */
bool nk_nested_conv_s8_mve(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                           const int8_t *input, int8_t *output, uint8_t *scratch,
                           int32_t scratch_bytes, const nk_dsp_sink *sink);

#endif  // NK_NESTED_CONV_S8_MVE_H_
