#include "nk_bench.h"
#include "nk_bench_markers.h"
#include "nk_nested_conv.h"
#include "nk_stream.h"

static nk_status run_stream(const nk_bench_case *bench_case, int8_t *output,
                            nk_bench_scratch *scratch) {
  nk_stream stream;
  nk_status status = nk_stream_open(bench_case->stream, bench_case->stream_bytes, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  if (status != NK_OK) {
    return status;
  }
  const nk_conv_dims dims = {
      .batches = bench_case->input_dims.n,
      .input_h = bench_case->input_dims.h,
      .input_w = bench_case->input_dims.w,
      .output_h = bench_case->output_dims.h,
      .output_w = bench_case->output_dims.w,
  };
  const int32_t needed = nk_nested_conv_s8_get_buffer_size(&stream, &dims);
  if (needed < 0) {
    return NK_ERROR_SHAPE;
  }
  scratch->used = (size_t)needed;
  if (scratch->used > scratch->size) {
    return NK_ERROR_BUFFER;
  }
  NK_BENCH_BEGIN();
  status = nk_nested_conv_s8(&stream, bench_case->level, &dims, bench_case->input, output,
                             scratch->data, scratch->size);
  NK_BENCH_END();
  return status;
}

static nk_status run_depthwise(const nk_bench_case *bench_case, int8_t *output) {
  const nk_conv2d_params *dense = &bench_case->dense;
  const nk_depthwise_conv2d_params params = {
      .filter = dense->filter,
      .filter_dims = dense->filter_dims,
      .bias = dense->bias,
      .multiplier = dense->multiplier,
      .shift = dense->shift,
      .stride_h = dense->stride_h,
      .stride_w = dense->stride_w,
      .dilation_h = dense->dilation_h,
      .dilation_w = dense->dilation_w,
      .pad_top = dense->pad_top,
      .pad_left = dense->pad_left,
      .input_offset = dense->input_offset,
      .output_offset = dense->output_offset,
      .activation_min = dense->activation_min,
      .activation_max = dense->activation_max,
      .depth_multiplier = bench_case->depth_multiplier,
  };
  NK_BENCH_BEGIN();
  const nk_status status = nk_depthwise_conv2d_s8(
      &params, &bench_case->input_dims, bench_case->input, &bench_case->output_dims, output);
  NK_BENCH_END();
  return status;
}

static nk_status run_fully_connected(const nk_bench_case *bench_case, int8_t *output) {
  const nk_conv2d_params *dense = &bench_case->dense;
  const nk_fully_connected_params params = {
      .filter = dense->filter,
      .filter_dims = dense->filter_dims,
      .bias = dense->bias,
      .multiplier = dense->multiplier,
      .shift = dense->shift,
      .input_offset = dense->input_offset,
      .output_offset = dense->output_offset,
      .activation_min = dense->activation_min,
      .activation_max = dense->activation_max,
  };
  NK_BENCH_BEGIN();
  const nk_status status =
      nk_fully_connected_s8(&params, bench_case->input_dims.n, bench_case->input, output);
  NK_BENCH_END();
  return status;
}

int32_t nk_bench_run(const nk_bench_case *bench_case, int8_t *output, nk_bench_scratch *scratch) {
  if (bench_case->kind >= NK_BENCH_ADD) {
    return nk_bench_run_operator(bench_case, output, scratch);
  }
  if (bench_case->stream != NULL) {
    return run_stream(bench_case, output, scratch);
  }
  if (bench_case->kind == NK_KIND_DEPTHWISE) {
    return run_depthwise(bench_case, output);
  }
  if (bench_case->kind == NK_KIND_FULLY_CONNECTED) {
    return run_fully_connected(bench_case, output);
  }
  NK_BENCH_BEGIN();
  const nk_status status = nk_conv2d_s8(&bench_case->dense, &bench_case->input_dims,
                                        bench_case->input, &bench_case->output_dims, output);
  NK_BENCH_END();
  return status;
}
