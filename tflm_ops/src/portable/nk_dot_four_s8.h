/** Four products of vectors at once: outputs that share the loads of an input, or the reverse. */
#ifndef NK_DOT_FOUR_S8_H_
#define NK_DOT_FOUR_S8_H_

#include "../ref/nk_arithmetic.h"

/** Output features that a fully connected kernel computes together. */
#define NK_FOUR_FEATURES 4

/** nk_dot_s8() of one x with each of four w. */
void nk_dot_four_s8(const int8_t *x, const int8_t *const *w, int32_t count, int32_t input_offset,
                    int32_t *sums);

/** Four neighbouring rows of a matrix [rows][count]; in place of those past its end the last. */
static inline void nk_four_rows(const int8_t *matrix, int32_t rows, int32_t count,
                                const int8_t **row) {
  for (int32_t i = 0; i < NK_FOUR_FEATURES; ++i) {
    row[i] = matrix + nk_min(i, rows - 1) * count;
  }
}

#endif  // NK_DOT_FOUR_S8_H_
