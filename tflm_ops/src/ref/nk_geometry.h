/** Shapes and sliding windows, shared by the kernels. */
#ifndef NK_GEOMETRY_H_
#define NK_GEOMETRY_H_

#include <stdbool.h>
#include <stdint.h>

#include "../../include/nk_ops.h"
#include "nk_arithmetic.h"

/** Largest height, width, kernel size, stride, dilation and padding: sums fit into int32. */
#define NK_MAX_EXTENT 65535
/** Largest (kernel - 1) * dilation. */
#define NK_MAX_REACH (65535 * 255)

/** Number of elements; 0 if a dimension is not positive or the number exceeds INT32_MAX. */
int32_t nk_dims4_size(const nk_dims4 *dims);

/** Whether a tensor can be broadcast: each of its dimensions is 1 or the output's. */
static inline bool nk_dims4_broadcast_to(const nk_dims4 *dims, const nk_dims4 *output) {
  return (dims->n == 1 || dims->n == output->n) && (dims->h == 1 || dims->h == output->h) &&
         (dims->w == 1 || dims->w == output->w) && (dims->c == 1 || dims->c == output->c);
}

/** Steps in elements along each dimension; 0 along the broadcast ones. */
static inline nk_dims4 nk_broadcast_strides(const nk_dims4 *dims) {
  const nk_dims4 strides = {
      dims->n == 1 ? 0 : dims->h * dims->w * dims->c,
      dims->h == 1 ? 0 : dims->w * dims->c,
      dims->w == 1 ? 0 : dims->c,
      dims->c == 1 ? 0 : 1,
  };
  return strides;
}

/** Half-open; empty where end <= begin. */
typedef struct nk_range {
  int32_t begin;
  int32_t end;
} nk_range;

/** The i in [0, count) with 0 <= start + i * step < size. */
static inline nk_range nk_range_inside(int32_t start, int32_t step, int32_t count, int32_t size) {
  nk_range range = {0, 0};
  if (start < 0) {
    range.begin = (step - 1 - start) / step;
  }
  if (start < size) {
    range.end = nk_min(count, (step - 1 + size - start) / step);
  }
  return range;
}

/** One spatial axis of a sliding window: tap t of output o reads o * stride - pad + t * dilation.
 */
typedef struct nk_axis {
  int32_t input;
  int32_t output;
  int32_t kernel;
  int32_t stride;
  int32_t dilation;
  int32_t pad;
} nk_axis;

/** The taps of one output that lie inside the input. */
static inline nk_range nk_axis_taps(const nk_axis *axis, int32_t output) {
  return nk_range_inside(output * axis->stride - axis->pad, axis->dilation, axis->kernel,
                         axis->input);
}

/** The outputs for which one tap lies inside the input. */
static inline nk_range nk_axis_outputs(const nk_axis *axis, int32_t tap) {
  return nk_range_inside(tap * axis->dilation - axis->pad, axis->stride, axis->output, axis->input);
}

/** Whether kernel size, stride, dilation and padding are in range. */
static inline bool nk_axis_has_valid_window(const nk_axis *axis) {
  return nk_in_range(axis->kernel, 1, NK_MAX_EXTENT) &&
         nk_in_range(axis->stride, 1, NK_MAX_EXTENT) &&
         nk_in_range(axis->dilation, 1, NK_MAX_EXTENT) &&
         nk_in_range(axis->pad, 0, NK_MAX_EXTENT) &&
         (int64_t)(axis->kernel - 1) * axis->dilation <= NK_MAX_REACH;
}

/** Whether the sizes are in range and the last window starts inside the input. */
static inline bool nk_axis_has_valid_sizes(const nk_axis *axis) {
  return nk_in_range(axis->input, 1, NK_MAX_EXTENT) &&
         nk_in_range(axis->output, 1, NK_MAX_EXTENT) &&
         (int64_t)(axis->output - 1) * axis->stride - axis->pad < axis->input;
}

#endif  // NK_GEOMETRY_H_
