/**
 * Mutates an input with a packed stream (packed_input.h). A mutation changes the head, a header,
 * the tables or the weights of a level, or the order of the levels. Most mutants then get the
 * numbers that must fit together: length, level, number of nonzero weights and checksum of each
 * block. So the fuzzer gets behind these checks.
 */
#include <string.h>

#include "../../tflm_ops/src/stream/nk_code.h"
#include "nk_stream.h"
#include "packed_input.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static uint32_t load(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t value) {
  for (int32_t i = 0; i < 4; ++i) {
    p[i] = (uint8_t)(value >> 8 * i);
  }
}

static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int32_t bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
  }
  return ~crc;
}

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

static size_t below(uint32_t *state, size_t limit) { return next_random(state) % limit; }

/** Length of the block at `start`; 0 where there is none. */
static size_t block_at(const uint8_t *data, size_t size, size_t start) {
  if (size - start < NK_LEVEL_HEADER_BYTES) {
    return 0;
  }
  const size_t length = load(data + start + NK_LEVEL_OFFSET_BLOCK_BYTES);
  return length < NK_LEVEL_HEADER_BYTES || length > size - start ? 0 : length;
}

/** The nonzero weights of a coded level; 0 where its codes are wrong. */
static uint32_t count_coded_weights(const nk_stream *s, const nk_stream_level *level) {
  static nk_code_tables tables;
  nk_code_counts counts;
  const uint32_t gap_words = nk_code_gap_words(level);
  uint32_t nnz = 0;
  if (gap_words > nk_code_words(level) || !nk_code_count_gaps(level, &counts) ||
      !nk_code_count_values(level, &counts)) {
    return nnz;
  }
  nk_code_make_tables(level, &tables);
  nk_code_reader reader = nk_code_open(level, &tables);
  const uint32_t value_bits = 32 * (nk_code_words(level) - gap_words);
  const uint32_t other_bits = NK_STREAM_MAX_SYMBOL_BITS * (uint32_t)(s->block_size - 1);
  for (uint32_t i = 0; i < level->entries && reader.gap_bit < 32 * gap_words &&
                       reader.value_bit + other_bits < value_bits;
       ++i) {
    uint8_t record[5];
    nk_code_unpack(&reader, s->block_size, 1, record);
    for (int32_t k = 1; k <= s->block_size; ++k) {
      nnz += record[k] != 0;
    }
  }
  return nnz;
}

/** The nonzero weights of a level that nk_stream_open() has laid out. */
static uint32_t count_weights(const nk_stream *s, const nk_stream_level *level) {
  const size_t block_size = (size_t)s->block_size;
  uint32_t nnz = 0;
  if (level->encoding == NK_ENCODING_CODED) {
    return count_coded_weights(s, level);
  }
  for (size_t i = 0; i < level->entries; ++i) {
    const int8_t *values =
        level->values != NULL
            ? level->values + i * block_size
            : (const int8_t *)level->records + (i + 1) * (size_t)level->record_bytes - block_size;
    for (size_t k = 0; k < block_size; ++k) {
      nnz += values[k] != 0;
    }
  }
  return nnz;
}

/** Puts the numbers of nonzero weights into the blocks, where the blocks can be laid out. */
static void mend_weights(uint8_t *data, size_t size) {
  nk_stream s;
  if (nk_stream_open(data, size, &s) != NK_OK) {
    return;
  }
  for (int32_t n = 0; n < s.levels; ++n) {
    uint8_t *block = data + (s.level[n].block - data);
    store(block + NK_LEVEL_OFFSET_NNZ, count_weights(&s, &s.level[n]));
  }
}

static void mend(uint8_t *data, size_t size) {
  if (size < NK_STREAM_HEADER_BYTES) {
    return;
  }
  store(data + NK_OFFSET_CRC32, crc32(0, data, NK_OFFSET_CRC32));
  size_t start = NK_STREAM_HEADER_BYTES;
  size_t length;
  for (uint8_t n = 0; (length = block_at(data, size, start)) > 0; start += length, ++n) {
    data[start + NK_LEVEL_OFFSET_LEVEL] = n;
  }
  mend_weights(data, size);
  start = NK_STREAM_HEADER_BYTES;
  for (; (length = block_at(data, size, start)) > 0; start += length) {
    uint8_t *block = data + start;
    const uint32_t crc = crc32(0, block, NK_LEVEL_OFFSET_CRC32);
    store(block + NK_LEVEL_OFFSET_CRC32,
          crc32(crc, block + NK_LEVEL_HEADER_BYTES, length - NK_LEVEL_HEADER_BYTES));
  }
}

/** Start of a random block; the stream's end where it has none. */
static size_t random_block(const uint8_t *data, size_t size, uint32_t *state) {
  size_t start = NK_STREAM_HEADER_BYTES;
  size_t length;
  for (size_t skip = below(state, 4); skip > 0 && (length = block_at(data, size, start)) > 0;
       --skip) {
    start += length;
  }
  return block_at(data, size, start) > 0 ? start : NK_STREAM_HEADER_BYTES;
}

/** Mutates `length` bytes in their place; what the mutation shortens keeps its old end. */
static void mutate_part(uint8_t *part, size_t length) {
  if (length > 0) {
    LLVMFuzzerMutate(part, length, length);
  }
}

/** Repeats or removes the block at `start`; returns the new size. */
static size_t move_block(uint8_t *data, size_t size, size_t max_size, size_t start,
                         uint32_t *state) {
  const size_t length = block_at(data, size, start);
  if (length == 0) {
    return size;
  }
  const size_t behind = size - start - length;
  if (below(state, 2) == 0) {
    memmove(data + start, data + start + length, behind);
    return size - length;
  }
  if (size + length > max_size) {
    return size;
  }
  memmove(data + start + 2 * length, data + start + length, behind);
  memcpy(data + start + length, data + start, length);
  return size + length;
}

/** Mutates a stream of at least a header and a level header; returns its new size. */
static size_t mutate_stream(uint8_t *data, size_t size, size_t max_size, uint32_t *state) {
  const size_t start = random_block(data, size, state);
  const size_t length = block_at(data, size, start);
  switch (below(state, 6)) {
    case 0:
      mutate_part(data, NK_STREAM_HEADER_BYTES);
      return size;
    case 1:
      mutate_part(data + start, NK_LEVEL_HEADER_BYTES);
      return size;
    case 2:
      return move_block(data, size, max_size, start, state);
    case 3:
      return LLVMFuzzerMutate(data, size, max_size);
    default:
      if (length > NK_LEVEL_HEADER_BYTES) {
        const size_t payload = length - NK_LEVEL_HEADER_BYTES;
        const size_t from = below(state, payload);
        mutate_part(data + start + NK_LEVEL_HEADER_BYTES + from, payload - from);
      }
      return size;
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  uint32_t state = seed;
  const size_t least = FUZZ_HEAD_BYTES + NK_STREAM_HEADER_BYTES + NK_LEVEL_HEADER_BYTES;
  if (size < least) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  if (below(&state, 4) == 0) {
    mutate_part(data, FUZZ_HEAD_BYTES);
    return size;
  }
  // A block of its own: the library wants an aligned stream.
  const size_t room = max_size - FUZZ_HEAD_BYTES;
  size_t stream_size = size - FUZZ_HEAD_BYTES;
  uint8_t *stream = fuzz_allocate(room);
  memcpy(stream, data + FUZZ_HEAD_BYTES, stream_size);
  for (size_t n = below(&state, 3) + 1;
       n > 0 && stream_size >= NK_STREAM_HEADER_BYTES + NK_LEVEL_HEADER_BYTES; --n) {
    stream_size = mutate_stream(stream, stream_size, room, &state);
  }
  if (below(&state, 8) != 0) {
    mend(stream, stream_size);
  }
  memcpy(data + FUZZ_HEAD_BYTES, stream, stream_size);
  free(stream);
  return FUZZ_HEAD_BYTES + stream_size;
}
