/* Start-up of a Cortex-M7: vector table, FPU, variables, painted stack, fault reports. */
#include "startup.h"

#include <string.h>

#include "board.h"

extern uint32_t linker_data_load[], linker_data_start[], linker_data_end[];
extern uint32_t linker_bss_start[], linker_bss_end[];
extern uint32_t linker_stack_limit[], linker_stack_top[];

int main(void);
void Reset_Handler(void);

#define SCB_ICSR REGISTER(0xE000ED04u)
#define SCB_VTOR REGISTER(0xE000ED08u)
#define SCB_CCR REGISTER(0xE000ED14u)
#define SCB_CFSR REGISTER(0xE000ED28u)
#define SCB_CPACR REGISTER(0xE000ED88u)

#define CCR_UNALIGN_TRP (1u << 3)
#define CPACR_FULL_FPU (0xFu << 20)

enum { STACK_PAINT = 0x5A5A5A5A, EXIT_FAULT = 9 };

typedef void (*handler)(void);
typedef struct {
  uint32_t *stack_top;
  handler handlers[15]; /* exceptions 1 to 15 */
} vector_table;

extern const vector_table vectors;

size_t board_stack_used(void) {
  const uint32_t *word = linker_stack_limit;
  while (word < linker_stack_top && *word == STACK_PAINT) {
    word++;
  }
  return (size_t)(linker_stack_top - word) * sizeof(uint32_t);
}

/* " <name>=<8 hex digits>" */
static void put_register(const char *name, uint32_t value) {
  char digits[9];
  for (int i = 0; i < 8; ++i) {
    digits[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
  }
  digits[8] = '\0';
  board_puts(" ");
  board_puts(name);
  board_puts("=");
  board_puts(digits);
}

/* `frame` holds the registers that the core pushed: r0-r3, r12, lr, pc, xpsr. */
__attribute__((used)) static void report_fault(const uint32_t *frame) {
  const char number[2] = {(char)('0' + (int)(SCB_ICSR & 15u)), '\0'};
  board_puts("fault ");
  board_puts(number);
  put_register("pc", frame[6]);
  put_register("cfsr", SCB_CFSR);
  board_puts("\n");
  board_exit(EXIT_FAULT);
}

__attribute__((naked)) static void Fault_Handler(void) {
  __asm__ volatile("mov r0, sp\n b report_fault");
}

__attribute__((weak, alias("Fault_Handler"))) void SysTick_Handler(void);

static void paint_stack(void) {
  uint32_t *here = __builtin_frame_address(0);
  for (uint32_t *word = linker_stack_limit; word < here - 16; ++word) {
    *word = STACK_PAINT;
  }
}

void Reset_Handler(void) {
  /* First of all: the compiler may save FPU registers in any function. */
  SCB_CPACR |= CPACR_FULL_FPU;
  __asm__ volatile("dsb\n isb" ::: "memory");
  SCB_VTOR = (uint32_t)&vectors;
#ifndef __ARM_FEATURE_UNALIGNED
  /* -mno-unaligned-access promises that there are none: fault at the first. */
  SCB_CCR |= CCR_UNALIGN_TRP;
#endif
  memcpy(linker_data_start, linker_data_load,
         (size_t)((char *)linker_data_end - (char *)linker_data_start));
  memset(linker_bss_start, 0, (size_t)((char *)linker_bss_end - (char *)linker_bss_start));
  paint_stack();
  board_init();
  board_exit(main());
}

__attribute__((section(".vectors"), used)) const vector_table vectors = {
    linker_stack_top,
    // clang-format off
    {
        Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
        Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
        Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, SysTick_Handler,
    },
    // clang-format on
};
