/* QEMU's mps2-an385, a Cortex-M3 with 4 MiB of SSRAM as code memory and 4 MiB as RAM; SysTick has
 * 25 MHz. */
#define IN_INSTRUCTIONS(ticks) ((ticks) * 40)

#include "common/qemu_board.h"
