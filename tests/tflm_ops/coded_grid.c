/**
 * Firmware that runs the cases of test_coded_grid.py at every level, with the kernels of this
 * target. Output and scratch memory lie between guards. Prints what differs, and ends with status 0
 * if nothing does.
 */
#include <string.h>

#include "board.h"
#include "nk_nested_conv.h"
#include "test_grid.h"

#define ALIGNMENT 16
enum { MAX_OUTPUT = 1 << 14, MAX_SCRATCH = 1 << 17, GUARD_BYTES = 64, GUARD = 0x5A };

typedef struct grid_case {
  nk_conv_dims dims;
  int32_t levels;
  int32_t stream_bytes;
  int32_t input_bytes;
  int32_t output_bytes;
} grid_case;

extern const uint8_t cases_begin[];
extern const uint8_t cases_end[];

static int8_t output[MAX_OUTPUT + 2 * GUARD_BYTES];
static _Alignas(16) uint8_t scratch[MAX_SCRATCH + 2 * GUARD_BYTES];

int main(void);

static const uint8_t *pad(const uint8_t *end) {
  return end + (ALIGNMENT - (uintptr_t)end % ALIGNMENT) % ALIGNMENT;
}

static bool is_guarded(const void *begin, size_t size) {
  const uint8_t *at = begin;
  for (size_t i = 0; i < GUARD_BYTES; ++i) {
    if (at[i] != GUARD || at[GUARD_BYTES + size + i] != GUARD) {
      return false;
    }
  }
  return true;
}

static int32_t run_level(const grid_case *c, const nk_stream *stream, int32_t level,
                         const int8_t *input, const int8_t *expected) {
  const int32_t needed = nk_nested_conv_s8_get_buffer_size(stream, &c->dims);
  memset(output, GUARD, sizeof(output));
  memset(scratch, GUARD, sizeof(scratch));
  if (needed < 0 || needed > MAX_SCRATCH) {
    board_puts("too much scratch memory: ");
    return 1;
  }
  const nk_status status = nk_nested_conv_s8(stream, level, &c->dims, input, output + GUARD_BYTES,
                                             scratch + GUARD_BYTES, (size_t)needed);
  if (status != NK_OK) {
    board_puts(nk_status_name(status));
    return 1;
  }
  if (!is_guarded(output, (size_t)c->output_bytes) || !is_guarded(scratch, (size_t)needed)) {
    board_puts("wrote beyond its memory: ");
    return 1;
  }
  return memcmp(output + GUARD_BYTES, expected, (size_t)c->output_bytes) != 0;
}

static int32_t run_case(int32_t index, const grid_case *c, const uint8_t *content) {
  const int8_t *input = (const int8_t *)content + c->stream_bytes;
  const int8_t *expected = input + c->input_bytes;
  nk_stream stream;
  nk_status status = nk_stream_open(content, (size_t)c->stream_bytes, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  int32_t failures = status != NK_OK;
  for (int32_t level = 0; level < c->levels && status == NK_OK; ++level) {
    if (run_level(c, &stream, level, input, expected) != 0) {
      board_puts("wrong case ");
      grid_put_number(index);
      board_puts("level ");
      grid_put_number(level);
      board_puts("\n");
      ++failures;
    }
    expected += c->output_bytes;
  }
  return failures;
}

int main(void) {
  int32_t index = 0;
  int32_t failures = 0;
  for (const uint8_t *at = cases_begin; at < cases_end; ++index) {
    const grid_case *c = (const grid_case *)(const void *)at;
    const uint8_t *content = pad(at + sizeof(*c));
    failures += run_case(index, c, content);
    at = pad(content + c->stream_bytes + c->input_bytes + c->levels * c->output_bytes);
  }
  grid_put_number(index);
  board_puts("cases, ");
  grid_put_number(failures);
  board_puts("failures\n");
  return failures == 0 ? 0 : 1;
}
