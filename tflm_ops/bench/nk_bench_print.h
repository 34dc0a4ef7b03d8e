/** Numbers and bytes on the board's console. */
#ifndef NK_BENCH_PRINT_H_
#define NK_BENCH_PRINT_H_

#include <stddef.h>
#include <stdint.h>

#include "board.h"

/** A space, then the number in decimal. */
static inline void nk_bench_put_unsigned(size_t value) {
  char text[24];
  size_t i = sizeof text - 1;
  text[i] = '\0';
  do {
    text[--i] = (char)('0' + (int)(value % 10));
    value /= 10;
  } while (value != 0);
  text[--i] = ' ';
  board_puts(text + i);
}

/** A space, two lower-case digits for each byte, and the end of the line. */
static inline void nk_bench_put_hex_line(const uint8_t *bytes, int32_t count) {
  static const char digits[] = "0123456789abcdef";
  char text[1025];
  size_t length = 0;
  board_puts(" ");
  for (int32_t i = 0; i < count; ++i) {
    text[length++] = digits[bytes[i] >> 4];
    text[length++] = digits[bytes[i] & 15u];
    if (length == sizeof text - 1 || i + 1 == count) {
      text[length] = '\0';
      board_puts(text);
      length = 0;
    }
  }
  board_puts("\n");
}

#endif  // NK_BENCH_PRINT_H_
