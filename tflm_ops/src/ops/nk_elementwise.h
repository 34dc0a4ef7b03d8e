/** Checks that the element-wise operators share. */
#ifndef NK_ELEMENTWISE_H_
#define NK_ELEMENTWISE_H_

#include <stdbool.h>

#include "../../include/nk_ops.h"
#include "../ref/nk_arithmetic.h"
#include "../ref/nk_geometry.h"

/** Whether all three shapes are valid, and both operands can be broadcast to the output. */
static inline bool nk_broadcasts(const nk_dims4 *input1, const nk_dims4 *input2,
                                 const nk_dims4 *output) {
  return nk_dims4_size(input1) != 0 && nk_dims4_size(input2) != 0 && nk_dims4_size(output) != 0 &&
         nk_dims4_broadcast_to(input1, output) && nk_dims4_broadcast_to(input2, output);
}

/** Whether the parameters of a sum or a difference are in range. */
static inline bool nk_add_params_are_valid(const nk_add_params *p) {
  return nk_in_range(p->left_shift, 0, 22) && nk_is_input_offset(p->input1_offset) &&
         nk_is_multiplier(p->input1_multiplier, p->input1_shift) &&
         nk_is_input_offset(p->input2_offset) &&
         nk_is_multiplier(p->input2_multiplier, p->input2_shift) &&
         nk_is_output_offset(p->output_offset) &&
         nk_is_multiplier(p->output_multiplier, p->output_shift) &&
         nk_is_activation_range(p->activation_min, p->activation_max);
}

/** Both operands are brought to a common scale with `left_shift` spare bits, summed, rescaled. */
static inline int8_t nk_add_pair(const nk_add_params *p, int8_t a, int8_t b) {
  const nk_output_stage stage = {p->output_offset, p->activation_min, p->activation_max};
  const int32_t scaled1 = nk_multiply_by_quantized_multiplier(
      (a + p->input1_offset) * (1 << p->left_shift), p->input1_multiplier, p->input1_shift);
  const int32_t scaled2 = nk_multiply_by_quantized_multiplier(
      (b + p->input2_offset) * (1 << p->left_shift), p->input2_multiplier, p->input2_shift);
  return nk_requantize(nk_wrapping_add(scaled1, scaled2), p->output_multiplier, p->output_shift,
                       &stage);
}

#endif  // NK_ELEMENTWISE_H_
