/* Between the start-up code that all boards share (startup.c) and a board. */
#ifndef NK_STARTUP_H_
#define NK_STARTUP_H_

#include <stdint.h>

/** A memory-mapped register. */
#define REGISTER(address) (*(volatile uint32_t *)(address))

/** Clocks, console and the instruction counter; runs before main, after variables are set up. */
void board_init(void);

/** The board's SysTick interrupt; on a board without this function the interrupt is a fault. */
void SysTick_Handler(void);

#endif  // NK_STARTUP_H_
