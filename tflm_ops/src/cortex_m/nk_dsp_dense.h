/**
 * Dense convolutions with small filters, such as a model's first layer, for cores with the DSP
 * extension: the windows of two output pixels are gathered as int16, and SMLAD multiplies two
 * weights at a time for four output channels and both pixels (docs/kernels.md).
 */
#ifndef NK_DSP_DENSE_H_
#define NK_DSP_DENSE_H_

#include <stdbool.h>

#include "../../include/nk_nested_conv.h"
#include "../ref/nk_arithmetic.h"

/** Output channels of a group, which share the inputs in registers. */
#define NK_DSP_DENSE_GROUP 4

/** How the sums of a group become outputs. Sums and biases are doubled. */
typedef struct nk_dsp_dense_group {
  /** Start of the first channel's sum of the first pixel: 2^23, and minus the passes of the loop in
   * the top byte, which counts the passes. */
  int32_t start;
  /** Of channels 1, 2, 3 and 0. */
  int32_t bias[NK_DSP_DENSE_GROUP];
  /** bias[3] - 2^23, which makes the counting sum a sum like the others. */
  int32_t correction;
  /** As in nk_dsp_channel. */
  struct {
    int32_t multiplier;
    int32_t half;
    int32_t shift;
  } channel[NK_DSP_DENSE_GROUP];
  /** Whether nk_dsp_dense_exact() stores the outputs; then the biases are 0. */
  int32_t exact;
} nk_dsp_dense_group;

/** Arguments of nk_dsp_dense_tile(), which knows the layout up to `step`. */
typedef struct nk_dsp_dense_pair {
  /** The inputs: two of the first pixel, the same two of the second pixel, and so on; behind the
   * last a pair of zeros for each. */
  const uint32_t *x;
  /** Doubled weights, [group][inputs / 2][channel]: two weights a word. */
  const uint32_t *weights;
  const nk_dsp_dense_group *group;
  const nk_dsp_dense_group *groups_end;
  int8_t *output;
  /** Bytes from the first pixel to the second; 0 where there is but one. */
  int32_t step;
  // For nk_dsp_dense_exact().
  const nk_dsp_dense_group *groups;
  const nk_stream *stream;
  int32_t level;
} nk_dsp_dense_pair;

/** Computes all output channels of two pixels; in nk_dsp_dense_tile.S. */
void nk_dsp_dense_tile(const nk_dsp_dense_pair *pair);

/** Gathers a window of three rows of nine elements, `pitch` bytes apart, for one pixel of a pair.
 */
void nk_dsp_dense_gather_nines(const int8_t *from, int32_t pitch, int16_t *to);

/** Gathers a window of `rows` rows of `elements` elements, which four divides. */
void nk_dsp_dense_gather_fours(const int8_t *from, int32_t pitch, int16_t *to, int32_t rows,
                               int32_t elements);

/** Stores the outputs of a group; sums: [pixel][channel], doubled, without the biases. */
void nk_dsp_dense_exact(const nk_dsp_dense_pair *pair, const nk_dsp_dense_group *group,
                        const int32_t *sums, int8_t *output);

/** Whether this kernel runs the layer: a convolution whose only weights are a small dense level 0.
 */
bool nk_dsp_dense_takes(const nk_stream *stream);

/** Bytes of scratch, the same on every target. */
int32_t nk_dsp_dense_bytes(const nk_stream *stream);

/** Runs the layer; scratch of the size above, 4-byte aligned. */
void nk_dsp_dense_run(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                      const int8_t *input, int8_t *output, void *scratch);

#endif  // NK_DSP_DENSE_H_
