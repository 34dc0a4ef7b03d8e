/* The functions of a board for the firmware. Each board directory implements these, the start-up
 * code and a linker script; tflm_ops/boards/common/main.c uses nothing else. */
#ifndef NK_BOARD_H_
#define NK_BOARD_H_

#include <stddef.h>
#include <stdint.h>

/** Writes zero-terminated text to the console. */
void board_puts(const char *text);

/** Ends the run with an exit status: 0 is success. */
_Noreturn void board_exit(int status);

/** Instructions executed since reset. The resolution is the board's (mps2_an500: 40). */
uint64_t board_instructions(void);

/** The deepest use of the stack since reset, in bytes. */
size_t board_stack_used(void);

#endif  // NK_BOARD_H_
