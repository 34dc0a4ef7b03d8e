/** The sums of dense layers with Helium: nk_fully_connected_s8_dsp.c calls it. */
#ifndef NK_DENSE_SUMS_S8_MVE_H_
#define NK_DENSE_SUMS_S8_MVE_H_

#include <stdint.h>

/** sums[i] = from[i] + the sum of weights[i][j] * (x[j] + offset), for `count` channels of `length`
 * weights; modulo 2^32. */
void nk_dense_sums_s8_mve(const int8_t *weights, int32_t count, int32_t length, int32_t offset,
                          const int8_t *x, const int32_t *from, int32_t *sums);

#endif  // NK_DENSE_SUMS_S8_MVE_H_
