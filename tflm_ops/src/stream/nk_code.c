/** Reads the codes of CODED levels. */
#include "nk_code.h"

#include "../cortex_m/nk_target.h"

/** A part of the code lengths: those of gaps, or those of magnitudes. */
typedef struct lengths {
  const uint8_t *packed;
  /** The first length, and how many. */
  int32_t first;
  int32_t count;
} lengths;

static lengths gap_lengths(const nk_stream_level *level) {
  return (lengths){nk_code_lengths(level), 0, nk_code_gaps(level->block)};
}

static lengths magnitude_lengths(const nk_stream_level *level) {
  return (lengths){nk_code_lengths(level), nk_code_gaps(level->block),
                   nk_code_magnitudes(level->block)};
}

/** Length `index` of a part; 0 without a code. */
static int32_t length_at(const lengths *l, int32_t index) {
  const int32_t at = l->first + index;
  return l->packed[at / 2] >> at % 2 * 4 & 15;
}

/** Counts a part whose every length stands for `signs` codes. */
static bool count_symbols(lengths l, int32_t signs, nk_code_counts *counts) {
  int32_t share = 0;
  *counts = (nk_code_counts){{0}};
  for (int32_t i = 0; i < l.count; ++i) {
    const int32_t bits = length_at(&l, i);
    if (bits > NK_STREAM_MAX_SYMBOL_BITS) {
      return false;
    }
    if (bits > 0) {
      counts->of_bits[bits] = (uint16_t)(counts->of_bits[bits] + signs);
      share += signs * (NK_CODE_ENTRIES >> bits);
    }
  }
  return share == NK_CODE_ENTRIES;
}

bool nk_code_count_gaps(const nk_stream_level *level, nk_code_counts *counts) {
  return count_symbols(gap_lengths(level), 1, counts);
}

bool nk_code_count_values(const nk_stream_level *level, nk_code_counts *counts) {
  return count_symbols(magnitude_lengths(level), 2, counts);
}

static uint32_t gap_entry(int32_t gap, int32_t bits) {
  return (uint32_t)(gap + 1) << 16 | (uint32_t)bits;
}

/** 128 is -128 with either sign. */
static uint32_t value_entry(int32_t magnitude, bool negative, int32_t bits) {
  return (uint32_t)(negative ? -magnitude : magnitude) << 24 | (uint32_t)bits;
}

/** Which of the codes of a length a window begins with. */
typedef struct place {
  int32_t bits;
  int32_t index;
} place;

static place find_place(const nk_code_counts *counts, uint32_t window) {
  int32_t at = (int32_t)(window >> (32 - NK_STREAM_MAX_SYMBOL_BITS));
  int32_t bits = 1;
  // A complete code has a code for every sequence of bits.
  while (at >= counts->of_bits[bits] * (NK_CODE_ENTRIES >> bits)) {
    at -= counts->of_bits[bits] * (NK_CODE_ENTRIES >> bits);
    ++bits;
  }
  return (place){bits, at >> (NK_STREAM_MAX_SYMBOL_BITS - bits)};
}

/** The place in a part of number `index` of the lengths `bits`. */
static int32_t symbol_at(lengths l, int32_t bits, int32_t index) {
  int32_t i = 0;
  while (length_at(&l, i) != bits || index-- > 0) {
    ++i;
  }
  return i;
}

uint32_t nk_code_find_gap(const nk_stream_level *level, const nk_code_counts *counts,
                          uint32_t window) {
  const place at = find_place(counts, window);
  return gap_entry(symbol_at(gap_lengths(level), at.bits, at.index), at.bits);
}

uint32_t nk_code_find_value(const nk_stream_level *level, const nk_code_counts *counts,
                            uint32_t window) {
  const place at = find_place(counts, window);
  const int32_t magnitude = level->block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] +
                            symbol_at(magnitude_lengths(level), at.bits, at.index / 2);
  return value_entry(magnitude, at.index % 2 != 0, at.bits);
}

/** The first entries of the codes of each length in a table. */
typedef struct places {
  uint32_t *of_bits[NK_STREAM_MAX_SYMBOL_BITS + 1];
} places;

static places places_of(const nk_code_counts *counts, uint32_t *table) {
  places p;
  p.of_bits[0] = table;
  for (int32_t bits = 1; bits <= NK_STREAM_MAX_SYMBOL_BITS; ++bits) {
    p.of_bits[bits] = table;
    table += counts->of_bits[bits] * (NK_CODE_ENTRIES >> bits);
  }
  return p;
}

/** Fills the entries of the next code of its length. */
static void fill(places *p, uint32_t entry, int32_t bits) {
  uint32_t *at = p->of_bits[bits];
  uint32_t *const end = at + (NK_CODE_ENTRIES >> bits);
  while (at < end) {
    *at++ = entry;
  }
  p->of_bits[bits] = at;
}

void nk_code_make_tables(const nk_stream_level *level, nk_code_tables *tables) {
  nk_code_counts counts;
  const lengths of_gaps = gap_lengths(level);
  nk_code_count_gaps(level, &counts);
  places p = places_of(&counts, tables->gaps);
  for (int32_t i = 0; i < of_gaps.count; ++i) {
    const int32_t bits = length_at(&of_gaps, i);
    if (bits > 0) {
      fill(&p, gap_entry(i, bits), bits);
    }
  }
  const lengths of_magnitudes = magnitude_lengths(level);
  const int32_t first = level->block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE];
  nk_code_count_values(level, &counts);
  p = places_of(&counts, tables->values);
  for (int32_t i = 0; i < of_magnitudes.count; ++i) {
    const int32_t bits = length_at(&of_magnitudes, i);
    if (bits > 0) {
      fill(&p, value_entry(first + i, false, bits), bits);
      fill(&p, value_entry(first + i, true, bits), bits);
    }
  }
}

/** The 32 bits from `bit` on; one word behind the codes may be read. */
static uint32_t window_at(const uint8_t *codes, uint32_t bit) {
  const uint8_t *word = codes + 4 * (size_t)(bit / 32);
  const uint32_t skip = bit % 32;
  const uint32_t first = nk_load_u32(word);
  return skip == 0 ? first : first << skip | nk_load_u32(word + 4) >> (32 - skip);
}

#if NK_USE_DSP
_Static_assert(offsetof(nk_code_reader, tables) == 8 && offsetof(nk_code_reader, gap_bit) == 12 &&
                   offsetof(nk_code_tables, values) == 1024,
               "nk_code_fours.S knows the layouts");

/** Unpacks `fours` times four entries of single weights; in nk_code_fours.S. */
void nk_code_unpack_fours(nk_code_reader *reader, int32_t fours, uint8_t *records);
#endif

void nk_code_unpack(nk_code_reader *reader, int32_t block_size, int32_t count, uint8_t *records) {
  int32_t i = 0;
#if NK_USE_DSP && NK_USE_UNALIGNED
  if (block_size == 1 && count >= 4) {
    nk_code_unpack_fours(reader, count / 4, records);
    i = count / 4 * 4;
    records += 2 * i;
  }
#endif
  for (; i < count; ++i) {
    const uint32_t top = 32 - NK_STREAM_MAX_SYMBOL_BITS;
    const uint32_t gap = reader->tables->gaps[window_at(reader->gaps, reader->gap_bit) >> top];
    reader->gap_bit += gap & 255;
    *records++ = (uint8_t)(gap >> 16);
    for (int32_t k = 0; k < block_size; ++k) {
      const uint32_t value =
          reader->tables->values[window_at(reader->values, reader->value_bit) >> top];
      reader->value_bit += value & 255;
      *records++ = (uint8_t)(value >> 24);
    }
  }
}
