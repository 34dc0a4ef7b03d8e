/**
 * The nested convolution with Helium and dense filters (docs/kernels_helium.md). Three pixels and
 * two channels at a time: 16 weights of each channel, 16 inputs of each pixel, and six VMLADAVA.
 *
 * The windows of three pixels lie in scratch memory, or for single pixels in the image. A dense
 * stream has its filters in order. The weights of other levels are put in their places in scratch
 * memory first; if not all filters fit, the layer runs in blocks of channels.
 */
#include "nk_nested_dense_conv_s8_mve.h"

#include "nk_target.h"

#if NK_USE_MVE

#include "nk_mve.h"

#define TILE_PIXELS 3
/** Channels of a vector of outputs. */
#define GROUP_CHANNELS 4
/** Putting weights in their places takes longer than the layer of fewer pixels does without. */
#define LEAST_PIXELS 4

typedef struct layer {
  const nk_stream *stream;
  int32_t level;
  const nk_conv_dims *dims;
  /** NULL, or the sink of the block's channels. */
  const nk_dsp_sink *sink;
  /** Whether windows are single pixels inside the image, which need no copy. */
  bool is_direct;
  /** Whether the stream has the whole filters in place. */
  bool is_dense;
  /** Windows of a tile. */
  int8_t *windows;
  /** Filters of up to `capacity` channels. */
  int8_t *filters;
  int32_t capacity;
} layer;

/** Neighbouring output channels, and where their filters begin. */
typedef struct block {
  const int8_t *filters;
  int32_t first;
  int32_t count;
} block;

/** The windows of three pixels and the filters of two channels, all of the same length. */
typedef struct operands {
  const int8_t *x[TILE_PIXELS];
  const int8_t *filter[2];
  int32_t length;
} operands;

/** Where the reading of each level goes on. */
typedef struct cursors {
  const uint8_t *entry[NK_STREAM_MAX_LEVELS];
} cursors;

/** Divides up the scratch; returns whether the kernel can run the layer. */
static bool lay_out(layer *l, uint8_t *scratch, int32_t scratch_bytes) {
  const nk_stream *const s = l->stream;
  if (s->kind != NK_KIND_CONV || s->out_channels < GROUP_CHANNELS) {
    return false;
  }
  l->is_dense = s->level[0].encoding == NK_ENCODING_DENSE;
  for (int32_t n = 1; n <= l->level; ++n) {
    l->is_dense = l->is_dense && s->level[n].encoding == NK_ENCODING_EMPTY;
  }
  l->is_direct = s->kernel_h == 1 && s->kernel_w == 1 && s->pad_top == 0 && s->pad_left == 0;
  const int32_t used = l->is_direct ? 0 : TILE_PIXELS * s->channel_weights;
  l->windows = (int8_t *)scratch;
  l->filters = l->windows + used;
  if (used > scratch_bytes) {
    return false;
  }
  l->capacity = nk_min((scratch_bytes - used) / s->channel_weights, s->out_channels);
  return l->is_dense || l->capacity >= nk_min(2 * GROUP_CHANNELS, s->out_channels);
}

/** Whether the kernel takes fewer instructions than nk_nested_conv_s8_mve(), by counts of the loops
 * of both (docs/kernels_helium.md). */
static bool is_faster(const layer *l) {
  const nk_stream *const s = l->stream;
  int64_t weights = 0;
  for (int32_t n = 0; n <= l->level; ++n) {
    weights += (int64_t)s->level[n].entries * s->block_size;
  }
  const int64_t channels = s->out_channels;
  const int64_t pixels = (int64_t)l->dims->batches * l->dims->output_h * l->dims->output_w;
  const int64_t sparse_tile = 11 * weights / 8 + 40 * channels;
  const int64_t sparse = (pixels + 3) / 4 * sparse_tile + 19 * weights / 2 + 220 * channels;
  const int32_t passes = (s->channel_weights + 15) / 16;
  const int64_t dense_tile = (channels + 3) / 4 * (24 * passes + 100);
  const int64_t window = l->is_direct ? 60 : 80 + 8 * s->kernel_h + 4 * passes;
  const int64_t blocks = (channels + l->capacity - 1) / l->capacity;
  const int64_t dense = (pixels + 2) / 3 * dense_tile + blocks * pixels * window + 8 * weights +
                        channels * (2 * passes + 80);
  return pixels >= LEAST_PIXELS && dense < sparse;
}

/** Puts the weights that a level has of a channel in their places; returns the level's next entry.
 */
static const uint8_t *add_weights(const nk_stream *s, const nk_stream_level *level, int32_t o,
                                  const uint8_t *entry, int8_t *filter) {
  const int32_t block_size = s->block_size;
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  // A filler may stand at a place that another level fills.
  if (block_size == 1 && !wide) {
    for (const uint8_t *const end = entry + 2 * nk_stream_count(level, o); entry < end;
         entry += 2) {
      filter += entry[0];
      if (entry[1] != 0) {
        *filter = (int8_t)entry[1];
      }
    }
    return entry;
  }
  for (int32_t i = nk_stream_count(level, o); i > 0; --i) {
    int32_t delta = *entry++;
    if (wide) {
      delta |= *entry++ << 8;
    }
    filter += delta * block_size;
    for (int32_t k = 0; k < block_size; ++k) {
      const int8_t weight = (int8_t)*entry++;
      if (weight != 0) {
        filter[k] = weight;
      }
    }
  }
  return entry;
}

/** Brings the filters of the next channels, from `first` on, together. */
static block next_block(const layer *l, int32_t first, cursors *at) {
  const nk_stream *const s = l->stream;
  const int32_t length = s->channel_weights;
  const int32_t left = s->out_channels - first;
  int32_t count = l->is_dense ? left : nk_min(left, l->capacity);
  if (nk_in_range(left - count, 1, GROUP_CHANNELS - 1)) {  // too few for a block
    count -= GROUP_CHANNELS;
  }
  const block found = {l->is_dense ? s->level[0].values : l->filters, first, count};
  if (l->is_dense) {
    return found;
  }
  const int32_t size = count * length;
  if (s->level[0].encoding == NK_ENCODING_DENSE) {
    nk_mve_copy(l->filters, s->level[0].values + first * length, size);
  } else {
    nk_mve_fill(l->filters, 0, size);
  }
  for (int32_t n = 0; n <= l->level; ++n) {
    const nk_stream_level *const level = &s->level[n];
    if (level->encoding == NK_ENCODING_EMPTY || level->encoding == NK_ENCODING_DENSE) {
      continue;
    }
    for (int32_t i = 0; i < count; ++i) {
      at->entry[n] = add_weights(s, level, first + i, at->entry[n], l->filters + i * length);
    }
  }
  return found;
}

/**
 * Sets the sums of the products of three pixels, a vector for each, with channels 0 and 2 (of[0])
 * and 1 and 3 (of[1]) of a group.
 */
static inline void multiply(const operands *of, int32x4_t *sums0, int32x4_t *sums1,
                            int32x4_t *sums2) {
#define PRODUCTS                               \
  "   ldm %[of]!, {r1, r3, r5, r9, r11, lr}\n" \
  "   mov r0, #0\n"                            \
  "   mov r2, #0\n"                            \
  "   mov r4, #0\n"                            \
  "   mov r6, #0\n"                            \
  "   mov r8, #0\n"                            \
  "   mov r10, #0\n"                           \
  "   dlstp.8 lr, lr\n"                        \
  "1: vldrb.8 q0, [r9], #16\n"                 \
  "   vldrb.8 q2, [r1], #16\n"                 \
  "   vmladava.s8 r0, q0, q2\n"                \
  "   vldrb.8 q1, [r11], #16\n"                \
  "   vmladava.s8 r2, q1, q2\n"                \
  "   vldrb.8 q3, [r3], #16\n"                 \
  "   vmladava.s8 r4, q0, q3\n"                \
  "   vldrb.8 q2, [r5], #16\n"                 \
  "   vmladava.s8 r6, q1, q3\n"                \
  "   vmladava.s8 r8, q0, q2\n"                \
  "   vmladava.s8 r10, q1, q2\n"               \
  "   letp lr, 1b\n"
  int32x4_t s0, s1, s2;
  register const operands *at __asm__("r12") = of;
  // r7 may be the frame's.
  __asm__ volatile(PRODUCTS
                   "   vmov %q[s0][2], %q[s0][0], r0, r2\n"
                   "   vmov %q[s1][2], %q[s1][0], r4, r6\n"
                   "   vmov %q[s2][2], %q[s2][0], r8, r10\n" PRODUCTS
                   "   vmov %q[s0][3], %q[s0][1], r0, r2\n"
                   "   vmov %q[s1][3], %q[s1][1], r4, r6\n"
                   "   vmov %q[s2][3], %q[s2][1], r8, r10\n"
                   : [of] "+r"(at), [s0] "=&w"(s0), [s1] "=&w"(s1), [s2] "=&w"(s2)
                   :
                   : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0",
                     "q1", "q2", "q3", "memory");
  *sums0 = s0;
  *sums1 = s1;
  *sums2 = s2;
}

/** Runs the channels of a block, at least four, for three pixels; y: where the outputs of the
 * block's first channel go. */
static void run_tile(const layer *l, const block *b, const int8_t *const *x, int8_t *const *y) {
  const nk_stream *const s = l->stream;
  const nk_stream_level *const tables = &s->level[l->level];
  const int32_t *const bias = tables->bias + b->first;
  const int32_t *const multiplier = tables->multiplier + b->first;
  const int8_t *const shift = tables->shift + b->first;
  const int32_t length = s->channel_weights;
  const int32_t offset = s->output_offset;
  const int32x4_t min = vdupq_n_s32(s->activation_min);
  const int32x4_t max = vdupq_n_s32(s->activation_max);
  operands of[2] = {{{x[0], x[1], x[2]}, {NULL, NULL}, length},
                    {{x[0], x[1], x[2]}, {NULL, NULL}, length}};
  for (int32_t next = 0; next < b->count; next += GROUP_CHANNELS) {
    // The last four overlap the four before if the channels do not come in fours.
    const int32_t o = nk_min(next, b->count - GROUP_CHANNELS);
    const int8_t *const filter = b->filters + o * length;
    of[0].filter[0] = filter;
    of[1].filter[0] = filter + length;
    of[0].filter[1] = filter + 2 * length;
    of[1].filter[1] = filter + 3 * length;
    int32x4_t s0, s1, s2;
    multiply(of, &s0, &s1, &s2);
    const nk_mve_stage stage = nk_mve_stage_of(bias + o, multiplier + o, shift + o);
    nk_mve_scale_three(&stage, &s0, &s1, &s2);
    vstrbq_s32(y[0] + o, nk_mve_clamp(s0, offset, min, max));
    vstrbq_s32(y[1] + o, nk_mve_clamp(s1, offset, min, max));
    vstrbq_s32(y[2] + o, nk_mve_clamp(s2, offset, min, max));
  }
}

/** Copies `rows` rows of `bytes` bytes, both at least 1, `pitch` bytes apart, to rows `row` apart.
 */
static inline void copy_rows(const int8_t *from, int32_t pitch, int8_t *to, int32_t row,
                             int32_t bytes, int32_t rows) {
  const int8_t *source;
  int8_t *target;
  __asm__ volatile(
      "1: mov %[source], %[from]\n"
      "   mov %[target], %[to]\n"
      "   dlstp.8 lr, %[bytes]\n"
      "2: vldrb.8 q0, [%[source]], #16\n"
      "   vstrb.8 q0, [%[target]], #16\n"
      "   letp lr, 2b\n"
      "   add %[from], %[from], %[pitch]\n"
      "   add %[to], %[to], %[row]\n"
      "   subs %[rows], %[rows], #1\n"
      "   bne 1b\n"
      : [from] "+&r"(from), [to] "+&r"(to), [rows] "+&r"(rows), [source] "=&r"(source),
        [target] "=&r"(target)
      : [pitch] "r"(pitch), [row] "r"(row), [bytes] "r"(bytes)
      : "q0", "lr", "cc", "memory");
}

/** The window of an output pixel, of a walk over all of them. */
typedef struct walk {
  /** Its first pixel, as an offset in the input, and that pixel's row and column. */
  int32_t from;
  int32_t top;
  int32_t left;
  /** Further output pixels of the row, and further rows of the image. */
  int32_t columns;
  int32_t rows;
  /** The largest `left` with which a window of this row lies inside the image; below 0 if none. */
  int32_t last_left;
} walk;

/** Goes to the first window of a row. */
static void enter_row(const layer *l, walk *w) {
  const nk_stream *const s = l->stream;
  const nk_conv_dims *const d = l->dims;
  w->left = -s->pad_left;
  w->columns = d->output_w;
  const bool inside = nk_in_range(w->top, 0, d->input_h - s->kernel_h);
  w->last_left = inside ? d->input_w - s->kernel_w : -1;
}

/** Goes to the first window of the next row, of this image or the next. */
static NK_NOINLINE void next_row(const layer *l, walk *w) {
  const nk_stream *const s = l->stream;
  const nk_conv_dims *const d = l->dims;
  const int32_t pitch = d->input_w * s->in_channels;
  int32_t down = s->stride_h;
  if (--w->rows == 0) {
    w->rows = d->output_h;
    down = d->input_h - s->pad_top - w->top;
    w->top = -s->pad_top;
  } else {
    w->top += down;
  }
  w->from += down * pitch - (w->left + s->pad_left) * s->in_channels;
  enter_row(l, w);
}

/** Copies a window with its padding. */
static NK_NOINLINE void pad_window(const layer *l, const walk *w, const int8_t *input, int8_t *to) {
  const nk_stream *const s = l->stream;
  const nk_conv_dims *const d = l->dims;
  const int32_t channels = s->in_channels;
  const int32_t row = s->kernel_w * channels;
  const int32_t pitch = d->input_w * channels;
  const int32_t above = nk_max(-w->top, 0);
  const int32_t before = nk_max(-w->left, 0) * channels;
  const int32_t rows = nk_min(d->input_h - w->top, s->kernel_h) - above;
  const int32_t bytes = nk_min(pitch - w->left * channels, row) - before;
  nk_mve_fill(to, -s->input_offset, s->channel_weights);
  if (rows > 0 && bytes > 0) {
    copy_rows(input + (w->from + above * pitch + before), pitch, to + above * row + before, row,
              bytes, rows);
  }
}

/** The window of the present output pixel: in the input, or a copy at `to`. Goes to the next. */
static inline const int8_t *take_window(const layer *l, walk *w, const int8_t *input, int8_t *to) {
  const nk_stream *const s = l->stream;
  const int8_t *window = to;
  if (l->is_direct) {
    window = input + w->from;
  } else if (nk_in_range(w->left, 0, w->last_left)) {
    const int32_t row = s->kernel_w * s->in_channels;
    copy_rows(input + w->from, l->dims->input_w * s->in_channels, to, row, row, s->kernel_h);
  } else {
    pad_window(l, w, input, to);
  }
  w->from += s->stride_w * s->in_channels;
  w->left += s->stride_w;
  if (--w->columns == 0) {
    next_row(l, w);
  }
  return window;
}

/** Runs the channels of a block for all pixels. */
static void run_block(const layer *l, const block *b, const int8_t *input, int8_t *output) {
  const nk_conv_dims *const d = l->dims;
  const int32_t step = l->stream->output_channels;
  const int32_t size = l->stream->channel_weights;
  walk w = {.top = -l->stream->pad_top, .rows = d->output_h};
  w.from = (w.top * d->input_w - l->stream->pad_left) * l->stream->in_channels;
  enter_row(l, &w);
  int32_t pixels;
  for (int32_t left = d->batches * d->output_h * d->output_w; left > 0; left -= pixels) {
    pixels = nk_min(left, TILE_PIXELS);
    int8_t *to = l->sink == NULL ? output : l->sink->tile;
    const int8_t *x[TILE_PIXELS];
    int8_t *y[TILE_PIXELS];
    for (int32_t p = 0; p < TILE_PIXELS; ++p) {
      if (p < pixels) {
        x[p] = take_window(l, &w, input, l->windows + p * size);
        y[p] = to + p * step;
      } else {  // the last pixel once more
        x[p] = x[p - 1];
        y[p] = y[p - 1];
      }
    }
    run_tile(l, b, x, y);
    if (l->sink != NULL) {
      l->sink->take(l->sink, output, pixels);
    }
    output += pixels * step;
  }
}

bool nk_nested_dense_conv_s8_mve(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                 const int8_t *input, int8_t *output, uint8_t *scratch,
                                 int32_t scratch_bytes, const nk_dsp_sink *sink) {
  layer l = {.stream = stream, .level = level, .dims = dims, .sink = sink};
  if (!lay_out(&l, scratch, scratch_bytes) || !(l.is_dense || is_faster(&l))) {
    return false;
  }
  cursors at;
  for (int32_t n = 0; n <= level; ++n) {
    at.entry[n] = stream->level[n].records;
  }
  nk_dsp_adder adder;
  block b = {.count = 0};
  for (int32_t first = 0; first < stream->out_channels; first += b.count) {
    b = next_block(&l, first, &at);
    l.sink = nk_dsp_sink_of_block(sink, b.count, &adder);
    run_block(&l, &b, input, output + first);
  }
  return true;
}

#endif  // NK_USE_MVE
