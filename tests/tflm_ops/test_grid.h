/** Random numbers and output of the grid tests. */
#ifndef TEST_GRID_H_
#define TEST_GRID_H_

#include <stdbool.h>
#include <stdint.h>

#include "board.h"

static uint32_t grid_state = 20261122;

static inline uint32_t grid_random(void) {
  grid_state = grid_state * 1664525 + 1013904223;
  return grid_state >> 8;
}

/** low .. high, which are less than 2^31 apart. */
static inline int32_t grid_number(int32_t low, int32_t high) {
  // One draw has 24 bits: two for a wide range.
  const uint32_t wide = grid_random() << 16 ^ grid_random();
  return low + (int32_t)(wide % ((uint32_t)high - (uint32_t)low + 1));
}

static inline void grid_fill(int8_t *bytes, int32_t size) {
  for (int32_t i = 0; i < size; ++i) {
    bytes[i] = (int8_t)grid_random();
  }
}

static inline void grid_put_number(int32_t value) {
  char text[12];
  char *p = text + sizeof text;
  uint32_t rest = value < 0 ? 0 - (uint32_t)value : (uint32_t)value;
  *--p = '\0';
  do {
    *--p = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0) {
    *--p = '-';
  }
  board_puts(p);
  board_puts(" ");
}

/** Prints a difference: what, and the facts to find it by. */
static inline void grid_print(const char *what, const int32_t *facts, int32_t count) {
  board_puts(what);
  board_puts(" differs: ");
  for (int32_t i = 0; i < count; ++i) {
    grid_put_number(facts[i]);
  }
  board_puts("\n");
}

/** Prints how many layers were tried; returns the exit status. */
static inline int grid_end(int32_t layers, bool all_agree) {
  grid_put_number(layers);
  board_puts("layers\n");
  return all_agree ? 0 : 1;
}

#endif  // TEST_GRID_H_
