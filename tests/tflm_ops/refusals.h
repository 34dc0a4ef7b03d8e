/** Calls with one spoiled argument after the other, which must leave the output alone. */
#ifndef REFUSALS_H_
#define REFUSALS_H_

#include <stdio.h>
#include <string.h>

#include "nk_status.h"

enum { SIZE = 4096 };

static int8_t x[SIZE], y[SIZE];
static int failures;

static void expect(const char *what, nk_status status, nk_status wanted) {
  if (status != wanted) {
    fprintf(stderr, "%s: expected %s: got %s\n", what, nk_status_name(wanted),
            nk_status_name(status));
    ++failures;
  }
  for (int32_t i = 0; wanted != NK_OK && i < SIZE; ++i) {
    if (y[i] != 99) {
      fprintf(stderr, "%s: wrote to the output\n", what);
      ++failures;
      break;
    }
  }
  memset(y, 99, sizeof(y));
}

/** Sets a number to another value for one call. */
#define SPOIL(number, value, wanted)                 \
  do {                                               \
    const int32_t kept = (number);                   \
    (number) = (value);                              \
    expect(#number " = " #value, CALL, NK_##wanted); \
    (number) = kept;                                 \
  } while (0)

#define REFUSE(number, value) SPOIL(number, value, ERROR_ARGUMENT)
#define MISFIT(number, value) SPOIL(number, value, ERROR_SHAPE)
#define TAKE(number, value) SPOIL(number, value, OK)

/** Fills the input, and the output with 99. */
static void fill(void) {
  for (int32_t i = 0; i < SIZE; ++i) {
    x[i] = (int8_t)(i * 37);
  }
  memset(y, 99, sizeof(y));
}

/** The exit status of the test. */
static int result(void) {
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

#endif  // REFUSALS_H_
