/* QEMU's mps2-an505, a Cortex-M33 with 4 MiB of SSRAM as code memory and 4 MiB as RAM, in the
 * secure state; SysTick has 20 MHz. */
#define IN_INSTRUCTIONS(ticks) ((ticks) * 50)

#include "common/qemu_board.h"
