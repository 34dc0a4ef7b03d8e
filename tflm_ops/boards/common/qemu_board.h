/* The body of board.c for the boards of QEMU, which include this file once and define before:
 *
 *   IN_INSTRUCTIONS(ticks)  the instructions in a number of ticks of SysTick. Under -icount shift=0
 *                           QEMU takes 1 ns for each instruction; at 25 MHz a tick is 40.
 *
 * Console and exit go through semihosting. There is no pipeline, cache or flash timing:
 * instructions, not cycles. */
#ifndef NK_QEMU_BOARD_H_
#define NK_QEMU_BOARD_H_

#include "board.h"
#include "startup.h"

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)

#define SYST_ENABLE_WITH_INTERRUPT 7u /* processor clock, interrupt at zero, enabled */

/* A power of two less one: the period of SysTick in ticks is SYSTICK_RELOAD + 1. */
#ifndef SYSTICK_RELOAD
#define SYSTICK_RELOAD 0xFFFFFFu
#endif

enum {
  SYS_WRITE0 = 0x04,
  SYS_EXIT_EXTENDED = 0x20,
  ADP_STOPPED_APPLICATION_EXIT = 0x20026,
};

static volatile uint32_t systick_periods;

static void semihost(uint32_t operation, const void *argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void board_puts(const char *text) { semihost(SYS_WRITE0, text); }

_Noreturn void board_exit(int status) {
  const uint32_t argument[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
  semihost(SYS_EXIT_EXTENDED, argument);
  for (;;) {
  }
}

uint64_t board_instructions(void) {
  uint32_t periods, value;
  do { /* again if the counter wrapped between the two reads */
    periods = systick_periods;
    value = SYST_CVR;
  } while (periods != systick_periods);
  /* SysTick counts down and interrupts on reaching zero, so zero is the start of a period. */
  uint32_t ticks = (0u - value) & SYSTICK_RELOAD;
  return IN_INSTRUCTIONS((uint64_t)periods * (SYSTICK_RELOAD + 1u) + ticks);
}

void SysTick_Handler(void) { systick_periods++; }

void board_init(void) {
  SYST_RVR = SYSTICK_RELOAD;
  SYST_CVR = 0;
  SYST_CSR = SYST_ENABLE_WITH_INTERRUPT;
}

#endif  // NK_QEMU_BOARD_H_
