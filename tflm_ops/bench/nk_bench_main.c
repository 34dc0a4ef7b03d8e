#include <string.h>

#include "nk_bench.h"
#include "nk_bench_print.h"

enum { OUTPUT_BYTES = 1 << 20, SCRATCH_BYTES = 1 << 20, POISON = 0xA5 };

static _Alignas(16) int8_t output[OUTPUT_BYTES];
static _Alignas(16) uint8_t scratch_data[SCRATCH_BYTES];

int main(void) {
  for (int32_t i = 0; i < nk_bench_case_count; ++i) {
    const nk_bench_case *bench_case = nk_bench_cases[i];
    const nk_dims4 *dims = &bench_case->output_dims;
    const int32_t size = dims->n * dims->h * dims->w * dims->c;
    if (size > OUTPUT_BYTES) {
      board_puts("the output of a case is too large\n");
      return 1;
    }
    memset(output, POISON, (size_t)size);
    nk_bench_scratch scratch = {scratch_data, sizeof scratch_data, 0};
    const int32_t status = nk_bench_run(bench_case, output, &scratch);
    board_puts("case");
    nk_bench_put_unsigned((size_t)i);
    nk_bench_put_unsigned((size_t)status);
    nk_bench_put_unsigned(scratch.used);
    nk_bench_put_hex_line((const uint8_t *)output, size);
  }
  board_puts("end\n");
  return 0;
}
