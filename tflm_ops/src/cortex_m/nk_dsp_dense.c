#include "nk_dsp_dense.h"

#include <string.h>

#include "nk_dsp_conv.h"
#include "nk_simd.h"

/** Inputs of a pass of the loop. */
#define PASS_INPUTS 4
/** Of larger filters the tiles of nk_dsp_tile.S take as few cycles. The top byte of a sum counts
 * the passes, which the sums of up to 255 doubled products leave free. */
#define DENSE_MAX_INPUTS 64
/** The widened weights are scratch memory: no more than this. */
#define DENSE_MAX_WEIGHT_BYTES 6144
#define DENSE_GROUP_BYTES 76
/** The loop reads so far past the inputs, and past the weights. */
#define DENSE_READ_AHEAD_BYTES 8
#define COUNTING_START (1 << 23)
#define ONE_PASS (1 << 24)

static int32_t groups_of(int32_t channels) {
  return (channels + NK_DSP_DENSE_GROUP - 1) / NK_DSP_DENSE_GROUP;
}

/** Inputs of a window, rounded up to whole passes. */
static int32_t inputs_of(const nk_stream *s) {
  return (s->channel_weights + PASS_INPUTS - 1) / PASS_INPUTS * PASS_INPUTS;
}

/** Bytes of the widened weights of a group. */
static int32_t group_weight_bytes(const nk_stream *s) {
  return inputs_of(s) * NK_DSP_DENSE_GROUP * (int32_t)sizeof(int16_t);
}

bool nk_dsp_dense_takes(const nk_stream *s) {
  if (s->kind != NK_KIND_CONV || s->level[0].encoding != NK_ENCODING_DENSE ||
      s->channel_weights > DENSE_MAX_INPUTS ||
      groups_of(s->output_channels) * group_weight_bytes(s) > DENSE_MAX_WEIGHT_BYTES) {
    return false;
  }
  for (int32_t n = 1; n < s->levels; ++n) {
    if (s->level[n].encoding != NK_ENCODING_EMPTY) {
      return false;
    }
  }
  return true;
}

int32_t nk_dsp_dense_bytes(const nk_stream *s) {
  // Inputs of two pixels as int16, and the window of one as int8.
  return groups_of(s->output_channels) * (DENSE_GROUP_BYTES + group_weight_bytes(s)) +
         5 * inputs_of(s) + DENSE_READ_AHEAD_BYTES;
}

#if NK_USE_DSP

_Static_assert(sizeof(nk_dsp_dense_group) == DENSE_GROUP_BYTES,
               "nk_dsp_dense_tile.S knows the layout");

/** A layer and its working memory. */
typedef struct dense {
  const nk_stream *stream;
  const nk_conv_dims *dims;
  /** Inputs of two pixels, see nk_dsp_dense_pair. */
  int16_t *x;
  /** A window, copied from an image and its padding. */
  int8_t *window;
  /** Elements of a row of a window. */
  int32_t row_elements;
} dense;

void nk_dsp_dense_exact(const nk_dsp_dense_pair *pair, const nk_dsp_dense_group *group,
                        const int32_t *sums, int8_t *output) {
  const nk_stream *s = pair->stream;
  const nk_stream_level *tables = &s->level[pair->level];
  const nk_output_stage stage = {s->output_offset, s->activation_min, s->activation_max};
  const int32_t first = (int32_t)(group - pair->groups) * NK_DSP_DENSE_GROUP;
  const int32_t channels = nk_min(s->out_channels - first, NK_DSP_DENSE_GROUP);
  for (int32_t i = 0; i < channels; ++i) {
    const int32_t o = first + i;
    // The second pixel first, as in nk_dsp_dense_tile().
    for (int32_t pixel = 1; pixel >= 0; --pixel) {
      const int32_t sum = sums[pixel * NK_DSP_DENSE_GROUP + i] / 2;
      output[pixel * pair->step + i] = nk_requantize(
          nk_wrapping_add(sum, tables->bias[o]), tables->multiplier[o], tables->shift[o], &stage);
    }
  }
}

/** Widens and doubles the filters of a group, [channels][length]. Where a filter is missing or at
 * its end the words stay as they are: there the inputs are 0, or no output is stored. */
static void widen(const int8_t *values, int32_t length, int32_t channels, uint32_t *words) {
  for (int32_t i = 0; i < channels; ++i) {
    const int8_t *const end = values + length;
    uint32_t *to = words + i;
    for (; values + 1 < end; values += 2, to += NK_DSP_DENSE_GROUP) {
      *to = nk_pack_halves(2 * values[0], 2 * values[1]);
    }
    if (values < end) {
      *to = nk_pack_halves(2 * *values++, 0);
    }
  }
}

static void set_group(const nk_stream *s, int32_t level, int32_t first, int32_t passes,
                      nk_dsp_dense_group *group) {
  const nk_stream_level *tables = &s->level[level];
  const nk_output_stage stage = {s->output_offset, s->activation_min, s->activation_max};
  const int32_t largest_bias = nk_dsp_largest_bias(&stage, s->channel_weights);
  const int32_t channels = nk_min(s->out_channels - first, NK_DSP_DENSE_GROUP);
  memset(group, 0, sizeof(*group));
  group->exact = channels < NK_DSP_DENSE_GROUP;
  for (int32_t i = 0; i < channels; ++i) {
    const int32_t o = first + i;
    if (!nk_dsp_is_short(largest_bias, tables->bias[o], tables->multiplier[o], tables->shift[o])) {
      group->exact = 1;
      continue;
    }
    nk_dsp_channel channel;
    nk_dsp_set_channel(&channel, s->output_offset, tables->bias[o], tables->multiplier[o],
                       tables->shift[o]);
    group->bias[(i + 3) % NK_DSP_DENSE_GROUP] = 2 * tables->bias[o];
    group->channel[i].multiplier = channel.multiplier;
    group->channel[i].half = channel.half;
    group->channel[i].shift = channel.shift;
  }
  if (group->exact) {
    memset(group->bias, 0, sizeof(group->bias));
  }
  group->start = COUNTING_START - passes * ONE_PASS;
  group->correction = group->bias[3] - COUNTING_START;
}

/** Gathers the window at `from`, whose rows are `pitch` bytes apart, for one pixel of a pair. */
static NK_NOINLINE void gather(const int8_t *from, int32_t pitch, int16_t *to, int32_t rows,
                               int32_t elements) {
  if (rows == 3 && elements == 9) {
    nk_dsp_dense_gather_nines(from, pitch, to);
    return;
  }
  if (elements % 4 == 0) {
    nk_dsp_dense_gather_fours(from, pitch, to, rows, elements);
    return;
  }
  for (; rows > 0; --rows, from += pitch) {
    for (int32_t i = 0; i < elements; ++i) {
      *to = from[i];
      to += (uintptr_t)to % 4 == 0 ? 1 : 3;
    }
  }
}

/** Gathers a window that may reach into the padding, by way of d->window. */
static NK_NOINLINE void gather_padded(const dense *d, const int8_t *image, int32_t y, int32_t x,
                                      int16_t *to) {
  const nk_stream *s = d->stream;
  const int32_t elements = d->row_elements;
  const int32_t pitch = d->dims->input_w * s->in_channels;
  const int32_t before = nk_clamp(-x, 0, s->kernel_w) * s->in_channels;
  const int32_t end = nk_clamp(d->dims->input_w - x, 0, s->kernel_w) * s->in_channels;
  int8_t *row = d->window;
  memset(row, -s->input_offset, (size_t)s->channel_weights);
  for (int32_t ky = 0; ky < s->kernel_h; ++ky, row += elements) {
    if (nk_in_range(y + ky, 0, d->dims->input_h - 1)) {
      const int32_t at = (y + ky) * pitch + x * s->in_channels;
      for (int32_t i = before; i < end; ++i) {
        row[i] = image[at + i];
      }
    }
  }
  gather(d->window, elements, to, s->kernel_h, elements);
}

/** Gathers and multiplies pairs whose windows lie inside the image, the first at `from`. */
static NK_NOINLINE void run_pairs(const dense *d, nk_dsp_dense_pair *pair, const int8_t *from,
                                  int32_t pitch, int32_t pairs) {
  const int32_t rows = d->stream->kernel_h;
  const int32_t next = d->stream->stride_w * d->stream->in_channels;
  const bool nines = rows == 3 && d->row_elements == 9;
  for (; pairs > 0; --pairs, from += 2 * next) {
    if (nines) {  // as gather() would, which takes a tenth longer
      nk_dsp_dense_gather_nines(from, pitch, d->x);
      nk_dsp_dense_gather_nines(from + next, pitch, d->x + 2);
    } else {
      gather(from, pitch, d->x, rows, d->row_elements);
      gather(from + next, pitch, d->x + 2, rows, d->row_elements);
    }
    nk_dsp_dense_tile(pair);
    pair->output += 2 * pair->step;
  }
}

/** Gathers and multiplies a row of output pixels; returns whether a pixel waits for a second. */
static bool run_row(const dense *d, nk_dsp_dense_pair *pair, const int8_t *image, int32_t oy,
                    bool second) {
  const nk_stream *s = d->stream;
  const int32_t pitch = d->dims->input_w * s->in_channels;
  const int32_t y = oy * s->stride_h - s->pad_top;
  const bool inside = nk_in_range(y, 0, d->dims->input_h - s->kernel_h);
  const int32_t last = d->dims->input_w - s->kernel_w;
  int32_t n = d->dims->output_w;
  int32_t x = -s->pad_left;
  while (n > 0) {
    if (!second && n > 1 && inside && x >= 0 && x + s->stride_w <= last) {
      const int32_t pairs = nk_min(n, (last - x) / s->stride_w + 1) / 2;
      run_pairs(d, pair, image + y * pitch + x * s->in_channels, pitch, pairs);
      n -= 2 * pairs;
      x += 2 * pairs * s->stride_w;
      continue;
    }
    gather_padded(d, image, y, x, second ? d->x + 2 : d->x);
    if (second) {
      nk_dsp_dense_tile(pair);
      pair->output += 2 * pair->step;
    }
    second = !second;
    --n;
    x += s->stride_w;
  }
  return second;
}

void nk_dsp_dense_run(const nk_stream *s, int32_t level, const nk_conv_dims *dims,
                      const int8_t *input, int8_t *output, void *scratch) {
  const int32_t groups = groups_of(s->out_channels);
  const int32_t inputs = inputs_of(s);
  nk_dsp_dense_group *const group = scratch;
  uint32_t *const weights = (uint32_t *)(group + groups);
  const int32_t group_words = group_weight_bytes(s) / (int32_t)sizeof(uint32_t);
  int16_t *const x = (int16_t *)(weights + groups * group_words);
  int8_t *const window = (int8_t *)(x + 2 * inputs) + DENSE_READ_AHEAD_BYTES;
  const dense d = {s, dims, x, window, s->kernel_w * s->in_channels};
  for (int32_t g = 0; g < groups; ++g) {
    const int32_t first = g * NK_DSP_DENSE_GROUP;
    set_group(s, level, first, inputs / PASS_INPUTS, &group[g]);
    widen(s->level[0].values + first * s->channel_weights, s->channel_weights,
          nk_min(s->out_channels - first, NK_DSP_DENSE_GROUP), weights + g * group_words);
  }
  memset(x, 0, (size_t)(2 * inputs) * sizeof(*x) + DENSE_READ_AHEAD_BYTES);
  nk_dsp_dense_pair pair = {(const uint32_t *)x, weights, group, group + groups, output,
                            s->output_channels,  group,   s,     level};
  bool second = false;
  for (int32_t n = 0; n < dims->batches; ++n) {
    for (int32_t oy = 0; oy < dims->output_h; ++oy) {
      second = run_row(&d, &pair, input, oy, second);
    }
    input += dims->input_h * dims->input_w * s->in_channels;
  }
  if (second) {
    pair.step = 0;
    nk_dsp_dense_tile(&pair);
  }
}

#endif  // NK_USE_DSP
