/**
 * The nested convolution with Helium (docs/kernels_helium.md). Four pixels at a time: a vector of
 * eight weights of a channel, the bytes of each pixel gathered from the places of the weights, and
 * one VMLADAVA a pixel.
 *
 * The rows under the windows lie in scratch memory, padded. A list has for each output channel its
 * requantisation and the places and weights of all levels, in groups of eight. If the lists of all
 * channels do not fit, the layer runs in blocks of channels.
 */
#include "nk_nested_conv_s8_mve.h"

#include <string.h>

#include "nk_target.h"

#if NK_USE_MVE

#include <arm_mve.h>

#define TILE_PIXELS 4
#define GROUP_WEIGHTS 8
/** A weight and its place, which has 16 bits. */
#define GROUP_BYTES 24
/** Making the lists takes longer than the layer of fewer pixels does without. */
#define LEAST_PIXELS 8

/** An output channel; the places of its weights follow, then the weights. */
typedef struct channel {
  int32_t bias;
  int32_t multiplier;
  /** Shifts before and after the product: left and at least 0, and at most 0. */
  int32_t left;
  int32_t right;
  int32_t groups;
} channel;

typedef struct layer {
  const nk_stream *stream;
  int32_t level;
  int32_t batches, input_h, input_w, output_h, output_w;
  /** Whether windows are single pixels side by side, which need no copy. */
  bool is_pointwise;
  int8_t *rows;
  /** Bytes of a padded row, of the row of a window, and from pixel to pixel. */
  int32_t row_bytes, window_row, pixel_step;
  uint8_t *list;
  int32_t list_bytes;
  const nk_dsp_sink *sink;
} layer;

static int32_t groups_of(int32_t weights) { return (weights + GROUP_WEIGHTS - 1) / GROUP_WEIGHTS; }

static int32_t bytes_for(int32_t weights) {
  return (int32_t)sizeof(channel) + groups_of(weights) * GROUP_BYTES;
}

/** Weights of a channel over the levels that run, fillers included. */
static int32_t weights_of(const layer *l, int32_t o) {
  int32_t entries = 0;
  for (int32_t n = 0; n <= l->level; ++n) {
    const nk_stream_level *const level = &l->stream->level[n];
    entries += level->encoding == NK_ENCODING_EMPTY ? 0 : nk_stream_count(level, o);
  }
  return entries * l->stream->block_size;
}

/** Divides up the scratch; returns whether the kernel can run the layer. */
static bool lay_out(layer *l, uint8_t *scratch, int32_t scratch_bytes) {
  const nk_stream *const s = l->stream;
  for (int32_t n = 0; n <= l->level; ++n) {
    const int32_t encoding = s->level[n].encoding;
    if (encoding != NK_ENCODING_EMPTY && encoding != NK_ENCODING_DELTA8 &&
        encoding != NK_ENCODING_DELTA16) {
      return false;
    }
  }
  l->is_pointwise = s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
                    s->pad_top == 0 && s->pad_left == 0 && l->input_h == l->output_h &&
                    l->input_w == l->output_w;
  if (l->is_pointwise) {
    l->output_w *= l->batches * l->output_h;
    l->batches = l->output_h = 1;
  }
  if (s->kind != NK_KIND_CONV || l->output_h * l->output_w < LEAST_PIXELS) {
    return false;
  }
  const int32_t columns = (l->output_w - 1) * s->stride_w + s->kernel_w;
  l->row_bytes = columns * s->in_channels;
  l->window_row = s->kernel_w * s->in_channels;
  l->pixel_step = s->stride_w * s->in_channels;
  const int64_t places = (int64_t)(s->kernel_h - 1) * l->row_bytes + l->window_row;
  const int64_t rows = l->is_pointwise ? 0 : (int64_t)s->kernel_h * l->row_bytes;
  if (places > UINT16_MAX || rows > scratch_bytes) {
    return false;
  }
  l->rows = (int8_t *)scratch;
  const int32_t used = ((int32_t)rows + 3) / 4 * 4;
  l->list = scratch + used;
  l->list_bytes = scratch_bytes - used;
  int32_t largest = 0;
  int64_t all = 0;
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const int32_t bytes = bytes_for(weights_of(l, o));
    largest = nk_max(largest, bytes);
    all += bytes;
  }
  // A sink takes all channels of a pixel at once.
  return (l->sink == NULL ? largest : all) <= l->list_bytes;
}

/** Where the next weight of a channel goes. */
typedef struct ends {
  uint16_t *place;
  int8_t *weight;
} ends;

/** A walk over the places of a channel. */
typedef struct walk {
  int32_t place;
  /** Where the present row of the window ends. */
  int32_t row_end;
} walk;

/** Goes `steps` on in the filter: from a row of the window to the same column of the next. */
static inline void advance(const layer *l, walk *w, int32_t steps) {
  w->place += steps;
  while (w->place >= w->row_end) {
    w->place += l->row_bytes - l->window_row;
    w->row_end += l->row_bytes;
  }
}

/** Adds single weights, each behind a delta of one byte. */
static const uint8_t *add_singles(const layer *l, const uint8_t *entry, int32_t count, ends *to) {
  const uint16_t *const pairs = (const uint16_t *)(const void *)entry;
  for (int32_t i = 0; i < count; i += GROUP_WEIGHTS) {
    const mve_pred16_t present = vctp16q((uint32_t)(count - i));
    const uint16x8_t deltas_and_weights = vldrhq_z_u16(pairs + i, present);
    vstrbq_p_u16((uint8_t *)to->weight + i, vshrq_n_u16(deltas_and_weights, 8), present);
  }
  to->weight += count;
  walk w = {0, l->window_row};
  for (const uint8_t *const end = entry + 2 * count; entry < end; entry += 2) {
    advance(l, &w, *entry);
    *to->place++ = (uint16_t)w.place;
  }
  return entry;
}

/** Adds blocks of weights behind deltas of one byte or, where `wide`, two. */
static const uint8_t *add_blocks(const layer *l, const uint8_t *entry, int32_t count, bool wide,
                                 ends *to) {
  const int32_t block_size = l->stream->block_size;
  walk w = {0, l->window_row};
  for (int32_t i = 0; i < count; ++i) {
    int32_t delta = *entry++;
    if (wide) {
      delta |= *entry++ << 8;
    }
    advance(l, &w, delta * block_size);
    for (int32_t k = 0; k < block_size; ++k) {
      *to->place++ = (uint16_t)(w.place + k);
      *to->weight++ = (int8_t)*entry++;
    }
  }
  return entry;
}

/** Adds the weights of channel o in all levels. */
static void add_weights(const layer *l, int32_t o, const uint8_t **entries, ends *to) {
  for (int32_t n = 0; n <= l->level; ++n) {
    const nk_stream_level *const level = &l->stream->level[n];
    if (level->encoding == NK_ENCODING_EMPTY) {
      continue;
    }
    const int32_t count = nk_stream_count(level, o);
    const bool wide = level->encoding == NK_ENCODING_DELTA16;
    entries[n] = l->stream->block_size == 1 && !wide ? add_singles(l, entries[n], count, to)
                                                     : add_blocks(l, entries[n], count, wide, to);
  }
}

/** Makes the lists of channels from `first` on, as many as fit; returns their number. */
static int32_t make_list(const layer *l, int32_t first, const uint8_t **entries) {
  const nk_stream_level *const tables = &l->stream->level[l->level];
  uint8_t *at = l->list;
  int32_t o = first;
  for (; o < l->stream->out_channels; ++o) {
    const int32_t weights = weights_of(l, o);
    const int32_t bytes = bytes_for(weights);
    if (bytes > l->list_bytes - (int32_t)(at - l->list)) {
      break;
    }
    channel *const c = (channel *)(void *)at;
    const int32_t shift = tables->shift[o];
    c->bias = tables->bias[o];
    c->multiplier = tables->multiplier[o];
    c->left = nk_max(shift, 0);
    c->right = nk_min(shift, 0);
    c->groups = groups_of(weights);
    uint16_t *const places = (uint16_t *)(void *)(c + 1);
    int8_t *const values = (int8_t *)(places + c->groups * GROUP_WEIGHTS);
    ends to = {places, values};
    add_weights(l, o, entries, &to);
    // Weights of zero fill the last group.
    for (int32_t n = weights; n < c->groups * GROUP_WEIGHTS; ++n) {
      *to.place++ = 0;
      *to.weight++ = 0;
    }
    at += bytes;
  }
  return o - first;
}

/** nk_requantize() of four accumulators, without their clamping to int8. */
static inline int32x4_t scale(int32x4_t acc, const channel *c) {
  acc = vshlq_r_s32(vaddq_n_s32(acc, c->bias), c->left);
  acc = vqrdmulhq_n_s32(acc, c->multiplier);
  // VRSHL rounds halves up; a negative number with a shift becomes smaller by one before.
  const int32x4_t below = vshrq_n_s32(vandq_s32(acc, vdupq_n_s32(c->right)), 31);
  return vrshlq_n_s32(vqaddq_s32(acc, below), c->right);
}

/** Sets `sums` to the sums of the products of a channel for four pixels; returns the next channel.
 */
static inline const channel *multiply(const channel *c, const int8_t *x0, const int8_t *x1,
                                      const int8_t *x2, const int8_t *x3, int32x4_t *sums) {
  const uint16_t *place = (const uint16_t *)(const void *)(c + 1);
  const int8_t *weight = (const int8_t *)(place + c->groups * GROUP_WEIGHTS);
  int32_t a0 = c->groups;  // the number of passes, then the sum of the first pixel
  int32_t a1, a2, a3;
  __asm__ volatile(
      "   mov lr, %[a0]\n"
      "   mov %[a0], #0\n"
      "   mov %[a1], #0\n"
      "   mov %[a2], #0\n"
      "   mov %[a3], #0\n"
      "   wls lr, lr, 2f\n"
      "1: vldrh.u16 q0, [%[place]], #16\n"
      "   vldrb.s16 q1, [%[weight]], #8\n"
      "   vldrb.s16 q2, [%[x0], q0]\n"
      "   vmladava.s16 %[a0], q2, q1\n"
      "   vldrb.s16 q3, [%[x1], q0]\n"
      "   vmladava.s16 %[a1], q3, q1\n"
      "   vldrb.s16 q2, [%[x2], q0]\n"
      "   vmladava.s16 %[a2], q2, q1\n"
      "   vldrb.s16 q3, [%[x3], q0]\n"
      "   vmladava.s16 %[a3], q3, q1\n"
      "   le lr, 1b\n"
      "2: vmov q0[2], q0[0], %[a0], %[a2]\n"
      "   vmov q0[3], q0[1], %[a1], %[a3]\n"
      "   vmov %q[sums], q0\n"
      : [place] "+r"(place), [weight] "+l"(weight), [a0] "+Te"(a0), [a1] "=&Te"(a1),
        [a2] "=&Te"(a2), [a3] "=&Te"(a3), [sums] "=w"(*sums)
      : [x0] "r"(x0), [x1] "r"(x1), [x2] "r"(x2), [x3] "r"(x3)
      : "q0", "q1", "q2", "q3", "lr", "memory");
  return (const channel *)(const void *)weight;
}

/** Runs `count` channels for up to four pixels; the outputs of a pixel begin output_channels
 * apart. */
static void run_tile(const layer *l, const int8_t *input, int32_t count, int32_t pixels,
                     int8_t *output) {
  const nk_stream *const s = l->stream;
  const int8_t *const x1 = input + nk_min(1, pixels - 1) * l->pixel_step;
  const int8_t *const x2 = input + nk_min(2, pixels - 1) * l->pixel_step;
  const int8_t *const x3 = input + nk_min(3, pixels - 1) * l->pixel_step;
  const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)s->output_channels);
  const mve_pred16_t present = vctp32q((uint32_t)pixels);
  const int32x4_t min = vdupq_n_s32(s->activation_min);
  const int32x4_t max = vdupq_n_s32(s->activation_max);
  const int32_t offset = s->output_offset;
  const channel *c = (const channel *)(const void *)l->list;
  for (const int8_t *const end = output + count; output < end; ++output) {
    const channel *const present_channel = c;
    int32x4_t acc;
    c = multiply(c, input, x1, x2, x3, &acc);
    acc = vaddq_n_s32(scale(acc, present_channel), offset);
    acc = vminq_s32(vmaxq_s32(acc, min), max);
    vstrbq_scatter_offset_p_s32(output, places, acc, present);
  }
}

/** memcpy() of 0 bytes or more. */
static inline void copy(int8_t *to, const int8_t *from, int32_t bytes) {
  __asm__ volatile(
      "   wlstp.8 lr, %[bytes], 2f\n"
      "1: vldrb.8 q0, [%[from]], #16\n"
      "   vstrb.8 q0, [%[to]], #16\n"
      "   letp lr, 1b\n"
      "2:\n"
      : [to] "+r"(to), [from] "+r"(from)
      : [bytes] "r"(bytes)
      : "q0", "lr", "memory");
}

/** Copies row y of an image, padded, to `row`. */
static void pad_row(const layer *l, const int8_t *image, int32_t y, int8_t *row) {
  const nk_stream *const s = l->stream;
  const int32_t channels = s->in_channels;
  const int32_t before = nk_min(s->pad_left * channels, l->row_bytes);
  int32_t bytes = nk_min(l->input_w * channels, l->row_bytes - before);
  if (!nk_in_range(y, 0, l->input_h - 1)) {
    bytes = 0;
  }
  memset(row, -s->input_offset, (size_t)before);
  if (bytes > 0) {
    copy(row + before, image + y * l->input_w * channels, bytes);
  }
  const int32_t end = before + bytes;
  memset(row + end, -s->input_offset, (size_t)(l->row_bytes - end));
}

/** Brings the rows under output row y into scratch memory. */
static void slide(const layer *l, const int8_t *image, int32_t y) {
  const nk_stream *const s = l->stream;
  const int32_t kept = y > 0 ? nk_max(s->kernel_h - s->stride_h, 0) : 0;
  for (int32_t r = 0; r < kept; ++r) {
    int8_t *const row = l->rows + r * l->row_bytes;
    copy(row, row + s->stride_h * l->row_bytes, l->row_bytes);
  }
  for (int32_t r = kept; r < s->kernel_h; ++r) {
    pad_row(l, image, y * s->stride_h - s->pad_top + r, l->rows + r * l->row_bytes);
  }
}

/** Runs the channels of the list for an image. */
static void run_image(const layer *l, const int8_t *image, int32_t count, int8_t *output) {
  const int32_t step = l->stream->output_channels;
  const int8_t *const row = l->is_pointwise ? image : l->rows;
  for (int32_t y = 0; y < l->output_h; ++y) {
    if (!l->is_pointwise) {
      slide(l, image, y);
    }
    for (int32_t x = 0; x < l->output_w; x += TILE_PIXELS) {
      const int32_t pixels = nk_min(l->output_w - x, TILE_PIXELS);
      const int8_t *const input = row + x * l->pixel_step;
      if (l->sink == NULL) {
        run_tile(l, input, count, pixels, output);
      } else {
        run_tile(l, input, count, pixels, l->sink->tile);
        l->sink->take(l->sink, output, pixels);
      }
      output += pixels * step;
    }
  }
}

bool nk_nested_conv_s8_mve(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                           const int8_t *input, int8_t *output, uint8_t *scratch,
                           int32_t scratch_bytes, const nk_dsp_sink *sink) {
  layer l = {
      .stream = stream,
      .level = level,
      .batches = dims->batches,
      .input_h = dims->input_h,
      .input_w = dims->input_w,
      .output_h = dims->output_h,
      .output_w = dims->output_w,
      .sink = sink,
  };
  if (!lay_out(&l, scratch, scratch_bytes)) {
    return false;
  }
  // Where the reading of each level goes on.
  const uint8_t *entries[NK_STREAM_MAX_LEVELS];
  for (int32_t n = 0; n <= level; ++n) {
    entries[n] = stream->level[n].records;
  }
  int32_t count = 0;
  for (int32_t first = 0; first < stream->out_channels; first += count) {
    count = make_list(&l, first, entries);
    for (int32_t n = 0; n < l.batches; ++n) {
      run_image(&l, input + n * l.input_h * l.input_w * stream->in_channels, count,
                output + first + n * l.output_h * l.output_w * stream->output_channels);
    }
  }
  return true;
}

#endif  // NK_USE_MVE
