/** Reads the codes of CODED levels. */
#include "nk_code.h"

void nk_make_value_table(const nk_stream_level *level, nk_coded_value *table) {
  const uint8_t *lengths = nk_code_lengths(level);
  const int32_t first = level->block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE];
  const int32_t last = level->block[NK_LEVEL_OFFSET_LAST_MAGNITUDE];
  for (int32_t bits = 1; bits <= NK_STREAM_MAX_VALUE_BITS; ++bits) {
    for (int32_t magnitude = first; magnitude <= last; ++magnitude) {
      if (nk_code_length(lengths, magnitude - first) != bits) {
        continue;
      }
      const int32_t repeats = NK_VALUE_TABLE_ENTRIES >> bits;
      for (int32_t i = 0; i < 2 * repeats; ++i) {
        const int32_t value = i < repeats ? magnitude : -magnitude;
        // 128 is -128 with either code.
        *table++ = (nk_coded_value){(uint8_t)bits, (int8_t)value};
      }
    }
  }
}

bool nk_count_magnitudes(const nk_stream_level *level, nk_magnitude_counts *counts) {
  const uint8_t *lengths = nk_code_lengths(level);
  const int32_t magnitudes = level->block[NK_LEVEL_OFFSET_LAST_MAGNITUDE] -
                             level->block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] + 1;
  int32_t share = 0;
  *counts = (nk_magnitude_counts){{0}};
  for (int32_t i = 0; i < magnitudes; ++i) {
    const int32_t bits = nk_code_length(lengths, i);
    if (bits > NK_STREAM_MAX_VALUE_BITS) {
      return false;
    }
    if (bits > 0) {
      ++counts->of_bits[bits];
      share += 2 * (NK_VALUE_TABLE_ENTRIES >> bits);
    }
  }
  return share == NK_VALUE_TABLE_ENTRIES;
}

/** The magnitude `index` of those whose codes have `bits` bits. */
static int32_t magnitude_of(const nk_stream_level *level, int32_t bits, int32_t index) {
  const uint8_t *lengths = nk_code_lengths(level);
  int32_t i = 0;
  while (nk_code_length(lengths, i) != bits || index-- > 0) {
    ++i;
  }
  return level->block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] + i;
}

nk_coded_value nk_find_value(const nk_stream_level *level, const nk_magnitude_counts *counts,
                             uint32_t window) {
  int32_t index = (int32_t)(window >> (32 - NK_STREAM_MAX_VALUE_BITS));
  int32_t bits = 1;
  // A complete code has a code for every sequence of bits.
  while (index >= counts->of_bits[bits] * (2 * NK_VALUE_TABLE_ENTRIES >> bits)) {
    index -= counts->of_bits[bits] * (2 * NK_VALUE_TABLE_ENTRIES >> bits);
    ++bits;
  }
  const int32_t code = index >> (NK_STREAM_MAX_VALUE_BITS - bits);
  const int32_t magnitude = magnitude_of(level, bits, code / 2);
  return (nk_coded_value){(uint8_t)bits, (int8_t)(code % 2 == 0 ? magnitude : -magnitude)};
}

int32_t nk_code_unpack(nk_code_reader *reader, int32_t count, bool first, uint8_t *records) {
  int32_t sum = 0;
  uint32_t bit = reader->bit;
  for (int32_t i = 0; i < count; ++i) {
    const nk_coded_gap gap =
        nk_find_gap(nk_code_window(reader->codes, reader->words, bit), reader->rice_bits);
    bit += (uint32_t)gap.bits;
    *records++ = (uint8_t)(gap.gap + (first && i == 0 ? 0 : 1));
    for (int32_t k = 0; k < reader->block_size; ++k) {
      const uint32_t window = nk_code_window(reader->codes, reader->words, bit);
      const nk_coded_value value = reader->table[window >> (32 - NK_STREAM_MAX_VALUE_BITS)];
      bit += value.bits;
      sum += value.value;
      *records++ = (uint8_t)value.value;
    }
  }
  reader->bit = bit;
  return sum;
}
