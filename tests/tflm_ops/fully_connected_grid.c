/**
 * Firmware that runs the cases of fully_connected_grid.py: each stream at every level, and the
 * dense operator. Prints what differs, and ends with status 0 if nothing does.
 *
 * Inputs and filters lie at the very end of the RAM, so that a kernel that reads beyond them
 * faults; outputs start at an odd address, between bytes that must not change.
 */
#include <stdbool.h>
#include <string.h>

#include "board.h"
#include "nk_nested_conv.h"
#include "nk_ops.h"
#include "test_grid.h"

#define ALIGNMENT 16
// The last of the 4 MiB of RAM of the board mps2_an500: the memory protection unit closes it.
#define FORBIDDEN ((int8_t *)0x20300000)
#define FORBIDDEN_LOG2_BYTES 20u
#define MPU ((volatile uint32_t *)0xE000ED90)
#define GUARD 0x5A

enum { MAX_OUTPUT = 1024 };

typedef struct grid_case {
  /** Of what follows the struct. */
  int32_t content_bytes;
  int32_t levels;
  int32_t stream_bytes;
  int32_t rows;
  int32_t inputs;
  int32_t outputs;
  int32_t input_offset;
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
} grid_case;

extern const uint8_t cases_begin[];
extern const uint8_t cases_end[];

static _Alignas(4) int8_t room[MAX_OUTPUT + 2];
static int8_t *const output = room + 1;

static const uint8_t *pad(const uint8_t *end) {
  return end + (ALIGNMENT - (uintptr_t)end % ALIGNMENT) % ALIGNMENT;
}

static void forbid(void) {
  enum { CTRL = 1, RNR, RBAR, RASR };
  MPU[RNR] = 0;
  MPU[RBAR] = (uint32_t)(uintptr_t)FORBIDDEN;
  MPU[RASR] = (FORBIDDEN_LOG2_BYTES - 1) << 1 | 1;  // no access at all
  MPU[CTRL] = 1 << 2 | 1;                           // the rest of the memory as without the unit
  __asm__ volatile("dsb\n\tisb" ::: "memory");
}

/** A copy that ends at the forbidden memory. */
static const int8_t *at_edge(const int8_t *data, int32_t size) {
  return memcpy(FORBIDDEN - size, data, (size_t)size);
}

static int32_t check(const char *what, int32_t index, int32_t level, nk_status status,
                     const int8_t *expected, int32_t size) {
  const bool intact = room[0] == GUARD && output[size] == GUARD;
  if (status == NK_OK && intact && memcmp(output, expected, (size_t)size) == 0) {
    memset(room, GUARD, sizeof(room));
    return 0;
  }
  memset(room, GUARD, sizeof(room));
  board_puts(what);
  board_puts(" ");
  grid_put_number(index);
  board_puts("level ");
  grid_put_number(level);
  board_puts(!intact ? "wrote beyond the output\n" : "not the reference's output\n");
  return 1;
}

static int32_t run_dense(int32_t index, const grid_case *c, const int8_t *input,
                         const int8_t *expected, const uint8_t *tables) {
  const int32_t weights = c->inputs * c->outputs;
  nk_fully_connected_params params = {
      .filter = (const int8_t *)tables,
      .filter_dims = {c->outputs, 1, 1, c->inputs},
      .input_offset = c->input_offset,
      .output_offset = c->output_offset,
      .activation_min = c->activation_min,
      .activation_max = c->activation_max,
  };
  params.bias = (const int32_t *)(const void *)pad(tables + weights);
  params.multiplier =
      (const int32_t *)(const void *)pad((const uint8_t *)(params.bias + c->outputs));
  params.shift =
      (const int32_t *)(const void *)pad((const uint8_t *)(params.multiplier + c->outputs));
  const int32_t size = c->rows * c->outputs;
  nk_status status =
      nk_fully_connected_s8(&params, c->rows, at_edge(input, c->rows * c->inputs), output);
  int32_t failures = check("dense", index, c->levels - 1, status, expected, size);
  params.filter = at_edge(params.filter, weights);
  status = nk_fully_connected_s8(&params, c->rows, input, output);
  failures += check("dense", index, c->levels - 1, status, expected, size);
  return failures;
}

static int32_t run_case(int32_t index, const grid_case *c, const uint8_t *content) {
  const int32_t size = c->rows * c->outputs;
  const int8_t *input = (const int8_t *)content + c->stream_bytes;
  const int8_t *expected = (const int8_t *)pad((const uint8_t *)(input + c->rows * c->inputs));
  const nk_conv_dims dims = {c->rows, 1, 1, 1, 1};
  nk_stream stream;
  nk_status status = nk_stream_open(content, (size_t)c->stream_bytes, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  int32_t failures = 0;
  for (int32_t level = 0; level < c->levels; ++level, expected += size) {
    if (status == NK_OK) {
      const int8_t *x = at_edge(input, c->rows * c->inputs);
      status = nk_nested_conv_s8(&stream, level, &dims, x, output, NULL, 0);
    }
    failures += check("stream", index, level, status, expected, size);
  }
  const uint8_t *tables = pad((const uint8_t *)expected);
  return failures + run_dense(index, c, input, expected - size, tables);
}

int main(void) {
  int32_t index = 0;
  int32_t failures = 0;
  forbid();
  memset(room, GUARD, sizeof(room));
  for (const uint8_t *at = cases_begin; at < cases_end; ++index) {
    const grid_case *c = (const grid_case *)(const void *)at;
    const uint8_t *content = pad(at + sizeof(*c));
    failures += run_case(index, c, content);
    at = content + c->content_bytes;
  }
  grid_put_number(index);
  board_puts("cases, ");
  grid_put_number(failures);
  board_puts("failures\n");
  return failures == 0 ? 0 : 1;
}
