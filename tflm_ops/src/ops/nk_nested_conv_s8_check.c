/** Checks the arguments of the kernels of NESTED_SPARSE_CONV. */
#include "../../include/nk_nested_conv.h"
#include "../cortex_m/nk_depthwise.h"
#include "../cortex_m/nk_nested_conv_s8_dsp.h"
#include "../ref/nk_geometry.h"
#include "../ref/nk_reference.h"

/** Whether the dimensions obey the rules of nk_nested_conv.h. */
static bool dims_are_valid(const nk_stream *s, const nk_conv_dims *dims) {
  const nk_axis y = nk_stream_axis_y(s, dims);
  const nk_axis x = nk_stream_axis_x(s, dims);
  const nk_dims4 input = {dims->batches, dims->input_h, dims->input_w, s->in_channels};
  const nk_dims4 output = {dims->batches, dims->output_h, dims->output_w, s->out_channels};
  if (nk_dims4_size(&input) == 0 || nk_dims4_size(&output) == 0 || !nk_axis_has_valid_sizes(&y) ||
      !nk_axis_has_valid_sizes(&x) ||
      (int64_t)s->stride_h * dims->input_w * s->in_channels > INT32_MAX ||
      (int64_t)dims->output_h * dims->output_w > INT32_MAX / (int32_t)sizeof(int32_t)) {
    return false;
  }
  return s->kind != NK_KIND_FULLY_CONNECTED ||
         (dims->input_h == 1 && dims->input_w == 1 && dims->output_h == 1 && dims->output_w == 1);
}

int32_t nk_nested_conv_s8_get_kernel_size(const nk_stream *stream, const nk_conv_dims *dims) {
  if (!dims_are_valid(stream, dims)) {
    return -1;
  }
  if (stream->kind == NK_KIND_FULLY_CONNECTED) {
    return 0;
  }
  const int32_t row = dims->output_w * (int32_t)sizeof(int32_t);
  if (!nk_nested_conv_s8_dsp_applies(stream)) {
    return dims->output_h * row;
  }
  // The reference kernel, which takes what other kernels do not, makes do with a row.
  if (nk_nested_depthwise_s8_dsp_supports(stream, dims)) {
    return nk_max(row, nk_nested_depthwise_s8_dsp_get_buffer_size(stream, dims));
  }
  // nk_nested_conv_s8_portable() makes do with less.
  return nk_max(row, nk_nested_conv_s8_dsp_get_buffer_size(stream, dims, false));
}

nk_status nk_nested_conv_s8_check(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                  const int8_t *input, const int8_t *output, const void *scratch,
                                  size_t scratch_size) {
  if (stream == NULL || dims == NULL || input == NULL || output == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  if (!nk_in_range(level, 0, stream->levels - 1)) {
    return NK_ERROR_LEVEL;
  }
  if (level >= stream->in_place_levels) {
    return NK_ERROR_ARGUMENT;
  }
  const int32_t needed = nk_nested_conv_s8_get_kernel_size(stream, dims);
  if (needed < 0) {
    return NK_ERROR_SHAPE;
  }
  if (needed > 0 && (scratch == NULL || (uintptr_t)scratch % sizeof(int32_t) != 0 ||
                     scratch_size < (size_t)needed)) {
    return NK_ERROR_BUFFER;
  }
  return NK_OK;
}
