/**
 * Firmware: random layers of every kind through every entry point, which takes the kernels of this
 * target, and through the reference kernel, at every level; then layers of the largest sums.
 * Outputs and scratch, of the size that is asked for, lie between guards. An entry point of other
 * layers refuses and writes nothing. Prints a line per difference and the number of layers; ends
 * with status 1 where something differed. The same program runs on this computer under the
 * sanitizers.
 *
 * -DFIRST_SEED=n -DLAYERS=n choose the layers; layer i depends on FIRST_SEED + i alone.
 */
#include <string.h>

#include "../../tflm_ops/src/cortex_m/nk_depthwise.h"
#include "../../tflm_ops/src/cortex_m/nk_fully_connected.h"
#include "../../tflm_ops/src/cortex_m/nk_short_sum.h"
#include "../../tflm_ops/src/ops/nk_nested_parts_s8.h"
#include "../../tflm_ops/src/ref/nk_geometry.h"
#include "board.h"
#include "nk_nested_conv.h"

enum { POOL_BYTES = 7 << 17, TENSOR_BYTES = 11 << 15, SCRATCH_BYTES = 5 << 17, GUARD_BYTES = 1024 };
enum { MORE_BYTES = 1 << 13 };
enum { UNTOUCHED = 99 };
static _Alignas(16) uint8_t pool[POOL_BYTES];
static uint32_t pool_used;
static int8_t input[TENSOR_BYTES], expected[TENSOR_BYTES], other[TENSOR_BYTES];
/* With a guard in front of the tensor, or of the buffer, and one behind. */
static _Alignas(16) int8_t output[TENSOR_BYTES];
static _Alignas(16) int8_t scratch[SCRATCH_BYTES];
static _Alignas(16) uint8_t reference_scratch[SCRATCH_BYTES];

int main(void);

/* ---- random numbers and memory ---- */

static uint32_t random_state;

static uint32_t random_bits(void) {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

static int32_t random_in(int32_t low, int32_t high) {
  return low + (int32_t)(random_bits() % (uint32_t)(high - low + 1));
}

static bool once_in(int32_t n) { return random_in(1, n) == 1; }

static void put_number(const char *name, int32_t value) {
  char digits[12];
  char *at = digits + sizeof(digits) - 1;
  uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
  *at = '\0';
  do {
    *--at = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  board_puts(name);
  board_puts(value < 0 ? " -" : " ");
  board_puts(at);
}

static void *take(int32_t bytes) {
  void *taken = pool + pool_used;
  pool_used += ((uint32_t)bytes + 15u) & ~15u;
  if (pool_used > POOL_BYTES) {
    board_puts("the pool is too small\n");
    board_exit(2);
  }
  return taken;
}

/* ---- layers ---- */

typedef struct filter {
  int8_t *weights;
  uint8_t *level_map;
} filter;

static void choose_window(nk_stream *s) {
  const bool usual = once_in(2);
  const int32_t largest = once_in(4) ? 7 : 4;
  s->kernel_h = random_in(1, largest);
  s->kernel_w = random_in(1, largest);
  s->stride_h = random_in(1, 3);
  s->stride_w = random_in(1, 3);
  if (usual) {
    s->kernel_h = s->kernel_w = once_in(2) ? 3 : 1;
    s->stride_h = s->stride_w = random_in(1, 2);
  }
  s->dilation_h = once_in(16) ? 2 : 1;
  s->dilation_w = 1;
  s->pad_top = random_in(0, s->kernel_h - 1) + once_in(8);
  s->pad_left = random_in(0, s->kernel_w - 1) + once_in(8);
}

static void choose_channels(nk_stream *s) {
  s->kind = once_in(3) ? NK_KIND_DEPTHWISE : once_in(5) ? NK_KIND_FULLY_CONNECTED : NK_KIND_CONV;
  s->block_size = 1 << random_in(0, 2);
  s->depth_multiplier = 1;
  s->in_channels = s->block_size * random_in(1, once_in(4) ? 40 : 6);
  s->out_channels = random_in(1, once_in(3) ? 20 : 5);
  if (s->block_size == 1 && once_in(3)) {  // as the first layer of a model
    s->in_channels = 3;
  }
  s->filter_channels = s->in_channels;
  if (s->kind == NK_KIND_DEPTHWISE) {
    s->block_size = 1;
    s->depth_multiplier = once_in(2) ? random_in(1, 3) : 1;
    s->out_channels = s->in_channels * s->depth_multiplier;
    s->filter_channels = 1;
  } else if (s->kind == NK_KIND_FULLY_CONNECTED) {
    s->in_channels = s->filter_channels = s->block_size * random_in(1, once_in(2) ? 90 : 9);
    s->out_channels = once_in(4) ? random_in(30, 70) : s->out_channels;
    s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = s->dilation_h = 1;
    s->pad_top = s->pad_left = 0;
  }
  s->channel_weights = s->kernel_h * s->kernel_w * s->filter_channels;
}

static void choose_quantisation(nk_stream *s) {
  s->input_offset = once_in(4) ? (once_in(2) ? 128 : -127) : random_in(-127, 128);
  s->output_offset = random_in(-128, 127);
  s->activation_min = -128;
  s->activation_max = 127;
  if (once_in(4)) {
    s->activation_min = random_in(-128, 0);
    s->activation_max = random_in(s->activation_min, 127);
  }
}

static nk_conv_dims choose_dims(const nk_stream *s) {
  nk_conv_dims d = {random_in(1, 2), 1, 1, 1, 1};
  if (s->kind != NK_KIND_FULLY_CONNECTED) {
    d.output_h = random_in(1, 6);
    d.output_w = random_in(1, once_in(2) ? 21 : 8);
    const int32_t last_y = (d.output_h - 1) * s->stride_h - s->pad_top;
    const int32_t last_x = (d.output_w - 1) * s->stride_w - s->pad_left;
    // At times with pixels that no window meets.
    d.input_h = nk_max(1, last_y + random_in(1, s->kernel_h)) + once_in(8);
    d.input_w = nk_max(1, last_x + random_in(1, s->kernel_w)) + once_in(8);
    if (s->stride_h == 1 && s->stride_w == 1 && once_in(4)) {  // whatever the padding
      d.input_h = d.output_h;
      d.input_w = d.output_w;
    }
  }
  return d;
}

static int8_t random_value(int32_t style) {
  if (style == 0) {
    return once_in(2) ? -128 : 127;
  }
  return style == 1 ? -128 : (int8_t)random_bits();
}

static filter make_filter(const nk_stream *s, int32_t style) {
  const int32_t size = s->out_channels * s->channel_weights;
  const filter made = {take(size), take(size)};
  const int32_t zeros = once_in(4) ? (once_in(2) ? 0 : 99) : random_in(0, 100);
  for (int32_t i = 0; i < size; ++i) {
    const bool pruned = random_in(0, 99) < zeros;
    made.weights[i] = random_value(style);
    made.level_map[i] = (uint8_t)(pruned ? s->levels : random_in(0, s->levels - 1));
  }
  return made;
}

static void make_tables(nk_stream *s, nk_stream_level *level, bool wild) {
  int32_t *bias = take(4 * s->out_channels);
  int32_t *multiplier = take(4 * s->out_channels);
  int8_t *shift = take(s->out_channels);
  for (int32_t o = 0; o < s->out_channels; ++o) {
    bias[o] = random_in(-100000, 100000);
    multiplier[o] = (int32_t)(0x40000000u + (random_bits() << 7) % 0x40000000u);
    shift[o] = (int8_t)-random_in(3, 12);
    if (wild && once_in(2)) {
      bias[o] = (int32_t)(random_bits() << 8) >> random_in(0, 8);
      shift[o] = (int8_t)random_in(-31, 30);
      multiplier[o] = once_in(4) ? 0 : once_in(2) ? -multiplier[o] : multiplier[o];
    }
  }
  level->bias = bias;
  level->multiplier = multiplier;
  level->shift = shift;
}

static uint8_t *put_record(uint8_t *at, int32_t delta, int32_t delta_bytes, const int8_t *block,
                           int32_t block_size) {
  *at++ = (uint8_t)delta;
  if (delta_bytes == 2) {
    *at++ = (uint8_t)(delta >> 8);
  }
  memcpy(at, block, (size_t)block_size);
  return at + block_size;
}

static uint8_t *put_channel(const nk_stream *s, uint8_t *at, const filter *f, int32_t o, int32_t n,
                            int32_t delta_bytes, uint16_t *count) {
  static const int8_t filler[4];
  const int32_t size = s->block_size;
  const int32_t largest = delta_bytes == 2 ? 65535 : 255;
  int32_t last = 0;
  *count = 0;
  for (int32_t k = 0; k < s->channel_weights; k += size) {
    int8_t block[4];
    bool any = false;
    for (int32_t i = 0; i < size; ++i) {
      const int32_t index = o * s->channel_weights + k + i;
      block[i] = f->level_map[index] == n ? f->weights[index] : 0;
      any = any || block[i] != 0;
    }
    if (!any && !once_in(50)) {
      continue;  // else a filler, at a place that another level may fill
    }
    for (; k / size - last > largest; last += largest, ++*count) {
      at = put_record(at, largest, delta_bytes, filler, size);
    }
    at = put_record(at, k / size - last, delta_bytes, block, size);
    last = k / size;
    ++*count;
  }
  return at;
}

/** Packs counts in bytes, or with a width that holds them all. */
static void pack_counts(nk_stream_level *level, const uint16_t *counts, int32_t channels) {
  int32_t bits = 1;
  for (int32_t o = 0; o < channels; ++o) {
    while (counts[o] >> bits != 0) {
      ++bits;
    }
  }
  bits = bits <= 8 && once_in(2) ? 8 : random_in(bits, NK_STREAM_MAX_COUNT_BITS);
  const int32_t size = (channels * bits + 7) / 8 + NK_STREAM_READ_AHEAD_BYTES;
  uint8_t *packed = take(size);
  memset(packed, 0, (size_t)size);
  for (int32_t i = 0; i < channels * bits; ++i) {
    packed[i / 8] |= (uint8_t)((counts[i / bits] >> i % bits & 1) << i % 8);
  }
  level->counts = packed;
  level->count_bits = bits;
}

/** Stores the weights of a level, whose encoding is that of deltas; empty if there are none. */
static void put_level(nk_stream *s, int32_t n, const filter *f) {
  nk_stream_level *level = &s->level[n];
  const int32_t delta_bytes = level->encoding == NK_ENCODING_DELTA16 ? 2 : 1;
  uint16_t *counts = take(2 * s->out_channels);
  uint8_t *records = pool + pool_used;
  uint8_t *at = records;
  for (int32_t o = 0; o < s->out_channels; ++o) {
    at = put_channel(s, at, f, o, n, delta_bytes, &counts[o]);
  }
  if (at == records && once_in(2)) {
    level->encoding = NK_ENCODING_EMPTY;
    return;
  }
  take((int32_t)(at - records) + 4);
  pack_counts(level, counts, s->out_channels);
  level->records = records;
  level->record_bytes = delta_bytes + s->block_size;
  level->entries = (uint32_t)((at - records) / level->record_bytes);
}

static void make_level(nk_stream *s, int32_t n, const filter *f, bool wild) {
  nk_stream_level *level = &s->level[n];
  make_tables(s, level, wild);
  level->encoding = once_in(4) ? NK_ENCODING_DELTA16 : NK_ENCODING_DELTA8;
  if (n == 0 && once_in(5)) {
    const int32_t size = s->out_channels * s->channel_weights;
    int8_t *values = take(size + 4);
    for (int32_t i = 0; i < size; ++i) {
      values[i] = f->level_map[i] == 0 ? f->weights[i] : 0;
    }
    level->encoding = NK_ENCODING_DENSE;
    level->values = values;
    level->entries = (uint32_t)(size / s->block_size);
    return;
  }
  put_level(s, n, f);
}

/* ---- comparison ---- */

static void report(const nk_stream *s, const nk_conv_dims *d, int32_t seed, int32_t level,
                   int32_t wrong) {
  put_number("seed", seed);
  put_number(" level", level);
  put_number(" of", s->levels);
  put_number(": kind", s->kind);
  put_number(" block", s->block_size);
  put_number(" kernel", s->kernel_h);
  put_number(" x", s->kernel_w);
  put_number(" stride", s->stride_h);
  put_number(" x", s->stride_w);
  put_number(" channels", s->in_channels);
  put_number(" to", s->out_channels);
  put_number(" pixels", d->output_h * d->output_w);
  put_number(" wrong", wrong);
  board_puts("\n");
}

typedef nk_status entry_point(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                              const int8_t *x, int8_t *y, void *buffer, size_t buffer_size);

static entry_point *const SPECIAL[] = {nk_nested_conv2d_s8, nk_nested_depthwise_s8,
                                       nk_nested_fully_connected_s8};
enum { SPECIALS = sizeof(SPECIAL) / sizeof(SPECIAL[0]) };

static int32_t touched(const int8_t *at, int32_t size) {
  int32_t count = 0;
  for (int32_t i = 0; i < size; ++i) {
    count += at[i] != UNTOUCHED;
  }
  return count;
}

/**
 * Runs one level through one entry point. Returns the number of wrong bytes, overruns included; or
 * -1 where it is refused, and nothing is written.
 */
static int32_t run_entry(entry_point *run, const nk_stream *s, int32_t level,
                         const nk_conv_dims *d) {
  const int32_t size = d->batches * d->output_h * d->output_w * s->out_channels;
  // With more than it needs, a kernel may join the levels.
  const int32_t needed =
      nk_nested_conv_s8_get_buffer_size(s, d) + (once_in(2) ? random_in(1, MORE_BYTES) : 0);
  int8_t *const y = output + GUARD_BYTES;
  memset(output, UNTOUCHED, (size_t)size + 2 * GUARD_BYTES);
  memset(scratch, UNTOUCHED, (size_t)needed + 2 * GUARD_BYTES);
  const nk_status status = run(s, level, d, input, y, scratch + GUARD_BYTES, (size_t)needed);
  int32_t wrong = touched(output, GUARD_BYTES) + touched(y + size, GUARD_BYTES) +
                  touched(scratch, GUARD_BYTES) +
                  touched(scratch + GUARD_BYTES + needed, GUARD_BYTES);
  if (status != NK_OK) {
    wrong += touched(y, size) + touched(scratch + GUARD_BYTES, needed);
    return status == NK_ERROR_ARGUMENT && wrong == 0 ? -1 : size + 1;
  }
  for (int32_t i = 0; i < size; ++i) {
    wrong += y[i] != expected[i];
  }
  return wrong;
}

/** The wrong bytes of the tuned kernel, which only some targets choose, in plain C on the others.
 */
static int32_t run_tuned(const nk_stream *s, int32_t level, const nk_conv_dims *d) {
  const int32_t size = d->batches * d->output_h * d->output_w * s->out_channels;
  memset(output, UNTOUCHED, (size_t)size);
  if (s->kind == NK_KIND_FULLY_CONNECTED) {
    nk_nested_fully_connected_s8_dsp(s, level, d->batches, input, output);
  } else if (nk_nested_depthwise_s8_dsp_supports(s, d)) {
    nk_nested_depthwise_s8_dsp(s, level, d, input, output, scratch);
  } else {
    return 0;
  }
  return memcmp(output, expected, (size_t)size) != 0;
}

static const nk_stream *whole;

/** Runs parts of the stream, but not the whole. */
static nk_status run_a_part(const nk_stream *s, int32_t level, const nk_conv_dims *d,
                            const int8_t *x, int8_t *y, void *buffer, size_t buffer_size) {
  return s == whole ? NK_ERROR_BUFFER : nk_nested_conv_s8(s, level, d, x, y, buffer, buffer_size);
}

/** The wrong bytes of a layer that runs in parts, in as much memory as the smallest parts need or
 * more. */
static int32_t run_parts(const nk_stream *s, int32_t level, const nk_conv_dims *d) {
  const int32_t size = d->batches * d->output_h * d->output_w * s->out_channels;
  int8_t *const y = output + GUARD_BYTES;
  nk_status status = NK_ERROR_BUFFER;
  int32_t wrong = 0;
  whole = s;
  for (int32_t bytes = NK_PARTS_BYTES; status == NK_ERROR_BUFFER; bytes += random_in(1, 400) * 4) {
    memset(output, UNTOUCHED, (size_t)size + 2 * GUARD_BYTES);
    memset(scratch, UNTOUCHED, (size_t)bytes + 2 * GUARD_BYTES);
    status =
        nk_nested_parts_s8(run_a_part, s, level, d, input, y, scratch + GUARD_BYTES, (size_t)bytes);
    wrong += touched(output, GUARD_BYTES) + touched(y + size, GUARD_BYTES) +
             touched(scratch, GUARD_BYTES) + touched(scratch + GUARD_BYTES + bytes, GUARD_BYTES);
    wrong += status == NK_ERROR_BUFFER ? touched(y, size) : 0;
  }
  wrong += status != NK_OK;
  for (int32_t i = 0; i < size; ++i) {
    wrong += y[i] != expected[i];
  }
  return wrong;
}

static nk_add_params random_sum(void) {
  nk_add_params sum = {
      .activation_min = once_in(2) ? -128 : random_in(-128, 0),
      .activation_max = once_in(2) ? 127 : random_in(0, 127),
      .short_factor1 = random_in(1, 1 << 23) * 32,
      .short_factor2 = random_in(1, 1 << 23) * 32,
      .short_constant = random_in(-(1 << 22), 1 << 22) * 64,
  };
  return sum;
}

/** Whether the call is refused with this status, and nothing is written. */
static bool refuses(nk_status status, const nk_stream *s, int32_t level, const nk_conv_dims *d,
                    const nk_add_params *sum, size_t buffer_size) {
  memset(output, UNTOUCHED, 2 * GUARD_BYTES);
  return nk_nested_conv2d_add_s8(s, level, d, input, sum, other, output, scratch, buffer_size) ==
             status &&
         touched(output, 2 * GUARD_BYTES) == 0;
}

/**
 * The wrong bytes of the same sum in as little memory as its parts take, into `output`, which holds
 * the right sum at GUARD_BYTES. `other` is the second operand.
 */
static int32_t run_sum_parts(const nk_stream *s, int32_t level, const nk_conv_dims *d,
                             const nk_add_params *sum, int32_t needed) {
  const int32_t size = d->batches * d->output_h * d->output_w * s->out_channels;
  static int8_t in_parts[TENSOR_BYTES];
  nk_status status = NK_ERROR_BUFFER;
  for (int32_t bytes = needed > NK_PARTS_BYTES ? NK_PARTS_BYTES : needed; status == NK_ERROR_BUFFER;
       bytes += 64) {
    status = nk_nested_conv2d_add_parts_s8(s, level, d, input, sum, other, in_parts,
                                           scratch + GUARD_BYTES, (size_t)bytes);
  }
  return status != NK_OK || memcmp(in_parts, output + GUARD_BYTES, (size_t)size) != 0;
}

/** The wrong bytes of a convolution with a sum; `expected` holds the convolution alone. */
static int32_t run_sum(const nk_stream *s, int32_t level, const nk_conv_dims *d) {
  const int32_t size = d->batches * d->output_h * d->output_w * s->out_channels;
  const nk_add_params sum = random_sum();
  const int32_t needed = nk_nested_conv2d_add_s8_get_buffer_size(s, d);
  if (s->kind != NK_KIND_CONV || s->dilation_h != 1) {
    return refuses(NK_ERROR_ARGUMENT, s, level, d, &sum, (size_t)needed) ? 0 : 1;
  }
  const nk_add_params none = {.activation_min = -128, .activation_max = 127};
  int32_t wrong = refuses(NK_ERROR_ARGUMENT, s, level, d, &none, (size_t)needed) ? 0 : 1;
  wrong += refuses(NK_ERROR_BUFFER, s, level, d, &sum, (size_t)needed - 1) ? 0 : 1;
  wrong += refuses(NK_ERROR_LEVEL, s, s->levels, d, &sum, (size_t)needed) ? 0 : 1;
  int8_t *const y = output + GUARD_BYTES;
  memset(output, UNTOUCHED, (size_t)size + 2 * GUARD_BYTES);
  memset(scratch, UNTOUCHED, (size_t)needed + 2 * GUARD_BYTES);
  for (int32_t i = 0; i < size; ++i) {
    other[i] = (int8_t)random_bits();
    y[i] = other[i];
  }
  const bool small = once_in(3);
  const nk_status status = (small ? nk_nested_conv2d_add_small_s8 : nk_nested_conv2d_add_s8)(
      s, level, d, input, &sum, once_in(2) ? y : other, y, scratch + GUARD_BYTES, (size_t)needed);
  wrong += status != NK_OK;
  wrong += touched(output, GUARD_BYTES) + touched(y + size, GUARD_BYTES) +
           touched(scratch, GUARD_BYTES) + touched(scratch + GUARD_BYTES + needed, GUARD_BYTES);
  wrong += run_sum_parts(s, level, d, &sum, needed);
  for (int32_t i = 0; i < size; ++i) {
    const int8_t right = (int8_t)nk_clamp(nk_short_sum_pair(&sum, expected[i], other[i]),
                                          sum.activation_min, sum.activation_max);
    wrong += y[i] != right;
  }
  return wrong;
}

/**
 * Runs one level through all entry points; returns the number of wrong bytes. The dispatcher runs
 * every layer; of the others one runs it, or none where it is dilated.
 */
static int32_t compare(const nk_stream *s, int32_t level, const nk_conv_dims *d) {
  if (nk_nested_conv_s8_ref(s, level, d, input, expected, reference_scratch,
                            sizeof(reference_scratch)) != NK_OK) {
    return -1;
  }
  int32_t wrong = run_entry(nk_nested_conv_s8, s, level, d);
  if (wrong < 0) {
    return wrong;
  }
  int32_t takers = 0;
  for (int32_t i = 0; i < SPECIALS; ++i) {
    const int32_t here = run_entry(SPECIAL[i], s, level, d);
    takers += here >= 0;
    wrong += here > 0 ? here : 0;
    if (i == 0) {
      wrong += run_entry(nk_nested_conv2d_small_s8, s, level, d) != here;
    }
  }
  wrong += run_tuned(s, level, d);
  wrong += run_sum(s, level, d);
  wrong += run_parts(s, level, d);
  return takers == (s->dilation_h == 1) ? wrong : wrong + 1;
}

static int32_t run_levels(nk_stream *s, const nk_conv_dims *d, int32_t seed) {
  int32_t failures = 0;
  s->output_channels = s->out_channels;
  s->in_place_levels = s->levels;
  for (int32_t n = 0; n < s->levels; ++n) {
    const int32_t wrong = compare(s, n, d);
    if (wrong != 0) {
      report(s, d, seed, n, wrong);
      ++failures;
    }
  }
  return failures;
}

static nk_stream *new_layer(int32_t seed) {
  static nk_stream s;
  memset(&s, 0, sizeof(s));
  pool_used = 0;
  random_state = (uint32_t)seed * 2654435761u;
  return &s;
}

static void fill_input(const nk_stream *s, const nk_conv_dims *d, int32_t style) {
  for (int32_t i = 0; i < d->batches * d->input_h * d->input_w * s->in_channels; ++i) {
    input[i] = random_value(style);
  }
}

static int32_t run_layer(int32_t seed) {
  nk_stream *s = new_layer(seed);
  const int32_t style = random_in(0, 9);
  const bool wild = once_in(4);
  s->levels = random_in(1, 4);
  choose_window(s);
  choose_channels(s);
  choose_quantisation(s);
  const nk_conv_dims d = choose_dims(s);
  const filter f = make_filter(s, style);
  fill_input(s, &d, style);
  for (int32_t n = 0; n < s->levels; ++n) {
    make_level(s, n, &f, wild);
  }
  return run_levels(s, &d, seed);
}

/** A 1x1 convolution: each of 1 or 2 levels adds so many products of -128. */
static int32_t run_largest_sum(int32_t level_weights, int32_t seed) {
  nk_stream *s = new_layer(seed);
  s->kind = NK_KIND_CONV;
  s->levels = 1 + seed % 2;
  const int32_t weights = level_weights * s->levels;
  s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = s->dilation_h = s->dilation_w = 1;
  s->depth_multiplier = 1;
  s->block_size = level_weights % 4 == 0 ? 4 : level_weights % 2 == 0 ? 2 : 1;
  s->in_channels = s->filter_channels = s->channel_weights = weights;
  s->out_channels = 3;
  s->activation_min = -128;
  s->activation_max = 127;
  const nk_conv_dims d = {1, 2, 9, 2, 9};
  const filter f = {take(s->out_channels * weights), take(s->out_channels * weights)};
  memset(f.weights, -128, (size_t)(s->out_channels * weights));
  for (int32_t i = 0; i < s->out_channels * weights; ++i) {
    f.level_map[i] = (uint8_t)(i / s->block_size % s->levels);
  }
  fill_input(s, &d, 1);
  for (int32_t n = 0; n < s->levels; ++n) {
    make_level(s, n, &f, false);
  }
  return run_levels(s, &d, seed);
}

static void make_pointwise(nk_stream *s, int32_t in_channels, int32_t out_channels) {
  s->kind = NK_KIND_CONV;
  s->block_size = s->depth_multiplier = 1;
  s->kernel_h = s->kernel_w = s->stride_h = s->stride_w = s->dilation_h = s->dilation_w = 1;
  s->in_channels = s->filter_channels = s->channel_weights = in_channels;
  s->out_channels = out_channels;
  s->activation_min = -128;
  s->activation_max = 127;
}

/** Makes a level with deltas of 8 bits, or an empty one. */
static void make_chain_level(nk_stream *s, int32_t n, const filter *f) {
  make_tables(s, &s->level[n], false);
  s->level[n].encoding = NK_ENCODING_DELTA8;
  put_level(s, n, f);
}

/** A 1x1 convolution of so many channels that a list's places or offsets could overflow. */
static int32_t run_many_channels(int32_t channels) {
  nk_stream *s = new_layer(channels);
  s->levels = 1;
  make_pointwise(s, 3, channels);
  const nk_conv_dims d = {1, 4, 8, 4, 8};
  const filter f = {take(channels * 3), take(channels * 3)};
  for (int32_t i = 0; i < channels * 3; ++i) {
    f.weights[i] = (int8_t)random_in(1, 127);
    f.level_map[i] = i % 3 == 0 ? 0 : random_in(0, 1) == 0;  // no channel without weights
  }
  fill_input(s, &d, 2);
  make_chain_level(s, 0, &f);
  return run_levels(s, &d, channels);
}

/** A 1x1 convolution of few weights in long filters, in levels that a kernel may join. */
static int32_t run_long_filters(int32_t seed) {
  nk_stream *s = new_layer(seed);
  s->levels = random_in(1, 4);
  const int32_t positions = once_in(12) ? 4100 : random_in(100, 300);
  make_pointwise(s, positions, once_in(2) ? 1 : random_in(2, 12));
  const int32_t rows = positions > 300 ? 1 : random_in(1, 4), width = random_in(7, 33);
  const nk_conv_dims d = {1, rows, width, rows, width};
  const int32_t size = s->out_channels * positions, weights = random_in(1, 40);
  const int32_t first = once_in(3) ? s->levels - 1 : 0;
  const filter f = {take(size), take(size)};
  for (int32_t i = 0; i < size; ++i) {
    f.weights[i] = (int8_t)random_in(1, 127);
    const bool pruned = random_in(1, positions) > weights;
    f.level_map[i] = (uint8_t)(pruned ? s->levels : random_in(first, s->levels - 1));
  }
  fill_input(s, &d, 2);
  for (int32_t n = 0; n < s->levels; ++n) {
    make_chain_level(s, n, &f);
  }
  return run_levels(s, &d, seed);
}

int main(void) {
  int32_t failures = 0;
  for (int32_t i = 0; i < LAYERS; ++i) {
    failures += run_layer(FIRST_SEED + i);
  }
  // Around the 255 that a field of a packed accumulator holds (docs/kernels.md).
  for (int32_t weights = 250; weights <= 260; ++weights) {
    for (int32_t i = 0; i < 8; ++i) {
      failures += run_largest_sum(weights, FIRST_SEED + i);
    }
  }
  // Around the 8,000 that a list of chains takes, and with more than 2^16 words in all.
  failures += run_many_channels(8000) + run_many_channels(8001) + run_many_channels(11000);
  for (int32_t i = 0; i < 150; ++i) {
    failures += run_long_filters(FIRST_SEED + i);
  }
  put_number("layers", LAYERS);
  put_number(" failures", failures);
  board_puts("\n");
  return failures > 0 ? 1 : 0;
}
