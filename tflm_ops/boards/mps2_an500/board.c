/* QEMU's mps2-an500, a Cortex-M7 with 4 MiB of SSRAM as code memory and 4 MiB as RAM: start-up,
 * console and exit through semihosting, instruction counts from SysTick.
 *
 * Under `-icount shift=0` QEMU takes 1 ns for each instruction, so one tick of the 25 MHz SysTick
 * is 40 instructions. There is no pipeline, cache or flash timing: instructions, not cycles. */
#include "board.h"

#include <string.h>

extern uint32_t linker_data_load[], linker_data_start[], linker_data_end[];
extern uint32_t linker_bss_start[], linker_bss_end[];
extern uint32_t linker_stack_limit[], linker_stack_top[];

int main(void);
void Reset_Handler(void);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define SCB_ICSR REGISTER(0xE000ED04u)
#define SCB_CFSR REGISTER(0xE000ED28u)
#define SCB_CPACR REGISTER(0xE000ED88u)

#define SYST_ENABLE_WITH_INTERRUPT 7u /* processor clock, interrupt at zero, enabled */
#define CPACR_FULL_FPU (0xFu << 20)

/* A power of two less one: the period of SysTick in ticks is SYSTICK_RELOAD + 1. */
#ifndef SYSTICK_RELOAD
#define SYSTICK_RELOAD 0xFFFFFFu
#endif

enum {
  INSTRUCTIONS_PER_TICK = 40,
  STACK_PAINT = 0x5A5A5A5A,
  EXIT_FAULT = 9,
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
  return ((uint64_t)periods * (SYSTICK_RELOAD + 1u) + ticks) * INSTRUCTIONS_PER_TICK;
}

size_t board_stack_used(void) {
  const uint32_t *word = linker_stack_limit;
  while (word < linker_stack_top && *word == STACK_PAINT) word++;
  return (size_t)(linker_stack_top - word) * sizeof(uint32_t);
}

static void SysTick_Handler(void) { systick_periods++; }

/* " <name>=<8 hex digits>" */
static void put_register(const char *name, uint32_t value) {
  char digits[9];
  for (int i = 0; i < 8; i++) digits[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15u];
  digits[8] = '\0';
  board_puts(" ");
  board_puts(name);
  board_puts("=");
  board_puts(digits);
}

/* `frame` is what the core pushed: r0-r3, r12, lr, pc, xpsr. */
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

static void paint_stack(void) {
  uint32_t *here = __builtin_frame_address(0);
  for (uint32_t *word = linker_stack_limit; word < here - 16; word++) *word = STACK_PAINT;
}

void Reset_Handler(void) {
  SCB_CPACR |= CPACR_FULL_FPU;
  __asm__ volatile("dsb\n isb");
  memcpy(linker_data_start, linker_data_load,
         (size_t)((char *)linker_data_end - (char *)linker_data_start));
  memset(linker_bss_start, 0, (size_t)((char *)linker_bss_end - (char *)linker_bss_start));
  paint_stack();
  SYST_RVR = SYSTICK_RELOAD;
  SYST_CVR = 0;
  SYST_CSR = SYST_ENABLE_WITH_INTERRUPT;
  board_exit(main());
}

typedef void (*handler)(void);
typedef struct {
  uint32_t *stack_top;
  handler handlers[15]; /* exceptions 1 to 15 */
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    linker_stack_top,
    // clang-format off
    {
        Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
        Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
        Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, SysTick_Handler,
    },
    // clang-format on
};
