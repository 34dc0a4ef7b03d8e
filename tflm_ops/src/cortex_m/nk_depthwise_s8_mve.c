/**
 * Depthwise convolution 3x3 with Helium (docs/kernels_helium.md). Four channels at a time: each has
 * a plane of four rows of the image in scratch memory, the four bytes of a column side by side, and
 * with them the windows of a row of outputs:
 *
 *     bytes       column 0    | column 1    | column 2    | column 3
 *                 r4 r1 r2 r3 | r4 r1 r2 r3 | r4 r1 r2 r3 | r4 r1 r2 r3
 *     output 0     0 w0 w3 w6 |  0 w1 w4 w7 |  0 w2 w5 w8 |
 *     output 1                |  0 w0 w3 w6 |  0 w1 w4 w7 |  0 w2 w5 w8
 *
 * A new row takes the place of the oldest, and the weights rotate in their columns. Rows and
 * columns change their parts where that fills the vectors of four outputs better.
 */
#include "nk_depthwise_s8_mve.h"

#include "nk_target.h"

#if NK_USE_MVE

#include "nk_mve.h"

/** Channels with planes, and outputs of a vector. */
#define CHANNELS NK_DEPTHWISE_TILE_CHANNELS
#define OUTPUTS 4
/** Rows of a plane, and bytes of a column. */
#define SLOTS 4
#define KERNEL 3

/** A direction in the image: along a row of outputs, or from row to row. */
typedef struct direction {
  const nk_axis *axis;
  /** Steps in elements. */
  int32_t input;
  int32_t output;
  int32_t weight;
} direction;

/** A row of outputs of a channel, four at a time; in the order of the registers of PUT. */
typedef struct run {
  const int8_t *x;
  int8_t *y;
  int32_t bias;
  int32_t multiplier;
  /** Shifts before and after the product: left and at least 0, and at most 0. */
  int32_t left;
  int32_t right;
  int32_t offset;
  /** From four outputs to the next. */
  int32_t step;
  int32_t vectors;
} run;

/** The least and the largest output, and the places of four outputs. */
typedef struct bounds {
  int32x4_t min;
  int32x4_t max;
  uint32x4_t places;
} bounds;

/** A part of an image: some outputs of each row. */
typedef struct part {
  const nk_depthwise_layer *layer;
  direction along;
  direction down;
  /** The first output of a row, and how many. */
  int32_t first;
  int32_t outputs;
  int8_t *planes;
  /** From plane to plane. */
  int32_t plane_bytes;
  bounds limits;
} part;

/** Some channels. */
typedef struct group {
  int32_t count;
  /** The next row of each. */
  run next[CHANNELS];
  /** Weights of the first row: [column][slot]. */
  uint32x4_t weights[CHANNELS];
} group;

/** Computes a row of outputs. */
typedef void put_function(const run *r, uint32x4_t weights, const bounds *b);

// r0, r2, r4, r6: sums; q2: the weights of an output that begins one column later; r7 may be the
// frame's.
#define PUT(PRODUCTS)                                                                         \
  register const run *at __asm__("r12") = r;                                                  \
  __asm__ volatile(                                                                           \
      "   ldm %[at], {r1, r3, r5, r8, r9, r10, r11, r12, lr}\n"                               \
      "   mov r0, #0\n"                                                                       \
      "   vmov q2, %q[weights]\n"                                                             \
      "   vshlc q2, r0, #32\n"                                                                \
      "   vdup.32 q3, r10\n"                                                                  \
      "   dls lr, lr\n"                                                                       \
      "1:\n" PRODUCTS                                                                         \
      "   vmov q0[2], q0[0], r0, r4\n"                                                        \
      "   vmov q0[3], q0[1], r2, r6\n"                                                        \
      "   vadd.i32 q0, q0, r5\n"                                                              \
      "   vshl.s32 q0, r9\n"                                                                  \
      "   vqrdmulh.s32 q0, q0, r8\n"                                                          \
      "   vand q1, q0, q3\n"                                                                  \
      "   vshr.s32 q1, q1, #31\n"                                                             \
      "   vqadd.s32 q0, q0, q1\n"                                                             \
      "   vrshl.s32 q0, r10\n"                                                                \
      "   vadd.i32 q0, q0, r11\n"                                                             \
      "   vmax.s32 q0, q0, %q[min]\n"                                                         \
      "   vmin.s32 q0, q0, %q[max]\n"                                                         \
      "   vstrb.32 q0, [r3, %q[places]]\n"                                                    \
      "   add r3, r3, r12\n"                                                                  \
      "   le lr, 1b\n"                                                                        \
      : [at] "+r"(at)                                                                         \
      : [weights] "w"(weights), [min] "w"(b->min), [max] "w"(b->max), [places] "w"(b->places) \
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "q0", "q1", \
        "q2", "q3", "memory")

/** Computes outputs whose windows begin in columns side by side. */
static NK_NOINLINE void put_neighbours(const run *r, uint32x4_t weights, const bounds *b) {
  PUT("   vldrb.8 q0, [r1], #8\n"
      "   vmladav.s8 r0, q0, %q[weights]\n"
      "   vldrb.8 q1, [r1], #8\n"
      "   vmladav.s8 r2, q0, q2\n"
      "   vmladav.s8 r4, q1, %q[weights]\n"
      "   vmladav.s8 r6, q1, q2\n");
}

/** Computes outputs whose windows begin in every other column. */
static NK_NOINLINE void put_seconds(const run *r, uint32x4_t weights, const bounds *b) {
  PUT("   vldrb.8 q0, [r1], #8\n"
      "   vmladav.s8 r0, q0, %q[weights]\n"
      "   vldrb.8 q1, [r1], #8\n"
      "   vmladav.s8 r2, q1, %q[weights]\n"
      "   vldrb.8 q0, [r1], #8\n"
      "   vmladav.s8 r4, q0, %q[weights]\n"
      "   vldrb.8 q1, [r1], #8\n"
      "   vmladav.s8 r6, q1, %q[weights]\n");
}

/** Puts `pixels` pixels of four channels, `step` apart, into the columns of the planes. */
static void unpack(const int8_t *x, int32_t step, int32_t pixels, int8_t *to, int32_t plane_bytes) {
  const uint32x4_t planes = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)plane_bytes);
  __asm__ volatile(
      "   wls lr, %[pixels], 2f\n"
      "1: vldrb.u32 q0, [%[x]]\n"
      "   vstrb.32 q0, [%[to], %q[planes]]\n"
      "   add %[x], %[x], %[step]\n"
      "   add %[to], %[to], #4\n"
      "   le lr, 1b\n"
      "2:\n"
      : [x] "+l"(x), [to] "+r"(to)
      : [pixels] "r"(pixels), [step] "r"(step), [planes] "w"(planes)
      : "q0", "lr", "memory");
}

/** Brings row `row` of the image, counted from the first of the padding, into the planes. */
static void unpack_row(const part *p, int32_t row, const int8_t *input) {
  const nk_axis *const along = p->along.axis;
  const nk_axis *const down = p->down.axis;
  const int32_t start = p->first * along->stride - along->pad;
  const nk_range inside =
      nk_range_inside(start, 1, (p->outputs - 1) * along->stride + KERNEL, along->input);
  const int32_t y = row - down->pad;
  int8_t *const to = p->planes + inside.begin * SLOTS + row % SLOTS;
  const int32_t pixels = nk_max(inside.end - inside.begin, 0);
  if (nk_in_range(y, 0, down->input - 1)) {
    const int32_t at = y * p->down.input + (start + inside.begin) * p->along.input;
    unpack(input + at, p->along.input, pixels, to, p->plane_bytes);
  } else {
    const uint32_t padding = nk_splat_byte(-p->layer->input_offset);
    unpack((const int8_t *)&padding, 0, pixels, to, p->plane_bytes);
  }
}

/** The weights of a channel by column and slot, with zeros in the last of both. */
static uint32x4_t arrange(const part *p, const int8_t *weights) {
  uint8_t places[SLOTS * SLOTS] = {0};
  uint8_t present[SLOTS * SLOTS] = {0};
  for (int32_t column = 0; column < KERNEL; ++column) {
    for (int32_t row = 0; row < KERNEL; ++row) {
      places[column * SLOTS + row] = (uint8_t)(column * p->along.weight + row * p->down.weight);
      present[column * SLOTS + row] = 1;
    }
  }
  const mve_pred16_t mask = vcmpneq_n_u8(vldrbq_u8(present), 0);
  return vreinterpretq_u32_s8(vldrbq_gather_offset_z_s8(weights, vldrbq_u8(places), mask));
}

/** Computes the outputs of a row that are left over from its vectors. */
static NK_NOINLINE void put_rest(const part *p, put_function *put, const run *row,
                                 uint32x4_t weights) {
  const int32_t step = p->along.output;
  const int32_t begin = nk_max(p->outputs - OUTPUTS, 0);
  run r = *row;
  r.x += begin * p->along.axis->stride * SLOTS;
  r.vectors = 1;
  if (p->outputs >= OUTPUTS) {  // some of the last four for a second time
    r.y += begin * step;
    put(&r, weights, &p->limits);
    return;
  }
  int8_t outputs[OUTPUTS];
  const bounds alone = {p->limits.min, p->limits.max, vidupq_n_u32(0, 1)};
  r.y = outputs;
  put(&r, weights, &alone);
  for (int32_t i = 0; i < p->outputs; ++i) {
    row->y[i * step] = outputs[i];
  }
}

/** Computes the outputs of a part of an image for some channels; x: of the first plane. */
static void run_group(const part *p, group *g, const int8_t *x) {
  const int32_t stride = p->down.axis->stride;
  const int32_t y_step = p->down.output;
  const bool has_rest = p->outputs % OUTPUTS != 0;
  put_function *const put = p->along.axis->stride == 1 ? put_neighbours : put_seconds;
  nk_mve_fill(p->planes, -p->layer->input_offset, CHANNELS * p->plane_bytes);
  int32_t unpacked = 0;
  for (int32_t row = 0; row < p->down.axis->output; ++row) {
    for (; unpacked < row * stride + KERNEL; ++unpacked) {
      unpack_row(p, unpacked, x);
    }
    // Each column of the weights is a word.
    const int32_t rotation = row * stride % SLOTS * 8;
    for (int32_t c = 0; c < g->count; ++c) {
      run *const r = &g->next[c];
      const uint32x4_t weights = vorrq_u32(vshlq_r_u32(g->weights[c], rotation),
                                           vshlq_r_u32(g->weights[c], rotation - 32));
      if (r->vectors > 0) {
        put(r, weights, &p->limits);
      }
      if (has_rest) {
        put_rest(p, put, r, weights);
      }
      r->y += y_step;
    }
  }
}

/** All channels of a part of an image. */
static void run_channels(const part *p, nk_depthwise_source *source, const int8_t *x, int8_t *y) {
  const nk_depthwise_layer *const l = p->layer;
  nk_depthwise_tables tables;
  group g;
  for (int32_t c = 0; c < l->in_channels; c += CHANNELS) {
    // The last four planes overlap the four before if the channels do not come in fours.
    const int32_t first = nk_min(c, l->in_channels - CHANNELS);
    g.count = nk_min(l->in_channels - c, CHANNELS);
    source->fetch(source, c, g.count, &tables);
    for (int32_t i = 0; i < g.count; ++i) {
      const run made = {
          .x = p->planes + (c + i - first) * p->plane_bytes,
          .y = y + c + i + p->first * p->along.output,
          .bias = tables.bias[i],
          .multiplier = tables.multiplier[i],
          .left = nk_max(tables.shift[i], 0),
          .right = nk_min(tables.shift[i], 0),
          .offset = l->stage.offset,
          .step = OUTPUTS * p->along.output,
          .vectors = p->outputs / OUTPUTS,
      };
      g.next[i] = made;
      g.weights[i] = arrange(p, tables.weights + i * KERNEL * KERNEL);
    }
    run_group(p, &g, x + first);
  }
}

/** Vectors of outputs, with rows along an axis. */
static int32_t vectors(const nk_axis *along, const nk_axis *down) {
  return (along->output + OUTPUTS - 1) / OUTPUTS * down->output;
}

bool nk_depthwise_s8_mve(const nk_depthwise_layer *layer, nk_depthwise_source *source,
                         const int8_t *input, int8_t *output, void *scratch,
                         int32_t scratch_bytes) {
  const nk_axis *const y = &layer->y;
  const nk_axis *const x = &layer->x;
  const int32_t channels = layer->in_channels;
  if (channels < CHANNELS || layer->depth_multiplier != 1 || x->kernel != KERNEL ||
      y->kernel != KERNEL) {
    return false;
  }
  const direction across = {x, channels, channels, 1};
  const direction down = {y, x->input * channels, x->output * channels, KERNEL};
  const bool swap = vectors(y, x) < vectors(x, y);
  part p = {.layer = layer, .along = across, .down = down, .planes = scratch};
  if (swap) {
    p.along = down;
    p.down = across;
  }
  p.limits.min = vdupq_n_s32(layer->stage.min);
  p.limits.max = vdupq_n_s32(layer->stage.max);
  p.limits.places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)p.along.output);
  const int32_t total = p.along.axis->output;
  const int32_t stride = p.along.axis->stride;
  p.plane_bytes = scratch_bytes / CHANNELS;
  // A window's load takes one column more than the window has.
  const int32_t most = (p.plane_bytes / SLOTS - SLOTS) / stride + 1;
  const int32_t parts = (total + most - 1) / most;
  const int32_t size = (total + parts - 1) / parts;
  p.plane_bytes = ((nk_max(size, OUTPUTS) - 1) * stride + SLOTS) * SLOTS;
  const int32_t input_size = y->input * x->input * channels;
  const int32_t output_size = y->output * x->output * channels;
  for (int32_t n = 0; n < layer->batches; ++n) {
    for (p.first = 0; p.first < total; p.first += size) {
      p.outputs = nk_min(size, total - p.first);
      run_channels(&p, source, input + n * input_size, output + n * output_size);
    }
  }
  return true;
}

#endif  // NK_USE_MVE
