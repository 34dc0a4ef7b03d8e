/**
 * Reads packed tables and CODED levels (docs/nested_format.md). A code is the one of gap and value
 * that the bits begin with; the highest bit of a word comes first.
 */
#ifndef NK_CODE_H_
#define NK_CODE_H_

#include <stdint.h>

#include "../../include/nk_stream.h"
#include "nk_bytes.h"

/** Entries of a table of values: one for each sequence of NK_STREAM_MAX_VALUE_BITS bits. */
#define NK_VALUE_TABLE_ENTRIES (1 << NK_STREAM_MAX_VALUE_BITS)

/** Bits of a channel in packed tables; `block` is the level block that holds the tables. */
static inline int32_t nk_table_bits(const uint8_t *block) {
  return (block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SIGNED) +
         block[NK_LEVEL_OFFSET_MULTIPLIER_BITS] + block[NK_LEVEL_OFFSET_SHIFT_BITS] +
         block[NK_LEVEL_OFFSET_BIAS_BITS];
}

/** Whether the bias of a channel fits into 32 bits where the tables are packed. */
bool nk_packed_bias_fits(const nk_stream_level *level, int32_t channel);

/** Bytes of the code lengths of a coded block. */
static inline uint32_t nk_length_bytes(const uint8_t *block) {
  return (block[NK_LEVEL_OFFSET_LAST_MAGNITUDE] - block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] + 2u) / 2;
}

/** The code lengths of a coded level, which end where its codes begin. */
static inline const uint8_t *nk_code_lengths(const nk_stream_level *level) {
  return level->codes - (nk_length_bytes(level->block) + 3) / 4 * 4;
}

/** Length of the codes of the magnitude `first_magnitude` + index; 0 without a code. */
static inline int32_t nk_code_length(const uint8_t *lengths, int32_t index) {
  return lengths[index / 2] >> index % 2 * 4 & 15;
}

/** The length of a code, and its value: bytes in the order of the fast loop in nk_code_unpack(). */
typedef struct nk_coded_value {
  uint8_t bits;
  int8_t value;
} nk_coded_value;

/** Fills a table, indexed by the next NK_STREAM_MAX_VALUE_BITS bits. */
void nk_make_value_table(const nk_stream_level *level, nk_coded_value *table);

/** Magnitudes by the length of their codes, for those who have no room for a table. */
typedef struct nk_magnitude_counts {
  uint8_t of_bits[NK_STREAM_MAX_VALUE_BITS + 1];
} nk_magnitude_counts;

/** Counts the magnitudes of a coded level; false where its code is not complete. */
bool nk_count_magnitudes(const nk_stream_level *level, nk_magnitude_counts *counts);

/** The value that the highest bits of `window` begin with. */
nk_coded_value nk_find_value(const nk_stream_level *level, const nk_magnitude_counts *counts,
                             uint32_t window);

/** The 32 bits from `bit` on; zeros follow the last word. */
static inline uint32_t nk_code_window(const uint8_t *codes, uint32_t words, uint32_t bit) {
  const uint32_t word = bit / 32;
  const uint32_t skip = bit % 32;
  const uint32_t first = word < words ? nk_load_u32(codes + 4 * (size_t)word) : 0;
  const uint32_t second = word + 1 < words ? nk_load_u32(codes + 4 * (size_t)(word + 1)) : 0;
  return skip == 0 ? first : first << skip | second >> (32 - skip);
}

/** A gap, and the length of its code; 0 bits for a code that is too long. */
typedef struct nk_coded_gap {
  int32_t gap;
  int32_t bits;
} nk_coded_gap;

static inline nk_coded_gap nk_find_gap(uint32_t window, int32_t rice_bits) {
  int32_t quotient = 0;
  while (quotient <= NK_STREAM_MAX_GAP_QUOTIENT && (window & 0x80000000u) == 0) {
    window <<= 1;
    ++quotient;
  }
  if (quotient > NK_STREAM_MAX_GAP_QUOTIENT) {
    return (nk_coded_gap){0, 0};
  }
  // Without the one that ends the quotient; the shift by 1 more keeps a shift of 32 out.
  const uint32_t low = (window & 0x7fffffffu) >> (31 - rice_bits);
  return (nk_coded_gap){(quotient << rice_bits) + (int32_t)low, quotient + 1 + rice_bits};
}

/** Unpacks the entries of a coded level one after the other. */
typedef struct nk_code_reader {
  const uint8_t *codes;
  const nk_coded_value *table;
  uint32_t words;
  /** The first bit of the next entry. */
  uint32_t bit;
  int32_t rice_bits;
  int32_t block_size;
} nk_code_reader;

/** Bytes of the tables of values of the coded levels up to `level`. */
static inline int32_t nk_value_table_bytes(const nk_stream *stream, int32_t level) {
  int32_t coded = 0;
  for (int32_t n = 0; n <= level; ++n) {
    coded += stream->level[n].codes != NULL;
  }
  return coded * NK_VALUE_TABLE_ENTRIES * (int32_t)sizeof(nk_coded_value);
}

/** Whether kernels can read the levels up to `level` and the tables of `level` in their places. */
static inline bool nk_stream_is_in_place(const nk_stream *stream, int32_t level) {
  return nk_value_table_bytes(stream, level) == 0 && stream->level[level].packed_tables == NULL;
}

/** Starts with the first entry of a level; `table` is from nk_make_value_table(). */
static inline nk_code_reader nk_code_open(const nk_stream *stream, const nk_stream_level *level,
                                          const nk_coded_value *table) {
  return (nk_code_reader){.codes = level->codes,
                          .table = table,
                          .words = nk_load_u32(level->block + NK_LEVEL_OFFSET_CODE_WORDS),
                          .rice_bits = level->block[NK_LEVEL_OFFSET_RICE_BITS],
                          .block_size = stream->block_size};
}

/**
 * Unpacks the next `count` entries to records of a DELTA8 level.
 *
 * - first: whether they are the first of a channel.
 * - records: room for `count` records of 1 + block_size bytes.
 *
 * Returns the sum of their weights.
 */
int32_t nk_code_unpack(nk_code_reader *reader, int32_t count, bool first, uint8_t *records);

#endif  // NK_CODE_H_
