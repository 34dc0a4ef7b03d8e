/* Runs a generated model over a set of images at every requested level and prints the results.
 *
 * Line protocol, version 1. A line is words separated by one space; numbers are decimal and
 * unsigned; HEX is the bytes of all outputs in order, two lower-case digits each. The boxes of a
 * detector follow its outputs.
 *
 *     nk-firmware 1
 *     model <levels> <images> <output_bytes> <ops> <arena_bytes>
 *     out <level> <image> <HEX>                    one for each level and image, in order
 *     instructions <level> <total over the images>
 *     ops <level> <count of op 0> <count of op 1> ...   of image 0, in a run of its own
 *     stack <bytes>                                deepest use of the stack
 *     end OK
 *
 * Instead of the rest there may come one of
 *
 *     error check <status>                         model_check refused the model
 *     error invoke <level> <image> <status>        model_invoke failed
 *     fault <exception> pc=<hex> cfsr=<hex>        from the board's fault handler
 *
 * and the program ends with a nonzero exit status. Lines that start with "# " are for people and
 * may come anywhere. docs/firmware.md says more. */
#include <string.h>

#include "board.h"
#include "firmware.h"

enum { EXIT_MODEL_ERROR = 1, OUTPUT_POISON = 0xA5 };

static int profiling;
static uint64_t last_instructions;

void firmware_on_op(int32_t index) {
  if (!profiling) {
    return;
  }
  uint64_t now = board_instructions();
  the_run.op_instructions[index] = now - last_instructions;
  last_instructions = board_instructions();
}

static void put_unsigned(uint64_t value) {
  char text[21];
  size_t i = sizeof text - 1;
  text[i] = '\0';
  do {
    text[--i] = (char)('0' + (int)(value % 10));
    value /= 10;
  } while (value != 0);
  board_puts(text + i);
}

/* A space, then the number. */
static void put_field(uint64_t value) {
  board_puts(" ");
  put_unsigned(value);
}

static void put_hex(const uint8_t *bytes, int32_t count) {
  static const char digits[] = "0123456789abcdef";
  char text[257];
  size_t length = 0;
  for (int32_t i = 0; i < count; ++i) {
    text[length++] = digits[bytes[i] >> 4];
    text[length++] = digits[bytes[i] & 15];
    if (length == sizeof text - 1 || i + 1 == count) {
      text[length] = '\0';
      board_puts(text);
      length = 0;
    }
  }
}

static _Noreturn void fail(nk_status status) {
  board_puts(" ");
  board_puts(nk_status_name(status));
  board_puts("\n");
  board_exit(EXIT_MODEL_ERROR);
}

/* Runs one image; returns the instructions of the inference. */
static uint64_t run_image(int32_t level, int32_t image) {
  const uint8_t *inputs = the_run.inputs + (size_t)image * (size_t)the_run.input_stride;
  memset(the_run.outputs, OUTPUT_POISON, (size_t)the_run.output_bytes);
  uint64_t start = board_instructions();
  last_instructions = start;
  nk_status status = the_run.invoke(inputs, the_run.outputs, level);
  uint64_t instructions = board_instructions() - start;
  if (status != NK_OK) {
    board_puts("error invoke");
    put_field((uint64_t)level);
    put_field((uint64_t)image);
    fail(status);
  }
  return instructions;
}

static void run_level(int32_t level) {
  uint64_t total = 0;
  for (int32_t image = 0; image < the_run.images; ++image) {
    total += run_image(level, image);
    board_puts("out");
    put_field((uint64_t)level);
    put_field((uint64_t)image);
    board_puts(" ");
    put_hex(the_run.outputs, the_run.output_bytes);
    board_puts("\n");
  }
  board_puts("instructions");
  put_field((uint64_t)level);
  put_field(total);
  board_puts("\n");

  for (int32_t op = 0; op < the_run.op_count; ++op) {
    the_run.op_instructions[op] = 0;
  }
  profiling = 1;
  run_image(level, 0);
  profiling = 0;
  board_puts("ops");
  put_field((uint64_t)level);
  for (int32_t op = 0; op < the_run.op_count; ++op) {
    put_field(the_run.op_instructions[op]);
  }
  board_puts("\n");
}

int main(void) {
  board_puts("nk-firmware 1\n");
  nk_status status = the_run.check();
  if (status != NK_OK) {
    board_puts("error check");
    fail(status);
  }
  board_puts("model");
  put_field((uint64_t)the_run.model_levels);
  put_field((uint64_t)the_run.images);
  put_field((uint64_t)the_run.output_bytes);
  put_field((uint64_t)the_run.op_count);
  put_field((uint64_t)*the_run.arena_bytes);
  board_puts("\n");
  for (int32_t i = 0; i < the_run.level_count; ++i) {
    run_level(the_run.levels[i]);
  }
  board_puts("stack");
  put_field(board_stack_used());
  board_puts("\nend OK\n");
  return 0;
}
