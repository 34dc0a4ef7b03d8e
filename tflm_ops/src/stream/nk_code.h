/**
 * Reads packed tables and CODED levels (docs/nested_format.md). Gaps and values have codes of at
 * most NK_STREAM_MAX_SYMBOL_BITS bits, in words of their own; the highest bit of a word comes
 * first.
 */
#ifndef NK_CODE_H_
#define NK_CODE_H_

#include <stdint.h>

#include "../../include/nk_stream.h"
#include "nk_bytes.h"

/** Entries of a table of symbols: one for each sequence of NK_STREAM_MAX_SYMBOL_BITS bits. */
#define NK_CODE_ENTRIES (1 << NK_STREAM_MAX_SYMBOL_BITS)

/**
 * The symbols that the next bits begin with. An entry has the length of the code in its lowest
 * byte, a delta (of a later entry of a channel) in byte 2 and a value in byte 3. So the sum of two
 * entries has a record in its upper half.
 */
typedef struct nk_code_tables {
  uint32_t gaps[NK_CODE_ENTRIES];
  uint32_t values[NK_CODE_ENTRIES];
} nk_code_tables;

/** Bits of a channel in packed tables; `block` is the level block that holds the tables. */
static inline int32_t nk_table_bits(const uint8_t *block) {
  return (block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SIGNED) +
         block[NK_LEVEL_OFFSET_MULTIPLIER_BITS] + block[NK_LEVEL_OFFSET_SHIFT_BITS] +
         block[NK_LEVEL_OFFSET_BIAS_BITS];
}

/** Bias, multiplier and shift of an output channel at a level. */
typedef struct nk_channel_tables {
  /** Not folded where the tables are packed. */
  int32_t bias;
  int32_t multiplier;
  int32_t shift;
} nk_channel_tables;

/** Packed tables whose widths are read once. */
typedef struct nk_packed_tables {
  const uint8_t *fields;
  uint32_t channel_bits;
  uint32_t sign_bits;
  uint32_t multiplier_bits;
  uint32_t shift_bits;
  uint32_t bias_bits;
  int32_t shift_base;
  int32_t bias_fraction;
} nk_packed_tables;

static inline nk_packed_tables nk_packed_tables_open(const nk_stream_level *level) {
  const uint8_t *block = level->packed_tables - NK_LEVEL_HEADER_BYTES;
  return (nk_packed_tables){
      .fields = level->packed_tables,
      .channel_bits = (uint32_t)nk_table_bits(block),
      .sign_bits = block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SIGNED,
      .multiplier_bits = block[NK_LEVEL_OFFSET_MULTIPLIER_BITS],
      .shift_bits = block[NK_LEVEL_OFFSET_SHIFT_BITS],
      .bias_bits = block[NK_LEVEL_OFFSET_BIAS_BITS],
      .shift_base = (int8_t)block[NK_LEVEL_OFFSET_SHIFT_BASE],
      .bias_fraction = block[NK_LEVEL_OFFSET_BIAS_FRACTION],
  };
}

/** The tables of a channel of a validated stream; the bias is not folded. */
static inline nk_channel_tables nk_packed_tables_at(const nk_packed_tables *t, int32_t channel) {
  const uint32_t bit = (uint32_t)channel * t->channel_bits;
  // At least NK_STREAM_READ_AHEAD_BYTES follow the last field.
  const uint8_t *at = t->fields + bit / 8;
  uint32_t fields = nk_load_u32(at) >> bit % 8 | (uint32_t)at[4] << 1 << (31 - bit % 8);
  const bool negative = (fields & t->sign_bits) != 0;
  fields >>= t->sign_bits;
  const uint32_t mantissa = fields & ((1u << t->multiplier_bits) - 1);
  fields >>= t->multiplier_bits;
  const int32_t shift = t->shift_base + (int32_t)(fields & ((1u << t->shift_bits) - 1));
  fields >>= t->shift_bits;
  // The field to the top and back, with its sign.
  const uint32_t unused = 32 - t->bias_bits;
  const uint32_t bias = t->bias_bits == 0 ? 0 : (uint32_t)((int32_t)(fields << unused) >> unused);
  const int32_t left = -shift - t->bias_fraction;
  const int32_t multiplier = (int32_t)(1u << 30 | mantissa << (30 - t->multiplier_bits));
  return (nk_channel_tables){(int32_t)(left > 0 ? bias << left : bias),
                             negative ? -multiplier : multiplier, shift};
}

/** Gaps with a code length, and magnitudes with one, of a coded block. */
static inline int32_t nk_code_gaps(const uint8_t *block) {
  return block[NK_LEVEL_OFFSET_LAST_GAP] + 1;
}

static inline int32_t nk_code_magnitudes(const uint8_t *block) {
  return block[NK_LEVEL_OFFSET_LAST_MAGNITUDE] - block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] + 1;
}

/** Bytes of the code lengths of a coded block. */
static inline uint32_t nk_length_bytes(const uint8_t *block) {
  return (uint32_t)(nk_code_gaps(block) + nk_code_magnitudes(block) + 1) / 2;
}

/** The code lengths of a coded level, which end where its codes begin; a word is before them. */
static inline const uint8_t *nk_code_lengths(const nk_stream_level *level) {
  return level->codes - (nk_length_bytes(level->block) + 3) / 4 * 4;
}

/** Words of the codes of gaps. */
static inline uint32_t nk_code_gap_words(const nk_stream_level *level) {
  return nk_load_u32(nk_code_lengths(level) - 4);
}

/** Words of all codes. */
static inline uint32_t nk_code_words(const nk_stream_level *level) {
  return nk_load_u32(level->block + NK_LEVEL_OFFSET_CODE_WORDS);
}

/** Symbols by the length of their codes, for those who have no room for tables. */
typedef struct nk_code_counts {
  uint16_t of_bits[NK_STREAM_MAX_SYMBOL_BITS + 1];
} nk_code_counts;

/** Counts the gaps, or the values, of a coded level; false where their code is not complete. */
bool nk_code_count_gaps(const nk_stream_level *level, nk_code_counts *counts);
bool nk_code_count_values(const nk_stream_level *level, nk_code_counts *counts);

/** The entry of a table of symbols for the code that `window` begins with. */
uint32_t nk_code_find_gap(const nk_stream_level *level, const nk_code_counts *counts,
                          uint32_t window);
uint32_t nk_code_find_value(const nk_stream_level *level, const nk_code_counts *counts,
                            uint32_t window);

/** Fills the tables of a coded level, whose codes are complete. */
void nk_code_make_tables(const nk_stream_level *level, nk_code_tables *tables);

/** Bytes of the tables of the coded levels up to `level`. */
static inline int32_t nk_code_table_bytes(const nk_stream *stream, int32_t level) {
  int32_t coded = 0;
  for (int32_t n = 0; n <= level; ++n) {
    coded += stream->level[n].codes != NULL;
  }
  return coded * (int32_t)sizeof(nk_code_tables);
}

/** Unpacks the entries of a coded level one after the other. */
typedef struct nk_code_reader {
  const uint8_t *gaps;
  const uint8_t *values;
  const nk_code_tables *tables;
  /** The first bits of the next entry. */
  uint32_t gap_bit;
  uint32_t value_bit;
} nk_code_reader;

/** Starts with the first entry of a level; `tables` is from nk_code_make_tables(). */
static inline nk_code_reader nk_code_open(const nk_stream_level *level,
                                          const nk_code_tables *tables) {
  return (nk_code_reader){level->codes, level->codes + 4 * (size_t)nk_code_gap_words(level), tables,
                          0, 0};
}

/**
 * Unpacks the next `count` entries to records of a DELTA8 level, of 1 + block_size bytes each. The
 * first delta of each channel is 1 too large.
 */
void nk_code_unpack(nk_code_reader *reader, int32_t block_size, int32_t count, uint8_t *records);

#endif  // NK_CODE_H_
