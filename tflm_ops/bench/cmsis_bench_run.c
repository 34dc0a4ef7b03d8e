// The baseline: the same layers through the user's CMSIS-NN (CMSIS_NN_ROOT).
#include "arm_nnfunctions.h"
#include "nk_bench.h"
#include "nk_bench_markers.h"
#include "nk_format.h"

enum { OUT_OF_SCRATCH = 1000 };

static cmsis_nn_dims to_cmsis(const nk_dims4 *dims) {
  return (cmsis_nn_dims){dims->n, dims->h, dims->w, dims->c};
}

static int32_t run_conv(const nk_bench_case *bench_case, int8_t *output,
                        nk_bench_scratch *scratch) {
  const nk_conv2d_params *dense = &bench_case->dense;
  const cmsis_nn_conv_params params = {
      .input_offset = dense->input_offset,
      .output_offset = dense->output_offset,
      .stride = {dense->stride_w, dense->stride_h},
      .padding = {dense->pad_left, dense->pad_top},
      .dilation = {dense->dilation_w, dense->dilation_h},
      .activation = {dense->activation_min, dense->activation_max},
  };
  const cmsis_nn_per_channel_quant_params quant = {(int32_t *)dense->multiplier,
                                                   (int32_t *)dense->shift};
  const cmsis_nn_dims input = to_cmsis(&bench_case->input_dims);
  const cmsis_nn_dims filter = to_cmsis(&dense->filter_dims);
  const cmsis_nn_dims bias = {1, 1, 1, bench_case->output_dims.c};
  const cmsis_nn_dims out = to_cmsis(&bench_case->output_dims);
  const int32_t size = arm_convolve_wrapper_s8_get_buffer_size(&params, &input, &filter, &out);
  scratch->used = (size_t)size;
  if (scratch->used > scratch->size) {
    return OUT_OF_SCRATCH;
  }
  const cmsis_nn_context context = {scratch->data, size};
  NK_BENCH_BEGIN();
  const arm_cmsis_nn_status status =
      arm_convolve_wrapper_s8(&context, &params, &quant, &input, bench_case->input, &filter,
                              dense->filter, &bias, dense->bias, &out, output);
  NK_BENCH_END();
  return (int32_t)status;
}

static int32_t run_depthwise(const nk_bench_case *bench_case, int8_t *output,
                             nk_bench_scratch *scratch) {
  const nk_conv2d_params *dense = &bench_case->dense;
  const cmsis_nn_dw_conv_params params = {
      .input_offset = dense->input_offset,
      .output_offset = dense->output_offset,
      .ch_mult = bench_case->depth_multiplier,
      .stride = {dense->stride_w, dense->stride_h},
      .padding = {dense->pad_left, dense->pad_top},
      .dilation = {dense->dilation_w, dense->dilation_h},
      .activation = {dense->activation_min, dense->activation_max},
  };
  const cmsis_nn_per_channel_quant_params quant = {(int32_t *)dense->multiplier,
                                                   (int32_t *)dense->shift};
  const cmsis_nn_dims input = to_cmsis(&bench_case->input_dims);
  const cmsis_nn_dims filter = {1, dense->filter_dims.h, dense->filter_dims.w,
                                bench_case->output_dims.c};
  const cmsis_nn_dims bias = {1, 1, 1, bench_case->output_dims.c};
  const cmsis_nn_dims out = to_cmsis(&bench_case->output_dims);
  const int32_t size =
      arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &input, &filter, &out);
  scratch->used = (size_t)size;
  if (scratch->used > scratch->size) {
    return OUT_OF_SCRATCH;
  }
  const cmsis_nn_context context = {scratch->data, size};
  NK_BENCH_BEGIN();
  const arm_cmsis_nn_status status =
      arm_depthwise_conv_wrapper_s8(&context, &params, &quant, &input, bench_case->input, &filter,
                                    dense->filter, &bias, dense->bias, &out, output);
  NK_BENCH_END();
  return (int32_t)status;
}

/** One multiplier for all features: the form that every version of CMSIS-NN has. */
static int32_t run_fully_connected(const nk_bench_case *bench_case, int8_t *output,
                                   nk_bench_scratch *scratch) {
  const nk_conv2d_params *dense = &bench_case->dense;
  const cmsis_nn_fc_params params = {
      .input_offset = dense->input_offset,
      .filter_offset = 0,
      .output_offset = dense->output_offset,
      .activation = {dense->activation_min, dense->activation_max},
  };
  const cmsis_nn_per_tensor_quant_params quant = {dense->multiplier[0], dense->shift[0]};
  const cmsis_nn_dims input = to_cmsis(&bench_case->input_dims);
  const cmsis_nn_dims filter = {bench_case->input_dims.c, 1, 1, bench_case->output_dims.c};
  const cmsis_nn_dims bias = {1, 1, 1, bench_case->output_dims.c};
  const cmsis_nn_dims out = to_cmsis(&bench_case->output_dims);
  const int32_t size = arm_fully_connected_s8_get_buffer_size(&filter);
  scratch->used = (size_t)size;
  if (scratch->used > scratch->size) {
    return OUT_OF_SCRATCH;
  }
  // A version without sums of the filter asks for no buffer, and must not see one.
  const cmsis_nn_context context = {size > 0 ? scratch->data : NULL, size};
#if defined(__ARM_FEATURE_MVE)
  arm_vector_sum_s8(scratch->data, filter.n, out.c, dense->filter, dense->input_offset, 0,
                    dense->bias);
#endif
  NK_BENCH_BEGIN();
  const arm_cmsis_nn_status status =
      arm_fully_connected_s8(&context, &params, &quant, &input, bench_case->input, &filter,
                             dense->filter, &bias, dense->bias, &out, output);
  NK_BENCH_END();
  return (int32_t)status;
}

int32_t nk_bench_run(const nk_bench_case *bench_case, int8_t *output, nk_bench_scratch *scratch) {
  if (bench_case->kind >= NK_BENCH_ADD) {
    return nk_bench_run_operator(bench_case, output, scratch);
  }
  switch (bench_case->kind) {
    case NK_KIND_DEPTHWISE:
      return run_depthwise(bench_case, output, scratch);
    case NK_KIND_FULLY_CONNECTED:
      return run_fully_connected(bench_case, output, scratch);
    default:
      return run_conv(bench_case, output, scratch);
  }
}
