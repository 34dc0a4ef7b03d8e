/**
 * Runs every level of every case, in buffers of exactly the right size: test_cases CASE...
 * Kernels that nk_nested_conv_s8() does not choose on this target are called as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_depthwise.h"
#include "../../tflm_ops/src/cortex_m/nk_fully_connected.h"
#include "../../tflm_ops/src/cortex_m/nk_short_sum.h"
#include "nested_case.h"

typedef nk_status parts_function(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                 const int8_t *input, int8_t *output, void *scratch,
                                 size_t scratch_size);

/** Copies into a block of just this size, so that a sanitizer sees every step beyond it. */
static void *copy(const void *data, int32_t size) {
  void *memory = allocate((size_t)size);
  memcpy(memory, data, (size_t)size);
  return memory;
}

/** Runs the tuned kernel of the layer; false where there is none. */
static bool run_tuned(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                      const int8_t *input, int8_t *output, void *scratch) {
  if (level >= stream->in_place_levels) {
    return false;
  }
  if (stream->kind == NK_KIND_FULLY_CONNECTED) {
    nk_nested_fully_connected_s8_dsp(stream, level, dims->batches, input, output);
    return true;
  }
  if (nk_nested_depthwise_s8_dsp_supports(stream, dims)) {
    nk_nested_depthwise_s8_dsp(stream, level, dims, input, output, scratch);
    return true;
  }
  return false;
}

/** The function for parts of such a layer; NULL for a dilated one. */
static parts_function *parts_of(const nk_stream *stream, const nk_conv_dims *dims) {
  if (stream->kind == NK_KIND_FULLY_CONNECTED) {
    return nk_nested_fully_connected_parts_s8;
  }
  if (stream->dilation_h != 1 || stream->dilation_w != 1) {
    return NULL;
  }
  return nk_nested_depthwise_s8_dsp_supports(stream, dims) ? nk_nested_depthwise_parts_s8
                                                           : nk_nested_conv2d_parts_s8;
}

/** Runs a level in parts, in as little memory as the parts take; false for another output. */
static bool run_parts(const nk_stream *stream, int32_t level, const nested_case *c,
                      const int8_t *input, const int8_t *expected) {
  parts_function *run_in_parts = parts_of(stream, &c->dims);
  int8_t *output = allocate((size_t)c->output_size);
  nk_status status = run_in_parts == NULL ? NK_OK : NK_ERROR_BUFFER;
  bool same = run_in_parts == NULL;
  for (size_t size = 0; status == NK_ERROR_BUFFER; size += 32) {
    void *scratch = allocate(size);
    status = run_in_parts(stream, level, &c->dims, input, output, size == 0 ? NULL : scratch, size);
    same = status == NK_OK && memcmp(output, expected, (size_t)c->output_size) == 0;
    free(scratch);
  }
  free(output);
  return same;
}

/** A sum of two operands, half of each. */
static const nk_add_params kSum = {.activation_min = -120,
                                   .activation_max = 100,
                                   .short_factor1 = 1 << 27,
                                   .short_factor2 = 1 << 27,
                                   .short_constant = 1 << 19};

/** Adds a tensor to a convolution, in as little memory as its parts take; false for another output
 * than one element after the other. */
static bool run_sum(const nk_stream *stream, int32_t level, const nested_case *c,
                    const int8_t *input, const int8_t *expected) {
  if (parts_of(stream, &c->dims) != nk_nested_conv2d_parts_s8 || stream->kind != NK_KIND_CONV) {
    return true;
  }
  int8_t *other = allocate((size_t)c->output_size);
  int8_t *output = allocate((size_t)c->output_size);
  for (int32_t i = 0; i < c->output_size; ++i) {
    other[i] = (int8_t)(i * 37);
  }
  nk_status status = NK_ERROR_BUFFER;
  for (size_t size = 0; status == NK_ERROR_BUFFER; size += 32) {
    void *scratch = allocate(size);
    status = nk_nested_conv2d_add_parts_s8(stream, level, &c->dims, input, &kSum, other, output,
                                           size == 0 ? NULL : scratch, size);
    free(scratch);
  }
  bool same = status == NK_OK;
  for (int32_t i = 0; i < c->output_size; ++i) {
    same = same && output[i] == nk_clamp(nk_short_sum_pair(&kSum, expected[i], other[i]),
                                         kSum.activation_min, kSum.activation_max);
  }
  free(output);
  free(other);
  return same;
}

/** Whether the check of streams in place takes just those. */
static bool check_in_place(const nk_stream *stream) {
  const nk_status expected = stream->in_place_levels == stream->levels ? NK_OK : NK_ERROR_ARGUMENT;
  return nk_stream_validate_in_place(stream) == expected;
}

static int run(const char *path) {
  nested_case c = load_case(path);
  uint8_t *data = copy(c.stream, c.stream_size);
  int8_t *input = copy(c.input, c.input_size);
  int8_t *output = allocate((size_t)c.output_size);
  nk_stream stream;
  nk_status status = nk_stream_open(data, (size_t)c.stream_size, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  int failures = 0;
  if (status != NK_OK || stream.levels != c.levels) {
    fprintf(stderr, "%s: %s, expected NK_OK and %d levels\n", path, nk_status_name(status),
            (int)c.levels);
    failures = 1;
  } else {
    const int32_t needed = nk_nested_conv_s8_get_buffer_size(&stream, &c.dims);
    void *scratch = allocate((size_t)needed);
    failures += check_in_place(&stream) ? 0 : 1;
    for (int32_t level = 0; level < c.levels; ++level) {
      status = nk_nested_conv_s8(&stream, level, &c.dims, input, output, scratch, (size_t)needed);
      const int8_t *expected = c.outputs + level * c.output_size;
      if (status != NK_OK || memcmp(output, expected, (size_t)c.output_size) != 0) {
        fprintf(stderr, "%s: level %d: %s, or another output than the NumPy reference\n", path,
                (int)level, nk_status_name(status));
        ++failures;
      }
      if (!run_parts(&stream, level, &c, input, expected)) {
        fprintf(stderr, "%s: level %d: another output in parts\n", path, (int)level);
        ++failures;
      }
      if (!run_sum(&stream, level, &c, input, expected)) {
        fprintf(stderr, "%s: level %d: another sum in parts\n", path, (int)level);
        ++failures;
      }
      memset(output, 0, (size_t)c.output_size);
      if (run_tuned(&stream, level, &c.dims, input, output, scratch) &&
          memcmp(output, expected, (size_t)c.output_size) != 0) {
        fprintf(stderr, "%s: level %d: another output of the tuned kernel\n", path, (int)level);
        ++failures;
      }
    }
    free(scratch);
  }
  free(output);
  free(input);
  free(data);
  free_case(&c);
  return failures;
}

int main(int argc, char **argv) {
  int failures = argc > 1 ? 0 : 1;
  for (int i = 1; i < argc; ++i) {
    failures += run(argv[i]);
  }
  printf("%d cases, %d failures\n", argc - 1, failures);
  return failures == 0 ? 0 : 1;
}
