#include <string.h>

#include "nk_bench_model.h"
#include "nk_bench_print.h"

enum { MAX_OPS = 1 << 14, POISON = 0xA5 };

static int32_t ended_ops[MAX_OPS];
static int32_t ended_count;

void nk_bench_op_ended(int32_t index) {
  if (ended_count < MAX_OPS) {
    ended_ops[ended_count++] = index;
  }
}

static int fail(const char *what, nk_status status) {
  board_puts(what);
  board_puts(nk_status_name(status));
  board_puts("\n");
  return 1;
}

int main(void) {
  const nk_bench_model *model = &the_nk_bench_model;
  nk_status status = model->check();
  if (status != NK_OK) {
    return fail("error check ", status);
  }
  for (int32_t level = 0; level < model->levels; ++level) {
    memset(model->outputs, POISON, (size_t)model->output_bytes);
    NK_BENCH_BEGIN();
    status = model->invoke(level);
    NK_BENCH_END();
    if (status != NK_OK) {
      return fail("error invoke ", status);
    }
    board_puts("level");
    nk_bench_put_unsigned((size_t)level);
    nk_bench_put_hex_line(model->outputs, model->output_bytes);
  }
  board_puts("ops");
  for (int32_t i = 0; i < ended_count; ++i) {
    nk_bench_put_unsigned((size_t)ended_ops[i]);
  }
  board_puts("\nend\n");
  return 0;
}
