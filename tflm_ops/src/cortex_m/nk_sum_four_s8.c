#include "../ref/nk_arithmetic.h"
#include "nk_simd.h"

void nk_sum_four_s8(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                    int32_t column_step, int32_t *sums) {
  sums[0] = sums[1] = sums[2] = sums[3] = 0;
  // As many whole rows as fit at a time, or a row in parts.
  const int32_t part_columns = nk_min(columns, NK_MAX_LANE_TERMS);
  const int32_t part_rows = nk_min(rows, NK_MAX_LANE_TERMS / part_columns);
  for (int32_t r = 0; r < rows; r += part_rows) {
    for (int32_t c = 0; c < columns; c += part_columns) {
      uint32_t even;
      uint32_t odd;
      nk_sum_lanes(x + r * row_step + c * column_step, nk_min(part_rows, rows - r),
                   nk_min(part_columns, columns - c), row_step, column_step, &even, &odd);
      sums[0] += (int16_t)even;
      sums[1] += (int16_t)odd;
      sums[2] += (int32_t)even >> 16;
      sums[3] += (int32_t)odd >> 16;
    }
  }
}
