/**
 * The nested fully connected layer for Cortex-M7: for each input row, the levels add to the sums of
 * all outputs one after the other; the sums are then requantised.
 */
#include <string.h>

#include "nk_arithmetic.h"
#include "nk_m7_fc.h"
#include "nk_nested_conv_s8_m7.h"
#include "nk_target.h"

bool nk_nested_fully_connected_s8_m7_applies(const nk_stream *s) {
  return s->kind == NK_KIND_FULLY_CONNECTED;
}

/** Bytes of the widened input, which dense levels and 1x4 blocks read. */
static int32_t wide_bytes(const nk_stream *s) {
  return s->in_channels % 4 == 0 ? s->in_channels * (int32_t)sizeof(int16_t) : 0;
}

int32_t nk_nested_fully_connected_s8_m7_get_buffer_size(const nk_stream *s) {
  return s->out_channels * (int32_t)sizeof(int32_t) + wide_bytes(s);
}

#if NK_USE_M7

static int32_t dot(const int8_t *x, const int8_t *w, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; ++i) {
    sum += x[i] * w[i];
  }
  return sum;
}

static void add_dense(const nk_stream *s, const int8_t *w, const int8_t *x, const int16_t *wide,
                      int32_t *sums) {
  const int32_t count = s->in_channels;
  int32_t o = 0;
  if (count % 4 == 0) {
    for (; o + 4 <= s->out_channels; o += 4, w += 4 * count) {
      nk_m7_fc_dense4(w, sums + o, wide, count);
    }
  }
  for (; o < s->out_channels; ++o, w += count) {
    sums[o] += dot(x, w, count);
  }
}

/** Any delta width and block size. */
static void add_records(const nk_stream *s, const nk_stream_level *level, const int8_t *x,
                        int32_t *sums) {
  const uint8_t *at = level->records;
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const int8_t *here = x;
    int32_t sum = 0;
    for (int32_t n = level->counts[o]; n > 0; --n) {
      int32_t delta = *at++;
      if (wide) {
        delta |= *at++ << 8;
      }
      here += delta * s->block_size;
      for (int32_t i = 0; i < s->block_size; ++i) {
        sum += here[i] * (int8_t)*at++;
      }
    }
    sums[o] += sum;
  }
}

static void add_level(const nk_stream *s, const nk_stream_level *level, const int8_t *x,
                      const int16_t *wide, int32_t *sums) {
  if (level->encoding == NK_ENCODING_DENSE) {
    add_dense(s, level->values, x, wide, sums);
  } else if (level->encoding == NK_ENCODING_DELTA8 && s->block_size == 4) {
    nk_m7_fc_block4(level->records, level->counts, sums, wide, s->out_channels);
  } else if (level->encoding == NK_ENCODING_DELTA8 && s->block_size == 1) {
    nk_m7_fc_single(level->records, level->counts, sums, x, s->out_channels);
  } else if (level->encoding != NK_ENCODING_EMPTY) {
    add_records(s, level, x, sums);
  }
}

/**
 * nk_requantize_once() with fewer instructions where the shift is at least 2 to the right and the
 * multiplier not negative: floor((p + half - (p < 0)) / 2^(31 + right)) with p = sum * multiplier.
 */
static void requantize(const nk_stream *s, const nk_stream_level *top, const int32_t *sums,
                       int8_t *output) {
  const nk_output_stage stage = {s->output_offset, s->activation_min, s->activation_max};
  const int32_t *multipliers = top->multiplier;
  const int8_t *shifts = top->shift;
  for (const int32_t *end = sums + s->out_channels; sums != end; ++sums) {
    const int32_t sum = *sums;
    const int32_t multiplier = *multipliers++;
    const int32_t right = -*shifts++;
    if (right >= 2 && multiplier >= 0) {
      const int64_t half =
          (int64_t)((1 << (right - 2)) + (sum >> 31)) << 32 | (uint32_t)(sum >> 31);
      const int32_t high = (int32_t)(((int64_t)sum * multiplier + half) >> 32);
      *output++ = (int8_t)nk_clamp((high >> (right - 1)) + stage.offset, stage.min, stage.max);
    } else {
      *output++ = nk_requantize_once(sum, multiplier, -right, &stage);
    }
  }
}

void nk_nested_fully_connected_s8_m7(const nk_stream *s, int32_t level, int32_t rows,
                                     const int8_t *input, int8_t *output, void *scratch) {
  int32_t *sums = scratch;
  int16_t *wide = (int16_t *)(sums + s->out_channels);
  const nk_stream_level *top = &s->level[level];
  for (; rows > 0; --rows, input += s->in_channels, output += s->out_channels) {
    if (wide_bytes(s) > 0) {
      nk_m7_fc_expand(input, wide, s->in_channels);
    }
    memcpy(sums, top->bias, (size_t)s->out_channels * sizeof(*sums));
    for (int32_t n = 0; n <= level; ++n) {
      add_level(s, &s->level[n], input, wide, sums);
    }
    requantize(s, top, sums, output);
  }
}

#endif  // NK_USE_M7
