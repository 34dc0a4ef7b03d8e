#include "../ref/nk_arithmetic.h"
#include "nk_stream_check.h"

/** Tables with a bias that may not fit into 32 bits. */
typedef struct wide_tables {
  int64_t bias;
  int32_t multiplier;
  int32_t shift;
} wide_tables;

static wide_tables unpack_tables(const uint8_t *packed_tables, int32_t channel) {
  const uint8_t *block = packed_tables - NK_LEVEL_HEADER_BYTES;
  const int32_t sign_bits = block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SIGNED;
  const int32_t multiplier_bits = block[NK_LEVEL_OFFSET_MULTIPLIER_BITS];
  const int32_t shift_bits = block[NK_LEVEL_OFFSET_SHIFT_BITS];
  const int32_t bias_bits = block[NK_LEVEL_OFFSET_BIAS_BITS];
  const uint32_t bit = (uint32_t)channel * (uint32_t)nk_table_bits(block);
  // At least NK_STREAM_READ_AHEAD_BYTES follow the last field.
  const uint8_t *at = packed_tables + bit / 8;
  uint64_t fields = (nk_load_u32(at) | (uint64_t)at[4] << 32) >> bit % 8;
  const bool negative = sign_bits != 0 && (fields & 1) != 0;
  fields >>= sign_bits;
  const uint32_t mantissa = (uint32_t)fields & ((1u << multiplier_bits) - 1);
  fields >>= multiplier_bits;
  const int32_t shift = (int8_t)block[NK_LEVEL_OFFSET_SHIFT_BASE] +
                        (int32_t)((uint32_t)fields & ((1u << shift_bits) - 1));
  fields >>= shift_bits;
  const int32_t multiplier = (int32_t)(1u << 30 | mantissa << (30 - multiplier_bits));
  // The field modulo 2^bias_bits, from -2^(bias_bits - 1) on.
  const int64_t half = (int64_t)1 << bias_bits >> 1;
  const int64_t field = (int64_t)(fields & (((uint64_t)1 << bias_bits) - 1));
  const int64_t bias = field >= half && bias_bits > 0 ? field - 2 * half : field;
  const int32_t left = nk_max(0, -shift - block[NK_LEVEL_OFFSET_BIAS_FRACTION]);
  return (wide_tables){bias * ((int64_t)1 << left), negative ? -multiplier : multiplier, shift};
}

static bool read_tables(const nk_stream_level *level, int32_t channel, nk_channel_tables *tables) {
  const wide_tables wide = unpack_tables(level->packed_tables, channel);
  *tables = (nk_channel_tables){(int32_t)wide.bias, wide.multiplier, wide.shift};
  return wide.bias >= INT32_MIN && wide.bias <= INT32_MAX;
}

static bool tables_end_in_zeros(const nk_stream_level *level, uint64_t channels,
                                const uint8_t *end) {
  return nk_stream_ends_in_zeros(level->packed_tables,
                                 channels * (uint64_t)nk_table_bits(level->block), end);
}

/** Whether the half byte behind the code lengths and the bytes up to the codes are zero. */
static bool lengths_end_in_zeros(const nk_stream_level *level) {
  const uint8_t *block = level->block;
  const int32_t count = nk_code_gaps(block) + nk_code_magnitudes(block);
  return nk_stream_ends_in_zeros(nk_code_lengths(level), 4 * (uint64_t)count, level->codes);
}

static bool codes_end_in_zeros(const nk_stream_level *level, uint64_t count_bits,
                               const uint8_t *block_end) {
  return nk_stream_ends_in_zeros(level->counts, count_bits, nk_code_lengths(level) - 4) &&
         lengths_end_in_zeros(level) &&
         nk_stream_ends_in_zeros(level->codes, 32 * (uint64_t)nk_code_words(level), block_end);
}

/** Where the walk through the codes of a level stands. */
typedef struct cursor {
  /** The first bits behind the last entry. */
  uint32_t gap_bit;
  uint32_t value_bit;
  nk_code_counts gaps;
  nk_code_counts values;
} cursor;

typedef struct checker {
  nk_coded_check base;
  cursor *cursors;
} checker;

/** The cursor of a level. */
static cursor *cursor_of(const nk_coded_check *check, const nk_stream *stream,
                         const nk_stream_level *level) {
  return &((const checker *)(const void *)check)->cursors[level - stream->level];
}

static bool open_codes(const nk_coded_check *check, const nk_stream *stream) {
  for (int32_t l = 0; l < stream->levels; ++l) {
    const nk_stream_level *level = &stream->level[l];
    cursor *at = cursor_of(check, stream, level);
    if (level->codes != NULL &&
        (nk_code_gap_words(level) > nk_code_words(level) || !nk_code_count_gaps(level, &at->gaps) ||
         !nk_code_count_values(level, &at->values))) {
      return false;
    }
  }
  return true;
}

/** The codes of a level: of gaps, then of values. */
typedef struct sequences {
  const uint8_t *gaps;
  const uint8_t *values;
  uint32_t gap_words;
  uint32_t value_words;
} sequences;

static sequences sequences_of(const nk_stream_level *level) {
  const uint32_t gap_words = nk_code_gap_words(level);
  return (sequences){level->codes, level->codes + 4 * (size_t)gap_words, gap_words,
                     nk_code_words(level) - gap_words};
}

/** The next 32 bits of codes of `words` words; zeros follow the last word. */
static uint32_t window_at(const uint8_t *codes, uint32_t words, uint32_t bit) {
  const uint32_t word = bit / 32;
  const uint32_t skip = bit % 32;
  const uint32_t first = word < words ? nk_load_u32(codes + 4 * (size_t)word) : 0;
  const uint32_t second = word + 1 < words ? nk_load_u32(codes + 4 * (size_t)(word + 1)) : 0;
  return skip == 0 ? first : first << skip | second >> (32 - skip);
}

static int32_t decode_entry(const nk_coded_check *check, const nk_stream *stream,
                            const nk_stream_level *level, int8_t *weights) {
  cursor *at = cursor_of(check, stream, level);
  const sequences c = sequences_of(level);
  const uint32_t gap =
      nk_code_find_gap(level, &at->gaps, window_at(c.gaps, c.gap_words, at->gap_bit));
  at->gap_bit += gap & 255;
  for (int32_t i = 0; i < stream->block_size; ++i) {
    const uint32_t value =
        nk_code_find_value(level, &at->values, window_at(c.values, c.value_words, at->value_bit));
    weights[i] = (int8_t)(value >> 24);
    at->value_bit += value & 255;
  }
  return at->gap_bit > 32 * c.gap_words || at->value_bit > 32 * c.value_words
             ? -1
             : (int32_t)(gap >> 16);
}

static bool codes_end(const nk_coded_check *check, const nk_stream *stream,
                      const nk_stream_level *level) {
  const cursor *at = cursor_of(check, stream, level);
  const sequences c = sequences_of(level);
  return c.gap_words == (at->gap_bit + 31) / 32 && c.value_words == (at->value_bit + 31) / 32 &&
         window_at(c.gaps, c.gap_words, at->gap_bit) == 0 &&
         window_at(c.values, c.value_words, at->value_bit) == 0;
}

nk_status nk_stream_validate(const nk_stream *stream) {
  if (stream == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  cursor cursors[NK_STREAM_MAX_LEVELS] = {{0}};
  const checker check = {
      {tables_end_in_zeros, codes_end_in_zeros, read_tables, open_codes, decode_entry, codes_end},
      cursors};
  return nk_stream_check(stream, &check.base);
}
