/**
 * A test case that make_cases.py wrote: little-endian int32 batches, input_h, input_w, output_h,
 * output_w, levels, stream_size, input_size, output_size; then the stream, the input and the
 * expected output of each level.
 */
#ifndef NESTED_CASE_H_
#define NESTED_CASE_H_

#include <stddef.h>
#include <stdint.h>

#include "nk_nested_conv.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nested_case {
  nk_conv_dims dims;
  int32_t levels;
  int32_t stream_size;
  int32_t input_size;
  int32_t output_size;
  /** In `content`, whose start is aligned for any type. */
  const uint8_t *stream;
  const int8_t *input;
  const int8_t *outputs;
  uint8_t *content;
} nested_case;

/** Reads a case; ends the program with a message where that fails. Free with free_case(). */
nested_case load_case(const char *path);

void free_case(nested_case *loaded);

/** malloc() that ends the program instead of returning NULL; never of zero bytes. */
void *allocate(size_t size);

#ifdef __cplusplus
}
#endif

#endif  // NESTED_CASE_H_
