#include "arm_nnfunctions.h"
#include "nk_bench.h"
#include "nk_bench_markers.h"

enum { OUT_OF_SCRATCH = 1000 };

static cmsis_nn_dims to_cmsis(const nk_dims4 *dims) {
  return (cmsis_nn_dims){dims->n, dims->h, dims->w, dims->c};
}

static int32_t run_add(const nk_bench_case *bench_case, int8_t *output) {
  const nk_add_params *p = bench_case->params;
  const nk_dims4 *dims = &bench_case->output_dims;
  const int32_t size = dims->n * dims->h * dims->w * dims->c;
  NK_BENCH_BEGIN();
  const arm_cmsis_nn_status status = arm_elementwise_add_s8(
      bench_case->input, bench_case->input2, p->input1_offset, p->input1_multiplier,
      p->input1_shift, p->input2_offset, p->input2_multiplier, p->input2_shift, p->left_shift,
      output, p->output_offset, p->output_multiplier, p->output_shift, p->activation_min,
      p->activation_max, size);
  NK_BENCH_END();
  return (int32_t)status;
}

static int32_t run_pool(const nk_bench_case *bench_case, int8_t *output,
                        nk_bench_scratch *scratch) {
  const nk_pool2d_params *p = bench_case->params;
  const cmsis_nn_pool_params params = {
      .stride = {p->stride_w, p->stride_h},
      .padding = {p->pad_left, p->pad_top},
      .activation = {p->activation_min, p->activation_max},
  };
  const cmsis_nn_dims input = to_cmsis(&bench_case->input_dims);
  const cmsis_nn_dims filter = {1, p->filter_h, p->filter_w, 1};
  const cmsis_nn_dims out = to_cmsis(&bench_case->output_dims);
  arm_cmsis_nn_status status;
  if (bench_case->kind == NK_BENCH_MAX_POOL) {
    const cmsis_nn_context none = {NULL, 0};
    NK_BENCH_BEGIN();
    status = arm_max_pool_s8(&none, &params, &input, bench_case->input, &filter, &out, output);
    NK_BENCH_END();
    return (int32_t)status;
  }
  const int32_t size = arm_avgpool_s8_get_buffer_size(out.w, input.c);
  scratch->used = (size_t)size;
  if (scratch->used > scratch->size) {
    return OUT_OF_SCRATCH;
  }
  const cmsis_nn_context context = {scratch->data, size};
  NK_BENCH_BEGIN();
  status = arm_avgpool_s8(&context, &params, &input, bench_case->input, &filter, &out, output);
  NK_BENCH_END();
  return (int32_t)status;
}

static int32_t run_softmax(const nk_bench_case *bench_case, int8_t *output) {
  const nk_softmax_params *p = bench_case->params;
  const nk_dims4 *dims = &bench_case->input_dims;
  NK_BENCH_BEGIN();
  arm_softmax_s8(bench_case->input, dims->n * dims->h * dims->w, dims->c, p->input_multiplier,
                 p->input_left_shift, p->diff_min, output);
  NK_BENCH_END();
  return 0;
}

int32_t nk_bench_run_operator(const nk_bench_case *bench_case, int8_t *output,
                              nk_bench_scratch *scratch) {
  switch (bench_case->kind) {
    case NK_BENCH_ADD:
      return run_add(bench_case, output);
    case NK_BENCH_SOFTMAX:
      return run_softmax(bench_case, output);
    default:
      return run_pool(bench_case, output, scratch);
  }
}
