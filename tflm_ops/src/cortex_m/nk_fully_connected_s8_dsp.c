/**
 * Fully connected layers for the Cortex-M7, dense and sparse.
 *
 * The kernel runs a chunk of output channels at a time: the accumulators start at the biases, every
 * level adds its weights, and four channels at once are requantised. This leaves little work per
 * channel and level, and needs no scratch memory.
 *
 * With one row of inputs, outputs can share only the widening of the inputs to int16, and two dense
 * channels at a time do so. In a sparse channel every weight has its own input, so a weight costs
 * the instructions of one record, listed at each loop.
 *
 * The inner loops are assembly, with plain C for other targets, because the order of instructions
 * counts: the core issues two instructions a cycle, SXTB16 and its like only as the first of a
 * pair, two multiplications never together, and a byte can be multiplied three cycles after its
 * load. The cycles beside a loop are for one pass in this model (benchmarks/cycle_model.md). The
 * model leaves out a frequent case: an unaligned word or half word takes a real core longer. Where
 * unaligned loads are not allowed (nk_target.h), plain C runs the loops that need such loads. Loops
 * over records load up to NK_STREAM_READ_AHEAD_BYTES beyond the last record.
 */
#include "../ref/nk_arithmetic.h"
#include "nk_fully_connected.h"
#include "nk_fully_connected_records.h"
#include "nk_simd.h"

/** Channels whose accumulators are kept at a time: a multiple of 4. */
#define CHUNK 32

/** The tables that turn the sums of a chunk into outputs, from the chunk's first channel on. */
typedef struct output_tables {
  const int32_t *multiplier;
  const int8_t *shift;
  nk_output_stage stage;
} output_tables;

/**
 * Requantises two sums in `y`: nk_multiply_with_single_rounding() plus the output's offset,
 * saturated to int8, for shifts of -17 .. -2. `k` has -1 - shift, 1 .. 16, in its two lowest bytes;
 * `twice` is 2 * offset + 1. With p = sum * multiplier, rounding p / 2^(32 + k) to nearest with
 * halves away from zero is
 *
 *     p >= 0: floor((p + h) / 2^(32 + k))                                    h = 2^(31 + k)
 *     p < 0: ceil((p - h) / 2^(32 + k)) = floor((p + h - 1) / 2^(32 + k))
 *
 * as ceil(a / n) = floor((a + n - 1) / n) and n = 2h. For either sign the result is floor((p + s +
 * h) / 2^(32 + k)) with s = p >> 63. To add the offset, add offset * 2^(32 + k) to the numerator.
 * With h this makes twice * 2^(k - 1) in units of 2^32, an integer, so only the upper word of p + s
 * matters. The upper word lies in -2^30 - 1 .. 2^30, and |twice| * 2^(k - 1) is below 2^23, so
 * there is no overflow.
 */
static inline void requantize_pair(int32_t *y, const int32_t *multiplier, uint32_t k,
                                   int32_t twice) {
#if NK_HAS_SIMD32
  // A shift by a register looks at its lowest byte alone.
  uint32_t less = k - 0x0101;
  int32_t low0 = y[0], high0 = multiplier[0], low1 = y[1], high1 = multiplier[1];
  int32_t half0, half1;
  __asm__(
      "smull %[l0], %[h0], %[l0], %[h0]\n\t"
      "lsl   %[half0], %[twice], %[less]\n\t"
      "smull %[l1], %[h1], %[l1], %[h1]\n\t"
      "lsr   %[less], %[less], #8\n\t"
      "lsl   %[half1], %[twice], %[less]\n\t"
      "adds  %[l0], %[l0], %[h0], asr #31\n\t"
      "adc   %[h0], %[h0], %[h0], asr #31\n\t"
      "adds  %[l1], %[l1], %[h1], asr #31\n\t"
      "add   %[h0], %[h0], %[half0]\n\t"
      "adc   %[h1], %[h1], %[h1], asr #31\n\t"
      "asr   %[h0], %[h0], %[k]\n\t"
      "lsr   %[k], %[k], #8\n\t"
      "add   %[h1], %[h1], %[half1]\n\t"
      "ssat  %[h0], #8, %[h0]\n\t"
      "asr   %[h1], %[h1], %[k]\n\t"
      "ssat  %[h1], #8, %[h1]"
      : [l0] "+&r"(low0), [h0] "+&r"(high0), [l1] "+&r"(low1), [h1] "+&r"(high1), [k] "+&r"(k),
        [less] "+&r"(less), [half0] "=&r"(half0), [half1] "=&r"(half1)
      : [twice] "r"(twice)
      : "cc");
  y[0] = high0;
  y[1] = high1;
#else
  for (int32_t i = 0; i < 2; ++i, k >>= 8) {
    const int32_t shift = k & 0xff;
    int64_t p = (int64_t)y[i] * multiplier[i];
    p += p >> 63;
    const int32_t half = nk_wrapping_shift_left(twice, shift - 1);
    y[i] = nk_saturate_to_8_bits(((int32_t)(p >> 32) + half) >> shift);
  }
#endif
}

/** Whether requantize_pair() takes four shifts, given as bytes k = -1 - shift. */
static inline bool shifts_are_usual(uint32_t k) {
  // A byte of 0 borrows from the next, but is 255 itself, so the answer is right.
  return ((k - 0x01010101u) & 0xf0f0f0f0u) == 0;
}

/** Requantises `count` sums. */
static NK_NOINLINE void requantize(const int32_t *sums, int32_t count, const output_tables *tables,
                                   int8_t *output) {
  const int32_t twice = 2 * tables->stage.offset + 1;
  const uint32_t low = 0x01010101u * (uint8_t)tables->stage.min;
  const uint32_t high = 0x01010101u * (uint8_t)tables->stage.max;
  const int32_t *multiplier = tables->multiplier;
  const int8_t *shift = tables->shift;
  while (count > 0) {
    const uint32_t k = count >= 4 ? ~nk_load_word(shift) : 0;
    if (shifts_are_usual(k)) {
      int32_t y[4] = {sums[0], sums[1], sums[2], sums[3]};
      requantize_pair(y, multiplier, k, twice);
      requantize_pair(y + 2, multiplier + 2, k >> 16, twice);
      const uint32_t packed = nk_pack_bytes(y[0], y[1], y[2], y[3]);
      nk_store_word(output, nk_min_bytes(nk_max_bytes(packed, low), high));
      sums += 4;
      multiplier += 4;
      shift += 4;
      output += 4;
      count -= 4;
    } else {
      *output++ = nk_requantize_once(*sums++, *multiplier++, *shift++, &tables->stage);
      --count;
    }
  }
}

/** The state after add_pair_of_channels(): the sums, and the begin of the rest of the channels. */
typedef struct channel_pair {
  const int8_t *x;
  const int8_t *w0;
  const int8_t *w1;
  int32_t sum0;
  int32_t sum1;
} channel_pair;

/**
 * Adds the products of `words` words of inputs with the weights of two channels; `offsets` has the
 * number to add to each input as two int16 lanes. Two words take 28 instructions in 15 cycles, for
 * 16 weights.
 */
static inline channel_pair add_pair_of_channels(channel_pair p, int32_t words, uint32_t offsets) {
#if NK_HAS_SIMD32
  int32_t pairs = words >> 1;
  if (pairs > 0 && nk_loads_words_at(p.x) && nk_loads_words_at(p.w0) && nk_loads_words_at(p.w1)) {
    uint32_t even, odd, u0, u1, t;
    __asm__ volatile(
        "1:\n\t"
        "ldr     %[u0], [%[w0]], #4\n\t"
        "subs    %[n], %[n], #1\n\t"
        "sxtb16  %[t], %[u0]\n\t"
        "ldr     %[odd], [%[x]], #4\n\t"
        "sxtb16  %[u0], %[u0], ror #8\n\t"
        "ldr     %[u1], [%[w1]], #4\n\t"
        "sxtab16 %[even], %[off], %[odd]\n\t"
        "sxtab16 %[odd], %[off], %[odd], ror #8\n\t"
        "smlad   %[s0], %[t], %[even], %[s0]\n\t"
        "sxtb16  %[t], %[u1]\n\t"
        "smlad   %[s0], %[u0], %[odd], %[s0]\n\t"
        "sxtb16  %[u1], %[u1], ror #8\n\t"
        "smlad   %[s1], %[t], %[even], %[s1]\n\t"
        "smlad   %[s1], %[u1], %[odd], %[s1]\n\t"
        "ldr     %[u0], [%[w0]], #4\n\t"
        "sxtb16  %[t], %[u0]\n\t"
        "ldr     %[odd], [%[x]], #4\n\t"
        "sxtb16  %[u0], %[u0], ror #8\n\t"
        "ldr     %[u1], [%[w1]], #4\n\t"
        "sxtab16 %[even], %[off], %[odd]\n\t"
        "sxtab16 %[odd], %[off], %[odd], ror #8\n\t"
        "smlad   %[s0], %[t], %[even], %[s0]\n\t"
        "sxtb16  %[t], %[u1]\n\t"
        "smlad   %[s0], %[u0], %[odd], %[s0]\n\t"
        "sxtb16  %[u1], %[u1], ror #8\n\t"
        "smlad   %[s1], %[t], %[even], %[s1]\n\t"
        "smlad   %[s1], %[u1], %[odd], %[s1]\n\t"
        "bne     1b"
        : [x] "+r"(p.x), [w0] "+r"(p.w0), [w1] "+r"(p.w1), [s0] "+r"(p.sum0), [s1] "+r"(p.sum1),
          [n] "+r"(pairs), [even] "=&r"(even), [odd] "=&r"(odd), [u0] "=&r"(u0), [u1] "=&r"(u1),
          [t] "=&r"(t)
        : [off] "r"(offsets)
        : "cc", "memory");
    words &= 1;
  }
#endif
  for (; words > 0; --words, p.x += 4, p.w0 += 4, p.w1 += 4) {
    const uint32_t x = nk_load_word(p.x);
    const uint32_t w0 = nk_load_word(p.w0);
    const uint32_t w1 = nk_load_word(p.w1);
    const uint32_t even = nk_sxtab16(offsets, x);
    const uint32_t odd = nk_sxtab16_odd(offsets, x);
    p.sum0 = nk_smlad(nk_sxtb16(w0), even, p.sum0);
    p.sum0 = nk_smlad(nk_sxtb16_odd(w0), odd, p.sum0);
    p.sum1 = nk_smlad(nk_sxtb16(w1), even, p.sum1);
    p.sum1 = nk_smlad(nk_sxtb16_odd(w1), odd, p.sum1);
  }
  return p;
}

/** sums[i] = from[i] + sum of weights[i][j] * (x[j] + offset) for `count` channels of `length`
 * weights.
 */
static NK_NOINLINE void add_dense(const int8_t *weights, int32_t count, int32_t length,
                                  int32_t offset, const int8_t *x, const int32_t *from,
                                  int32_t *sums) {
  const uint32_t offsets = (uint32_t)(uint16_t)offset | (uint32_t)offset << 16;
  for (; count > 0; count -= 2) {
    // A last channel without a partner is computed twice, as its own partner.
    const int32_t second = count > 1 ? 1 : 0;
    channel_pair p = {x, weights, weights + second * length, from[0], from[second]};
    p = add_pair_of_channels(p, length >> 2, offsets);
    for (const int8_t *end = x + length; p.x != end; ++p.x) {
      p.sum0 = nk_wrapping_add(p.sum0, (*p.x + offset) * *p.w0++);
      p.sum1 = nk_wrapping_add(p.sum1, (*p.x + offset) * *p.w1++);
    }
    sums[0] = p.sum0;
    sums[second] = p.sum1;
    weights += 2 * length;
    from += 2;
    sums += 2;
  }
}

/**
 * sums[i] = from[i] + the products that a sparse level adds to channel `channel` + i, from `record`
 * on. Returns the first byte after the records.
 */
typedef const uint8_t *add_function(const nk_stream_level *level, int32_t channel, int32_t channels,
                                    const int8_t *x, const uint8_t *record, const int32_t *from,
                                    int32_t *sums);

// One for each kind of record that is read often; counts are bytes.
#define DEFINE_ADD(name, add_records)                                                              \
  static NK_NOINLINE const uint8_t *name(const nk_stream_level *level, int32_t channel,            \
                                         int32_t channels, const int8_t *x, const uint8_t *record, \
                                         const int32_t *from, int32_t *sums) {                     \
    const uint8_t *counts = level->counts + channel;                                               \
    for (int32_t i = 0; i < channels; ++i) {                                                       \
      record_sum r = {record, from[i]};                                                            \
      if (counts[i] > 0) {                                                                         \
        r = add_records(record, counts[i], x, r.sum);                                              \
      }                                                                                            \
      record = r.record;                                                                           \
      sums[i] = r.sum;                                                                             \
    }                                                                                              \
    return record;                                                                                 \
  }
DEFINE_ADD(add_blocks_of_1, add_1)
DEFINE_ADD(add_blocks_of_2, add_2)
DEFINE_ADD(add_blocks_of_4, add_4)

/**
 * For any level with records. If the counts do not fit into a byte, the channels are so long that
 * the work once a channel does not matter.
 */
static NK_NOINLINE const uint8_t *add_any(const nk_stream_level *level, int32_t channel,
                                          int32_t channels, const int8_t *x, const uint8_t *record,
                                          const int32_t *from, int32_t *sums) {
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  const int32_t block_size = level->record_bytes - (wide ? 2 : 1);
  for (int32_t i = 0; i < channels; ++i) {
    const int32_t count = nk_stream_count(level, channel + i);
    record_sum r = {record, from[i]};
    if (wide) {
      r = add_wide(record, count, block_size, x, r.sum);
    } else if (count > 0) {
      r = block_size == 1   ? add_1(record, count, x, r.sum)
          : block_size == 2 ? add_2(record, count, x, r.sum)
                            : add_4(record, count, x, r.sum);
    }
    record = r.record;
    sums[i] = r.sum;
  }
  return record;
}

static add_function *choose_add(const nk_stream_level *level, int32_t block_size) {
  if (level->encoding == NK_ENCODING_DELTA16 || level->count_bits != 8) {
    return add_any;
  }
  return block_size == 1 ? add_blocks_of_1 : block_size == 2 ? add_blocks_of_2 : add_blocks_of_4;
}

/**
 * sums = from + the products that one level adds to `channels` channels from `channel` on; for a
 * level that is not empty. Returns the level's next record.
 */
static const uint8_t *add_level(const nk_stream *stream, const nk_stream_level *level,
                                const uint8_t *record, int32_t channel, int32_t channels,
                                const int8_t *x, const int32_t *from, int32_t *sums) {
  const int32_t length = stream->channel_weights;
  if (level->encoding == NK_ENCODING_DENSE) {
    add_dense(level->values + channel * length, channels, length, 0, x, from, sums);
    return record;
  }
  add_function *add = choose_add(level, stream->block_size);
  return add(level, channel, channels, x, record, from, sums);
}

void nk_nested_fully_connected_s8_dsp(const nk_stream *stream, int32_t level, int32_t rows,
                                      const int8_t *input, int8_t *output) {
  const nk_stream_level *top = &stream->level[level];
  for (; rows > 0; --rows, input += stream->in_channels, output += stream->output_channels) {
    const uint8_t *record[NK_STREAM_MAX_LEVELS];
    for (int32_t l = 0; l <= level; ++l) {
      record[l] = stream->level[l].records;
    }
    for (int32_t o = 0; o < stream->out_channels; o += CHUNK) {
      const int32_t channels = nk_min(stream->out_channels - o, CHUNK);
      const int32_t *from = top->bias + o;
      int32_t sums[CHUNK];
      for (int32_t l = 0; l <= level; ++l) {
        if (stream->level[l].encoding != NK_ENCODING_EMPTY) {
          record[l] =
              add_level(stream, &stream->level[l], record[l], o, channels, input, from, sums);
          from = sums;
        }
      }
      const output_tables tables = {
          top->multiplier + o,
          top->shift + o,
          {stream->output_offset, stream->activation_min, stream->activation_max}};
      requantize(from, channels, &tables, output + o);
    }
  }
}

void nk_fully_connected_s8_dsp(const nk_fully_connected_params *params, int32_t rows,
                               const int8_t *input, int8_t *output) {
  const int32_t in_features = params->filter_dims.c;
  const int32_t out_features = params->filter_dims.n;
  for (; rows > 0; --rows, input += in_features) {
    for (int32_t o = 0; o < out_features; o += CHUNK) {
      const int32_t channels = nk_min(out_features - o, CHUNK);
      int32_t sums[CHUNK];
      int8_t shift[CHUNK];
      for (int32_t i = 0; i < channels; ++i) {
        shift[i] = (int8_t)params->shift[o + i];
      }
      add_dense(params->filter + o * in_features, channels, in_features, params->input_offset,
                input, params->bias + o, sums);
      const output_tables tables = {
          params->multiplier + o,
          shift,
          {params->output_offset, params->activation_min, params->activation_max}};
      requantize(sums, channels, &tables, output);
      output += channels;
    }
  }
}
