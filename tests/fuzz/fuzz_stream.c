/**
 * Opens and validates a packed stream, and runs every kernel at every level of the streams that are
 * accepted. All kernels must give the bytes of the reference kernel, and write each byte of the
 * output.
 */
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_depthwise.h"
#include "../../tflm_ops/src/cortex_m/nk_fully_connected.h"
#include "../../tflm_ops/src/ops/nk_nested_parts_s8.h"
#include "nk_nested_conv.h"
#include "packed_input.h"

/** Larger layers would take the fuzzer too long. */
#define MAX_TENSOR_BYTES (1 << 13)
#define MAX_PRODUCTS (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef nk_status entry_point(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *input, int8_t *output, void *scratch,
                              size_t scratch_size);

/** The buffers of one layer. */
typedef struct layer {
  const nk_stream *stream;
  const nk_conv_dims *dims;
  const int8_t *input;
  int8_t *expected;
  int8_t *output;
  size_t output_size;
  size_t scratch_size;
} layer;

/** Runs one level in scratch memory of the size that was asked for. */
static nk_status run(const layer *l, entry_point *entry, int32_t level, int8_t *output) {
  void *scratch = fuzz_allocate(l->scratch_size);
  memset(scratch, 0x5a, l->scratch_size);
  const nk_status status =
      entry(l->stream, level, l->dims, l->input, output, scratch, l->scratch_size);
  free(scratch);
  return status;
}

/** Compares the output with that of the reference, and prepares it for the next kernel. */
static void compare(const layer *l, const char *kernel) {
  if (memcmp(l->output, l->expected, l->output_size) != 0) {
    fuzz_fail(kernel);
  }
  memset(l->output, 0xaa, l->output_size);
}

/** The reference kernel, a part of the channels at a time. */
static nk_status run_reference(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                               const int8_t *input, int8_t *output, void *scratch,
                               size_t scratch_size) {
  return nk_nested_parts_s8(nk_nested_conv_s8_ref, stream, level, dims, input, output, scratch,
                            scratch_size);
}

static void run_tuned(const layer *l, int32_t level) {
  if (level >= l->stream->in_place_levels) {
    return;
  }
  if (l->stream->kind == NK_KIND_FULLY_CONNECTED) {
    nk_nested_fully_connected_s8_dsp(l->stream, level, l->dims->batches, l->input, l->output);
    compare(l, "nk_nested_fully_connected_s8_dsp: another output");
  } else if (nk_nested_depthwise_s8_dsp_supports(l->stream, l->dims)) {
    void *tile = fuzz_allocate(l->scratch_size);
    nk_nested_depthwise_s8_dsp(l->stream, level, l->dims, l->input, l->output, tile);
    free(tile);
    compare(l, "nk_nested_depthwise_s8_dsp: another output");
  }
}

static void run_level(const layer *l, int32_t level) {
  static entry_point *const kInPlace[] = {nk_nested_conv2d_s8, nk_nested_depthwise_s8,
                                          nk_nested_fully_connected_s8};
  static entry_point *const kInParts[] = {nk_nested_conv2d_parts_s8, nk_nested_depthwise_parts_s8,
                                          nk_nested_fully_connected_parts_s8};
  entry_point *const *special = level < l->stream->in_place_levels ? kInPlace : kInParts;
  memset(l->expected, 0x55, l->output_size);
  memset(l->output, 0xaa, l->output_size);
  if (run(l, run_reference, level, l->expected) != NK_OK ||
      run(l, nk_nested_conv_s8, level, l->output) != NK_OK) {
    fuzz_fail("an accepted stream did not run");
  }
  compare(l, "nk_nested_conv_s8: another output");
  int32_t takers = 0;
  for (size_t i = 0; i < sizeof(kInPlace) / sizeof(kInPlace[0]); ++i) {
    const nk_status status = run(l, special[i], level, l->output);
    if (status == NK_OK) {
      ++takers;
      compare(l, "a special entry point: another output");
    } else if (status != NK_ERROR_ARGUMENT) {
      fuzz_fail("a special entry point refused a layer with another status");
    }
  }
  if (takers != (l->stream->dilation_h == 1 && l->stream->dilation_w == 1)) {
    fuzz_fail("a layer was taken by the wrong number of special entry points");
  }
  run_tuned(l, level);
}

/** Runs with arguments that the entry points must refuse. */
static void run_refused(const layer *l) {
  if (run(l, nk_nested_conv_s8, l->stream->levels, l->output) != NK_ERROR_LEVEL ||
      run(l, nk_nested_conv_s8, -1, l->output) != NK_ERROR_LEVEL) {
    fuzz_fail("a level that the stream lacks was not refused");
  }
  layer small = *l;
  // Levels that are unpacked make do with less, but not with so little.
  small.scratch_size =
      l->stream->in_place_levels > 0 ? l->scratch_size - (l->scratch_size > 0) : sizeof(int32_t);
  if (l->scratch_size > 0 && run(&small, nk_nested_conv_s8, 0, l->output) != NK_ERROR_BUFFER) {
    fuzz_fail("a scratch memory that is too small was not refused");
  }
}

static void run_layer(const nk_stream *s, const nk_conv_dims *d, fuzz_input *head) {
  const int32_t needed = nk_nested_conv_s8_get_buffer_size(s, d);
  if (needed < 0) {
    return;
  }
  const int64_t pixels_out = (int64_t)d->batches * d->output_h * d->output_w;
  const int64_t input_size = (int64_t)d->batches * d->input_h * d->input_w * s->in_channels;
  const int64_t output_size = pixels_out * s->out_channels;
  if (input_size > MAX_TENSOR_BYTES || output_size > MAX_TENSOR_BYTES ||
      needed > 16 * MAX_TENSOR_BYTES ||
      output_size * s->channel_weights * s->levels > MAX_PRODUCTS) {
    return;
  }
  void *input = take_block(head, (size_t)input_size);
  const layer l = {.stream = s,
                   .dims = d,
                   .input = input,
                   .expected = fuzz_allocate((size_t)output_size),
                   .output = fuzz_allocate((size_t)output_size),
                   .output_size = (size_t)output_size,
                   .scratch_size = (size_t)needed};
  for (int32_t level = 0; level < s->levels; ++level) {
    run_level(&l, level);
  }
  run_refused(&l);
  free(l.output);
  free(l.expected);
  free(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  packed_input in;
  if (!split_input(data, size, &in)) {
    return 0;
  }
  nk_conv_dims dims = {take_dimension(&in.head), take_dimension(&in.head), take_dimension(&in.head),
                       take_dimension(&in.head), take_dimension(&in.head)};
  uint8_t *copy = fuzz_allocate(in.stream_size);
  memcpy(copy, in.stream, in.stream_size);
  nk_stream stream;
  nk_status status = nk_stream_open(copy, in.stream_size, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  if (status < NK_OK || status > NK_ERROR_BUFFER || nk_status_name(status) == NULL) {
    fuzz_fail("an unknown status");
  }
  if (status == NK_OK) {
    run_layer(&stream, &dims, &in.head);
  }
  free(copy);
  return 0;
}
