/* NUCLEO-F767ZI: STM32F767ZI, Cortex-M7 at 216 MHz, 2 MB of flash, 512 KB of SRAM.
 *
 * Console: USART3 on PD8 and PD9, the virtual serial port of the board's ST-LINK, 115200 8N1.
 * Counter: CYCCNT of the DWT. CYCCNT counts cycles on the board, and instructions under Renode with
 * the platform file of this folder. Register names and bits: RM0410 (STM32F76xxx), PM0253. */
#include "board.h"

#include "startup.h"

/* Reset and clock control. */
#define RCC_CR REGISTER(0x40023800u)
#define RCC_PLLCFGR REGISTER(0x40023804u)
#define RCC_CFGR REGISTER(0x40023808u)
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB1ENR REGISTER(0x40023840u)
#define RCC_CR_HSEON (1u << 16)
#define RCC_CR_HSERDY (1u << 17)
#define RCC_CR_HSEBYP (1u << 18)
#define RCC_CR_PLLON (1u << 24)
#define RCC_CR_PLLRDY (1u << 25)
#define RCC_CFGR_SW_PLL 2u
#define RCC_CFGR_SWS_MASK (3u << 2)
#define RCC_CFGR_SWS_PLL (2u << 2)
#define RCC_CFGR_PPRE1_DIV4 (5u << 10)
#define RCC_CFGR_PPRE2_DIV2 (4u << 13)
#define RCC_AHB1ENR_GPIODEN (1u << 3)
#define RCC_APB1ENR_USART3EN (1u << 18)
#define RCC_APB1ENR_PWREN (1u << 28)

/* Power control and flash interface. */
#define PWR_CR1 REGISTER(0x40007000u)
#define PWR_CSR1 REGISTER(0x40007004u)
#define PWR_CR1_VOS_SCALE_1 (3u << 14)
#define PWR_CR1_ODEN (1u << 16)
#define PWR_CR1_ODSWEN (1u << 17)
#define PWR_CSR1_ODRDY (1u << 16)
#define PWR_CSR1_ODSWRDY (1u << 17)
#define FLASH_ACR REGISTER(0x40023C00u)
#define FLASH_ACR_LATENCY_MASK 0xFu
#define FLASH_ACR_LATENCY_7 7u

/* Port D and USART3. */
#define GPIOD_MODER REGISTER(0x40020C00u)
#define GPIOD_AFRH REGISTER(0x40020C24u)
#define USART3_CR1 REGISTER(0x40004800u)
#define USART3_BRR REGISTER(0x4000480Cu)
#define USART3_ISR REGISTER(0x4000481Cu)
#define USART3_TDR REGISTER(0x40004828u)
#define USART_CR1_UE (1u << 0)
#define USART_CR1_TE (1u << 3)
#define USART_ISR_TC (1u << 6)
#define USART_ISR_TXE (1u << 7)

/* The core: caches and cycle counter. */
#define SCB_CCR REGISTER(0xE000ED14u)
#define SCB_CCSIDR REGISTER(0xE000ED80u)
#define SCB_CSSELR REGISTER(0xE000ED84u)
#define SCB_ICIALLU REGISTER(0xE000EF50u)
#define SCB_DCISW REGISTER(0xE000EF60u)
#define SCB_CCR_DC (1u << 16)
#define SCB_CCR_IC (1u << 17)
#define DEMCR REGISTER(0xE000EDFCu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL REGISTER(0xE0001000u)
#define DWT_CYCCNT REGISTER(0xE0001004u)
#define DWT_LAR REGISTER(0xE0001FB0u)
#define DWT_CTRL_CYCCNTENA (1u << 0)
#define DWT_LAR_UNLOCK 0xC5ACCE55u

/* The PLL: 8 MHz / 4 = 2 MHz into it, * 216 = 432 MHz, / 2 = 216 MHz for the core. Q = 9 makes the
 * 48 MHz of USB, R = 2 is the reset value. */
#define PLLCFGR_216_MHZ                                 \
  (4u /* M */ | (216u << 6)              /* N */        \
   | (0u << 16) /* P = 2 */ | (1u << 22) /* from HSE */ \
   | (9u << 24) /* Q */ | (2u << 28) /* R */)

enum { APB1_HZ = 216000000 / 4, BAUD = 115200 };

static void wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value) {
  while ((*reg & mask) != value) {
  }
}

static void barrier(void) { __asm__ volatile("dsb\n isb" ::: "memory"); }

/* 216 MHz from the 8 MHz that the ST-LINK feeds into OSC_IN (bypass: there is no crystal). More
 * than 180 MHz needs over-drive, and flash at 216 MHz and 3.3 V needs 7 wait states. */
static void start_clock(void) {
  RCC_APB1ENR |= RCC_APB1ENR_PWREN;
  (void)RCC_APB1ENR; /* the clock of a peripheral runs two cycles after the write */
  PWR_CR1 |= PWR_CR1_VOS_SCALE_1;
  RCC_CR |= RCC_CR_HSEBYP;
  RCC_CR |= RCC_CR_HSEON;
  wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY);
  RCC_PLLCFGR = PLLCFGR_216_MHZ;
  RCC_CR |= RCC_CR_PLLON;
  PWR_CR1 |= PWR_CR1_ODEN;
  wait_for(&PWR_CSR1, PWR_CSR1_ODRDY, PWR_CSR1_ODRDY);
  PWR_CR1 |= PWR_CR1_ODSWEN;
  wait_for(&PWR_CSR1, PWR_CSR1_ODSWRDY, PWR_CSR1_ODSWRDY);
  wait_for(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY);
  FLASH_ACR = FLASH_ACR_LATENCY_7;
  wait_for(&FLASH_ACR, FLASH_ACR_LATENCY_MASK, FLASH_ACR_LATENCY_7);
  /* The buses first: APB1 may run at 54 MHz and APB2 at 108 MHz at most. */
  RCC_CFGR |= RCC_CFGR_PPRE1_DIV4 | RCC_CFGR_PPRE2_DIV2;
  RCC_CFGR |= RCC_CFGR_SW_PLL;
  wait_for(&RCC_CFGR, RCC_CFGR_SWS_MASK, RCC_CFGR_SWS_PLL);
}

/* Starts instruction and data cache. The contents of a cache are undefined after reset, so each
 * cache is invalidated before the start. A cache that is on stays on, because Renode's core comes
 * with the bit of the data cache set (and a CCSIDR of 0). */
static void start_caches(void) {
  if (!(SCB_CCR & SCB_CCR_IC)) {
    barrier();
    SCB_ICIALLU = 0;
    barrier();
    SCB_CCR |= SCB_CCR_IC;
    barrier();
  }
  if (!(SCB_CCR & SCB_CCR_DC)) {
    SCB_CSSELR = 0; /* level 1, data */
    barrier();
    uint32_t size = SCB_CCSIDR;
    uint32_t last_set = (size >> 13) & 0x7FFFu, last_way = (size >> 3) & 0x3FFu;
    for (uint32_t set = 0; set <= last_set; ++set) {
      /* Lines of 32 bytes; four ways, in the two topmost bits. */
      for (uint32_t way = 0; way <= last_way; ++way) {
        SCB_DCISW = (set << 5) | (way << 30);
      }
    }
    barrier();
    SCB_CCR |= SCB_CCR_DC;
    barrier();
  }
}

static void start_counter(void) {
  DEMCR |= DEMCR_TRCENA;
  DWT_LAR = DWT_LAR_UNLOCK;
  DWT_CYCCNT = 0;
  DWT_CTRL |= DWT_CTRL_CYCCNTENA;
}

static void start_console(void) {
  RCC_AHB1ENR |= RCC_AHB1ENR_GPIODEN;
  RCC_APB1ENR |= RCC_APB1ENR_USART3EN;
  (void)RCC_APB1ENR;
  /* PD8 (TX) and PD9 (RX) become alternate function 7. */
  GPIOD_AFRH = (GPIOD_AFRH & ~0xFFu) | 0x77u;
  GPIOD_MODER = (GPIOD_MODER & ~(0xFu << 16)) | (0xAu << 16);
  USART3_BRR = (APB1_HZ + BAUD / 2) / BAUD;
  USART3_CR1 = USART_CR1_UE | USART_CR1_TE;
}

void board_init(void) {
  start_clock();
  start_caches();
  start_counter();
  start_console();
}

void board_puts(const char *text) {
  for (; *text != '\0'; ++text) {
    wait_for(&USART3_ISR, USART_ISR_TXE, USART_ISR_TXE);
    USART3_TDR = (uint8_t)*text;
  }
}

/* No host takes the status, but the printed text shows the status. The loop holds an instruction,
 * because Renode's core takes a branch to itself for WFI: the core would sleep while CYCCNT goes
 * on.
 */
_Noreturn void board_exit(int status) {
  (void)status;
  wait_for(&USART3_ISR, USART_ISR_TC, USART_ISR_TC);
  for (;;) {
    __asm__ volatile("nop");
  }
}

/* The 32-bit counter, extended: right as long as no two calls are 2^32 counts (19 s) apart, and for
 * the difference of two calls as long as these are not. */
uint64_t board_instructions(void) {
  static uint32_t wraps, last;
  uint32_t now = DWT_CYCCNT;
  if (now < last) {
    wraps++;
  }
  last = now;
  return ((uint64_t)wraps << 32) | now;
}
