/* QEMU's mps3-an547, a Cortex-M55 with 512 KiB of ITCM as code memory and 4 MiB of SRAM, in the
 * secure state; SysTick has 32 MHz. */
#define IN_INSTRUCTIONS(ticks) ((ticks) * 125 / 4)

#include "common/qemu_board.h"
