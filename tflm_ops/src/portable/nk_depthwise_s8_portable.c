/**
 * The depthwise convolution for cores without the DSP extension: channel by channel, over a plane.
 *
 * The plane is a part of the image in one channel, with the zero point around it, as bytes without
 * gaps in scratch memory. Over it the kernel computes four neighbouring outputs at a time, so that
 * a weight and most inputs are loaded once for them.
 */
#include "nk_depthwise_s8_portable.h"

#include <string.h>

#include "nk_accumulate.h"
#include "nk_channel.h"

/** Outputs of a line that one plane serves at most: the lines of a 5x5 filter then fit. */
#define PLANE_OUTPUTS 64

/** One direction of the image. */
typedef struct direction {
  nk_axis axis;
  /** Steps in the tensors from one input, or output, of the channel to the next. */
  int32_t input_step;
  int32_t output_step;
} direction;

/** A channel of the layer. A line of its plane goes along `u`: a row or, on its side, a column. */
typedef struct work {
  const nk_plane_channel *channel;
  nk_channel stage;
  int32_t output_offset;
  direction u;
  direction v;
  /** [v][u] */
  int8_t weights[NK_PLANE_MAX_WEIGHTS];
  const int8_t *plane;
  /** Bytes of a line of the plane. */
  int32_t pitch;
} work;

/** A rectangle of outputs. */
typedef struct strip {
  int32_t first_v;
  int32_t first_u;
  int32_t lines;
  int32_t length;
} strip;

/** Copies values that are `step` apart. */
static NK_NOINLINE void gather(int8_t *to, const int8_t *from, int32_t step, int32_t count) {
  for (; count >= 4; count -= 4, to += 4, from += 4 * step) {
    to[0] = from[0];
    to[1] = from[step];
    to[2] = from[2 * step];
    to[3] = from[3 * step];
  }
  for (; count > 0; --count, from += step) {
    *to++ = *from;
  }
}

/** Copies the inputs of a strip to the plane, which holds the zero point. */
static void fill_plane(const work *w, const strip *s, const int8_t *input, int8_t *plane) {
  const int32_t first_v = s->first_v * w->v.axis.stride - w->v.axis.pad;
  const int32_t first_u = s->first_u * w->u.axis.stride - w->u.axis.pad;
  const int32_t lines = (s->lines - 1) * w->v.axis.stride + w->v.axis.kernel;
  const nk_range inside_v = nk_range_inside(first_v, 1, lines, w->v.axis.input);
  const nk_range inside_u = nk_range_inside(first_u, 1, w->pitch, w->u.axis.input);
  for (int32_t v = inside_v.begin; v < inside_v.end; ++v) {
    gather(plane + v * w->pitch + inside_u.begin,
           input + (first_v + v) * w->v.input_step + (first_u + inside_u.begin) * w->u.input_step,
           w->u.input_step, inside_u.end - inside_u.begin);
  }
}

#define TAP(k)                                        \
  nk_accumulate(&s0, weights[k] * x[k]);              \
  nk_accumulate(&s1, weights[k] * x[k + stride]);     \
  nk_accumulate(&s2, weights[k] * x[k + 2 * stride]); \
  nk_accumulate(&s3, weights[k] * x[k + 3 * stride]);

/** Computes a strip; `y` is its first output. The constants are those of the layer. */
static NK_ALWAYS_INLINE void run_strip(const work *w, const strip *s, int8_t *y, int32_t kernel,
                                       int32_t stride) {
  const int32_t step = w->u.output_step;
  const int32_t pitch = w->pitch;
  const int32_t rest = s->length % 4;
  const int32_t four[NK_TILE_PIXELS] = {0, step, 2 * step, 3 * step};
  const int32_t last[NK_TILE_PIXELS] = {0, rest > 1 ? step : 0, rest > 2 ? 2 * step : 0, 0};
  for (int32_t v = 0; v < s->lines; ++v, y += w->v.output_step) {
    const int8_t *first = w->plane + v * w->v.axis.stride * pitch;
    int8_t *at = y;
    for (int32_t left = s->length; left > 0; left -= 4, first += 4 * stride, at += 4 * step) {
      const int8_t *weights = w->weights;
      const int8_t *const end = weights + kernel * kernel;
      const int8_t *x = first;
      int32_t s0 = 0;
      int32_t s1 = 0;
      int32_t s2 = 0;
      int32_t s3 = 0;
      for (; weights != end; weights += kernel, x += pitch) {
        TAP(0)
        TAP(1)
        TAP(2)
        if (kernel == 5) {
          TAP(3)
          TAP(4)
        }
      }
      const int32_t *const to = left >= 4 ? four : last;
      if (w->stage.stage.right != 0) {
        nk_channel_put(&w->stage, s0, s1, s2, s3, to, at);
      } else {
        const int32_t sums[NK_TILE_PIXELS] = {s0, s1, s2, s3};
        nk_requantize_four_s8(w->channel->folded_bias, w->channel->multiplier, w->channel->shift,
                              w->output_offset, sums, to, at);
      }
    }
  }
}

static NK_NOINLINE void run_3x3(const work *w, const strip *s, int8_t *y) {
  run_strip(w, s, y, 3, 1);
}

static NK_NOINLINE void run_3x3_stride_2(const work *w, const strip *s, int8_t *y) {
  run_strip(w, s, y, 3, 2);
}

static NK_NOINLINE void run_5x5(const work *w, const strip *s, int8_t *y) {
  run_strip(w, s, y, 5, 1);
}

static NK_NOINLINE void run_5x5_stride_2(const work *w, const strip *s, int8_t *y) {
  run_strip(w, s, y, 5, 2);
}

static void run_strip_of(const work *w, const strip *s, int8_t *y) {
  if (w->u.axis.kernel == 3) {
    (w->u.axis.stride == 1 ? run_3x3 : run_3x3_stride_2)(w, s, y);
  } else {
    (w->u.axis.stride == 1 ? run_5x5 : run_5x5_stride_2)(w, s, y);
  }
}

/** Fours that lines of `length` outputs take. */
static int32_t fours_of(int32_t lines, int32_t length) { return lines * ((length + 3) / 4); }

/** Whether lines go along the columns of the image, because then there are fewer fours. */
static bool is_on_side(const nk_depthwise_layer *l) {
  if (l->y.stride > NK_PLANE_MAX_STRIDE || l->x.stride > NK_PLANE_MAX_STRIDE) {
    return l->x.stride > NK_PLANE_MAX_STRIDE;
  }
  return fours_of(l->x.output, l->y.output) < fours_of(l->y.output, l->x.output);
}

static work make_work(const nk_depthwise_layer *l, const nk_plane_channel *channel) {
  const int32_t out_channels = l->in_channels * l->depth_multiplier;
  work made = {
      .channel = channel,
      .stage = nk_channel_of(channel->folded_bias, channel->multiplier, channel->shift,
                             l->stage.offset, l->y.kernel * l->x.kernel),
      .output_offset = l->stage.offset,
      .u = {.axis = l->x, .input_step = l->in_channels, .output_step = out_channels},
      .v = {.axis = l->y,
            .input_step = l->x.input * l->in_channels,
            .output_step = l->x.output * out_channels},
  };
  const bool on_side = is_on_side(l);
  const int32_t kernel = l->x.kernel;
  for (int32_t i = 0; i < kernel; ++i) {
    for (int32_t k = 0; k < kernel; ++k) {
      made.weights[on_side ? k * kernel + i : i * kernel + k] = channel->weights[i * kernel + k];
    }
  }
  if (on_side) {
    const direction u = made.u;
    made.u = made.v;
    made.v = u;
  }
  return made;
}

void nk_depthwise_s8_portable(const nk_depthwise_layer *layer, int32_t index,
                              const nk_plane_channel *channel, const int8_t *input, int8_t *output,
                              int8_t *plane, int32_t plane_bytes) {
  work w = make_work(layer, channel);
  const nk_axis *const u = &w.u.axis;
  const nk_axis *const v = &w.v.axis;
  const int32_t length = nk_min(u->output, PLANE_OUTPUTS);
  w.plane = plane;
  w.pitch = ((length + 3) / 4 * 4 - 1) * u->stride + u->kernel;
  const int32_t most_lines = (plane_bytes / w.pitch - v->kernel) / v->stride + 1;
  const int32_t lines = nk_min(most_lines, v->output);
  const int32_t used_bytes = ((lines - 1) * v->stride + v->kernel) * w.pitch;
  // The plane of the whole image has the same zero points for all channels.
  const bool is_whole = length == u->output && lines == v->output;
  input += index / layer->depth_multiplier;
  output += index;
  for (int32_t b = 0; b < layer->batches; ++b) {
    for (int32_t i = 0; i < v->output; i += lines) {
      for (int32_t k = 0; k < u->output; k += length) {
        const strip s = {i, k, nk_min(lines, v->output - i), nk_min(length, u->output - k)};
        if (index == 0 || !is_whole) {
          memset(plane, -layer->input_offset, (size_t)used_bytes);
        }
        fill_plane(&w, &s, input, plane);
        run_strip_of(&w, &s, output + i * w.v.output_step + k * w.u.output_step);
      }
    }
    input += u->input * v->input * layer->in_channels;
    output += u->output * v->output * layer->in_channels * layer->depth_multiplier;
  }
}
