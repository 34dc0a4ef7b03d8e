#include "nk_nested_conv.h"

// The predicates that choose a kernel go here; so far the reference kernel serves every target.
nk_status nk_nested_conv_s8(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                            const int8_t *input, int8_t *output, void *scratch,
                            size_t scratch_size) {
  return nk_nested_conv_s8_ref(stream, level, dims, input, output, scratch, scratch_size);
}
