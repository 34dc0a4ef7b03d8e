/** Sums of fully connected layers for Cortex-M7, in nk_m7_fc.S. Each adds to sums[channels]. */
#ifndef NK_M7_FC_H_
#define NK_M7_FC_H_

#include <stdint.h>

/** Records with 8-bit deltas and blocks of four; x as nk_m7_fc_expand() leaves it. */
void nk_m7_fc_block4(const uint8_t *records, const uint16_t *counts, int32_t *sums,
                     const int16_t *x, int32_t channels);

/** Records with 8-bit deltas and single weights. */
void nk_m7_fc_single(const uint8_t *records, const uint16_t *counts, int32_t *sums, const int8_t *x,
                     int32_t channels);

/** Four channels of `count` weights, a multiple of 4; x as nk_m7_fc_expand() leaves it. */
void nk_m7_fc_dense4(const int8_t *weights, int32_t *sums, const int16_t *x, int32_t count);

/** Widens `count` values, a multiple of 4, in the order 0 2 1 3 of every four. */
void nk_m7_fc_expand(const int8_t *x, int16_t *words, int32_t count);

#endif  // NK_M7_FC_H_
