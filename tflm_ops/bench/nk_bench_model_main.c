#include <string.h>

#include "firmware.h"
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

/* An operator of TFLite Micro has ended. */
void firmware_on_op(int32_t index) {
  NK_BENCH_END();
  nk_bench_op_ended(index);
  NK_BENCH_BEGIN();
}

static int fail(const char *what, nk_status status) {
  board_puts(what);
  board_puts(nk_status_name(status));
  board_puts("\n");
  return 1;
}

int main(void) {
  nk_status status = the_run.check();
  if (status != NK_OK) {
    return fail("error check ", status);
  }
  for (int32_t i = 0; i < the_run.level_count; ++i) {
    memset(the_run.outputs, POISON, (size_t)the_run.output_bytes);
    NK_BENCH_BEGIN();
    status = the_run.invoke(the_run.inputs, the_run.outputs, the_run.levels[i]);
    NK_BENCH_END();
    if (status != NK_OK) {
      return fail("error invoke ", status);
    }
    board_puts("level");
    nk_bench_put_unsigned((size_t)the_run.levels[i]);
    nk_bench_put_hex_line(the_run.outputs, the_run.output_bytes);
  }
  board_puts("arena");
  nk_bench_put_unsigned((size_t)*the_run.arena_bytes);
  board_puts("\nops");
  for (int32_t i = 0; i < ended_count; ++i) {
    nk_bench_put_unsigned((size_t)ended_ops[i]);
  }
  board_puts("\nend\n");
  return 0;
}
