/**
 * The nested convolution for cores without the DSP extension (docs/kernels_portable.md).
 *
 * A tile is four output pixels, side by side or not. Each pixel has its window, the inputs under
 * the filter, as one run of bytes: a copy in scratch memory with the zero point as padding or, for
 * a 1x1 filter, the input itself. So weight k of a channel meets byte k of each of the four
 * windows, and a stored weight is decoded once for four products. */
#include <string.h>

#include "../ref/nk_geometry.h"
#include "nk_accumulate.h"
#include "nk_channel.h"
#include "nk_dot_four_s8.h"
#include "nk_portable.h"

/** The windows of the pixels of a tile. */
typedef struct tile {
  const int8_t *x[NK_TILE_PIXELS];
} tile;

/** The records of one channel in one level, in bytes from the first record of the level. */
typedef struct run {
  uint32_t begin;
  uint32_t end;
} run;

typedef struct layer layer;

/** Computes a tile: all output channels of four pixels, which lie at y + to[pixel]. */
typedef void (*run_tile)(const layer *l, const tile *t, const int32_t *to, int8_t *y);

struct layer {
  const nk_stream *stream;
  const nk_stream_level *top;
  int32_t input_h;
  int32_t input_w;
  int32_t output_h;
  int32_t output_w;
  /** [out_channels][channel_weights] of a dense level 0, or NULL. */
  const int8_t *dense;
  /** [out_channels][sparse_levels] */
  const run *runs;
  int32_t sparse_levels;
  /** The first record of each sparse level. */
  const uint8_t *records[NK_STREAM_MAX_LEVELS];
  /** Bit n: the deltas of sparse level n have 16 bits. */
  uint32_t wide;
  run_tile run;
  const nk_channel *channels;
  /** NULL, or takes the outputs of each tile. */
  const nk_dsp_sink *sink;
};

/** Adds blocks of `size` weights behind 16-bit deltas to the sums of a tile. */
static NK_NOINLINE void add_wide(const uint8_t *at, const uint8_t *end, const tile *t, int32_t size,
                                 int32_t *sums) {
  int32_t k = 0;
  while (at != end) {
    k += (at[0] | at[1] << 8) * size;
    at += 2;
    for (int32_t i = 0; i < size; ++i) {
      const int32_t w = (int8_t)*at++;
      for (int32_t p = 0; p < NK_TILE_PIXELS; ++p) {
        sums[p] += w * t->x[p][k + i];
      }
    }
  }
}

/** run_tile for blocks of `size` weights. */
static NK_ALWAYS_INLINE void run_blocks(const layer *l, const tile *t, const int32_t *to, int8_t *y,
                                        int32_t size) {
  const int8_t *const x0 = t->x[0];
  const int8_t *const x1 = t->x[1];
  const int8_t *const x2 = t->x[2];
  const int8_t *const x3 = t->x[3];
  const run *r = l->runs;
  const nk_channel *c = l->channels;
  for (int32_t o = 0; o < l->stream->out_channels; ++o, ++c, ++y) {
    int32_t s0 = 0;
    int32_t s1 = 0;
    int32_t s2 = 0;
    int32_t s3 = 0;
    if (l->dense != NULL) {
      int32_t sums[NK_TILE_PIXELS];
      nk_dot_four_s8(l->dense + o * l->stream->channel_weights, t->x, l->stream->channel_weights, 0,
                     sums);
      s0 = sums[0];
      s1 = sums[1];
      s2 = sums[2];
      s3 = sums[3];
    }
    for (int32_t n = 0; n < l->sparse_levels; ++n, ++r) {
      const uint8_t *at = l->records[n] + r->begin;
      const uint8_t *const end = l->records[n] + r->end;
      if ((l->wide >> n & 1) != 0) {
        int32_t sums[NK_TILE_PIXELS] = {s0, s1, s2, s3};
        add_wide(at, end, t, size, sums);
        s0 = sums[0];
        s1 = sums[1];
        s2 = sums[2];
        s3 = sums[3];
        continue;
      }
      uint32_t k = 0;
      while (at != end) {
        k += (uint32_t)(*at++ * size);
        for (int32_t i = 0; i < size; ++i) {
          const int32_t w = (int8_t)*at++;
          nk_accumulate(&s0, w * x0[k + (uint32_t)i]);
          nk_accumulate(&s1, w * x1[k + (uint32_t)i]);
          nk_accumulate(&s2, w * x2[k + (uint32_t)i]);
          nk_accumulate(&s3, w * x3[k + (uint32_t)i]);
        }
      }
    }
    if (c->stage.right != 0) {
      nk_channel_put(c, s0, s1, s2, s3, to, y);
    } else {
      const int32_t sums[NK_TILE_PIXELS] = {s0, s1, s2, s3};
      nk_requantize_four_s8(l->top->bias[o], l->top->multiplier[o], l->top->shift[o],
                            l->stream->output_offset, sums, to, y);
    }
  }
}

static NK_NOINLINE void run_singles(const layer *l, const tile *t, const int32_t *to, int8_t *y) {
  run_blocks(l, t, to, y, 1);
}

static NK_NOINLINE void run_twos(const layer *l, const tile *t, const int32_t *to, int8_t *y) {
  run_blocks(l, t, to, y, 2);
}

static NK_NOINLINE void run_fours(const layer *l, const tile *t, const int32_t *to, int8_t *y) {
  run_blocks(l, t, to, y, 4);
}

/** Copies the window of an output of an image to `to`, with the zero point as padding. */
static void copy_window(const layer *l, const int8_t *image, int32_t oy, int32_t ox, int8_t *to) {
  const nk_stream *const s = l->stream;
  const int32_t channels = s->in_channels;
  const int32_t iy = oy * s->stride_h - s->pad_top;
  const int32_t ix = ox * s->stride_w - s->pad_left;
  const int32_t top = nk_max(0, -iy);
  const int32_t bottom = nk_min(s->kernel_h, l->input_h - iy);
  const int32_t left = nk_max(0, -ix);
  const int32_t right = nk_min(s->kernel_w, l->input_w - ix);
  if (top > 0 || left > 0 || bottom < s->kernel_h || right < s->kernel_w) {
    memset(to, -s->input_offset, (size_t)s->channel_weights);
  }
  if (left < right) {
    const int32_t size = (right - left) * channels;
    for (int32_t ky = top; ky < bottom; ++ky) {
      memcpy(to + (ky * s->kernel_w + left) * channels,
             image + ((iy + ky) * l->input_w + ix + left) * channels, (size_t)size);
    }
  }
}

/** The window of an output: a copy at `to` or, where no filter position is padded, in the image. */
static const int8_t *window_of(const layer *l, const int8_t *image, int32_t oy, int32_t ox,
                               int8_t *to) {
  const nk_stream *const s = l->stream;
  if (s->kernel_h == 1 && s->kernel_w == 1 && s->pad_top == 0 && s->pad_left == 0) {
    return image + (oy * s->stride_h * l->input_w + ox * s->stride_w) * s->in_channels;
  }
  copy_window(l, image, oy, ox, to);
  return to;
}

/** Clamps the outputs of pixels that lie side by side. */
static void clamp_pixels(const nk_stream *s, int8_t *made, int32_t pixels) {
  if (s->activation_min == INT8_MIN && s->activation_max == INT8_MAX) {
    return;
  }
  if (s->out_channels == s->output_channels) {
    nk_clamp_s8(made, pixels * s->out_channels, s->activation_min, s->activation_max);
    return;
  }
  for (; pixels > 0; --pixels, made += s->output_channels) {
    nk_clamp_s8(made, s->out_channels, s->activation_min, s->activation_max);
  }
}

/** `windows` has room for [NK_TILE_PIXELS][channel_weights]. */
static void run_image(const layer *l, const int8_t *image, int8_t *output, int8_t *windows) {
  const nk_stream *const s = l->stream;
  int32_t oy = 0;
  int32_t ox = 0;
  for (int32_t left = l->output_h * l->output_w; left > 0; left -= NK_TILE_PIXELS) {
    const int32_t count = nk_min(left, NK_TILE_PIXELS);
    tile t = {{NULL}};
    int32_t to[NK_TILE_PIXELS];
    for (int32_t i = 0; i < NK_TILE_PIXELS; ++i) {
      if (i < count) {
        t.x[i] = window_of(l, image, oy, ox, windows + i * s->channel_weights);
        to[i] = i * s->output_channels;
        ++ox;
        if (ox == l->output_w) {
          ox = 0;
          ++oy;
        }
      } else {
        t.x[i] = t.x[0];
        to[i] = 0;
      }
    }
    int8_t *const made = l->sink == NULL ? output : l->sink->tile;
    l->run(l, &t, to, made);
    clamp_pixels(s, made, count);
    if (l->sink != NULL) {
      l->sink->take(l->sink, output, count);
    }
    output += count * s->output_channels;
  }
}

/**
 * Puts the tables of the layer into scratch memory, and returns the rest of it, for the windows.
 * The memory has the size that the kernel for the DSP extension needs, which is more, part for
 * part: 28 bytes a channel (here 16), 12 a channel and level (here 8), and a word or more for each
 * weight of a channel (here four windows of a byte).
 */
static int8_t *prepare(layer *l, int32_t level, void *scratch) {
  const nk_stream *const s = l->stream;
  const int32_t channels = s->out_channels;
  const nk_stream_level *sparse[NK_STREAM_MAX_LEVELS];
  nk_channel *const made = scratch;
  run *const runs = (run *)(void *)(made + channels);
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *const from = &s->level[n];
    if (from->encoding == NK_ENCODING_DENSE) {
      l->dense = from->values;
    } else if (from->encoding != NK_ENCODING_EMPTY) {
      sparse[l->sparse_levels] = from;
      l->records[l->sparse_levels] = from->records;
      l->wide |= (uint32_t)(from->encoding == NK_ENCODING_DELTA16) << l->sparse_levels;
      ++l->sparse_levels;
    }
  }
  l->runs = runs;
  for (int32_t n = 0; n < l->sparse_levels; ++n) {
    uint32_t end = 0;
    for (int32_t o = 0; o < channels; ++o) {
      run *const to = &runs[o * l->sparse_levels + n];
      to->begin = end;
      end += (uint32_t)(nk_stream_count(sparse[n], o) * sparse[n]->record_bytes);
      to->end = end;
    }
  }
  l->run = s->block_size == 1 ? run_singles : s->block_size == 2 ? run_twos : run_fours;
  for (int32_t o = 0; o < channels; ++o) {
    made[o] = nk_channel_of(l->top->bias[o], l->top->multiplier[o], l->top->shift[o],
                            s->output_offset, s->channel_weights);
  }
  l->channels = made;
  return (int8_t *)(runs + channels * l->sparse_levels);
}

void nk_nested_conv_s8_portable(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                const int8_t *input, int8_t *output, void *scratch,
                                const nk_dsp_sink *sink) {
  layer l = {
      .stream = stream,
      .top = &stream->level[level],
      .input_h = dims->input_h,
      .input_w = dims->input_w,
      .output_h = dims->output_h,
      .output_w = dims->output_w,
      .sink = sink,
  };
  int8_t *const windows = prepare(&l, level, scratch);
  const int32_t output_size = dims->output_h * dims->output_w * stream->output_channels;
  for (int32_t b = 0; b < dims->batches; ++b) {
    run_image(&l, input + b * dims->input_h * dims->input_w * stream->in_channels,
              output + b * output_size, windows);
  }
}
