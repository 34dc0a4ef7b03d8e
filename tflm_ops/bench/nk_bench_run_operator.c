#include "nk_bench.h"
#include "nk_bench_markers.h"

int32_t nk_bench_run_operator(const nk_bench_case *bench_case, int8_t *output,
                              nk_bench_scratch *scratch) {
  (void)scratch;
  const void *params = bench_case->params;
  const int8_t *input = bench_case->input;
  const nk_dims4 *in = &bench_case->input_dims;
  const nk_dims4 *out = &bench_case->output_dims;
  nk_status status;
  switch (bench_case->kind) {
    case NK_BENCH_ADD:
      NK_BENCH_BEGIN();
      status = nk_add_s8(params, in, input, in, bench_case->input2, out, output);
      NK_BENCH_END();
      break;
    case NK_BENCH_AVERAGE_POOL:
      NK_BENCH_BEGIN();
      status = nk_average_pool2d_s8(params, in, input, out, output);
      NK_BENCH_END();
      break;
    case NK_BENCH_MAX_POOL:
      NK_BENCH_BEGIN();
      status = nk_max_pool2d_s8(params, in, input, out, output);
      NK_BENCH_END();
      break;
    default:
      NK_BENCH_BEGIN();
      status = nk_softmax_s8(params, in->n * in->h * in->w, in->c, input, output);
      NK_BENCH_END();
      break;
  }
  return (int32_t)status;
}
