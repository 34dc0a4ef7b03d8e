#include <string.h>

#include "board.h"
#include "nk_bench.h"

enum { OUTPUT_BYTES = 1 << 20, SCRATCH_BYTES = 1 << 20, POISON = 0xA5 };

static _Alignas(16) int8_t output[OUTPUT_BYTES];
static _Alignas(16) uint8_t scratch_data[SCRATCH_BYTES];

static void put_unsigned(size_t value) {
  char text[24];
  size_t i = sizeof text - 1;
  text[i] = '\0';
  do {
    text[--i] = (char)('0' + (int)(value % 10));
    value /= 10;
  } while (value != 0);
  text[--i] = ' ';
  board_puts(text + i);
}

static void put_hex(const int8_t *values, int32_t count) {
  static const char digits[] = "0123456789abcdef";
  char text[1025];
  size_t length = 0;
  for (int32_t i = 0; i < count; ++i) {
    const unsigned int byte = (unsigned int)values[i] & 0xFFu;
    text[length++] = digits[byte >> 4];
    text[length++] = digits[byte & 15u];
    if (length == sizeof text - 1 || i + 1 == count) {
      text[length] = '\0';
      board_puts(text);
      length = 0;
    }
  }
}

int main(void) {
  for (int32_t i = 0; i < nk_bench_case_count; ++i) {
    const nk_bench_case *bench_case = &nk_bench_cases[i];
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
    put_unsigned((size_t)i);
    put_unsigned((size_t)status);
    put_unsigned(scratch.used);
    board_puts(" ");
    put_hex(output, size);
    board_puts("\n");
  }
  board_puts("end\n");
  return 0;
}
