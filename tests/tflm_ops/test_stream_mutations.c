/**
 * Damages valid streams at random, opens and validates them, and runs every level of those that
 * are accepted: test_stream_mutations MUTATIONS SEED CASE...
 *
 * Whatever the damage, the library must return a status and stay inside its buffers; build with
 * -fsanitize=address,undefined to see that. Three quarters of the mutants get their checksums
 * recomputed, so that the checks behind them are reached. Mutant n of a run with seed s is mutant 0
 * of a run with seed s + n.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nested_case.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define STATUS_COUNT (NK_ERROR_BUFFER + 1)
// A mutated header may ask for tensors of any size; larger ones than this are not run.
#define MAX_TENSOR_BYTES (1 << 24)

static uint64_t current_seed;

static void print_seed(void) {
  fprintf(stderr, "failed with: test_stream_mutations 1 %llu CASE...\n",
          (unsigned long long)current_seed);
}

/** splitmix64: a good 64-bit generator from any seed. */
static uint64_t next_random(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15;
  uint64_t z = *state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/** 0 .. limit - 1. */
static size_t below(uint64_t *state, size_t limit) { return next_random(state) % limit; }

static uint32_t load(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t value) {
  for (int i = 0; i < 4; ++i) {
    p[i] = (uint8_t)(value >> 8 * i);
  }
}

static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
  }
  return ~crc;
}

/** Recomputes the checksums of the header and of the blocks that block_bytes leads to. */
static void seal(uint8_t *data, size_t size) {
  if (size < NK_STREAM_HEADER_BYTES) {
    return;
  }
  store(data + NK_OFFSET_CRC32, crc32(0, data, NK_OFFSET_CRC32));
  size_t start = NK_STREAM_HEADER_BYTES;
  while (size - start >= NK_LEVEL_HEADER_BYTES) {
    uint8_t *block = data + start;
    const size_t length = load(block + NK_LEVEL_OFFSET_BLOCK_BYTES);
    if (length < NK_LEVEL_HEADER_BYTES || length > size - start) {
      return;
    }
    const uint32_t crc = crc32(0, block, NK_LEVEL_OFFSET_CRC32);
    store(block + NK_LEVEL_OFFSET_CRC32,
          crc32(crc, block + NK_LEVEL_HEADER_BYTES, length - NK_LEVEL_HEADER_BYTES));
    start += length;
  }
}

/** Offset of a random level block. */
static size_t random_block(const uint8_t *data, size_t size, uint64_t *state) {
  size_t start = NK_STREAM_HEADER_BYTES;
  for (size_t skip = below(state, 4); skip > 0; --skip) {
    const size_t next = start + load(data + start + NK_LEVEL_OFFSET_BLOCK_BYTES);
    if (next <= start || next + NK_LEVEL_HEADER_BYTES > size) {
      break;
    }
    start = next;
  }
  return start;
}

static uint8_t interesting_byte(uint64_t *state) {
  static const uint8_t kBytes[] = {0, 1, 2, 3, 4, 127, 128, 254, 255};
  return below(state, 2) ? kBytes[below(state, sizeof(kBytes))] : (uint8_t)next_random(state);
}

/** Damages the stream once; returns its new size, which is not larger. */
static size_t damage(uint8_t *data, size_t size, uint64_t *state) {
  if (size < NK_STREAM_HEADER_BYTES + NK_LEVEL_HEADER_BYTES) {
    return size;
  }
  const size_t block = random_block(data, size, state);
  switch (below(state, 7)) {
    case 0:  // any bit
      data[below(state, size)] ^= (uint8_t)(1 << below(state, 8));
      return size;
    case 1:  // any byte
      data[below(state, size)] = interesting_byte(state);
      return size;
    case 2:  // a byte of the stream header
      data[below(state, NK_STREAM_HEADER_BYTES)] = interesting_byte(state);
      return size;
    case 3:  // a byte of a level header
      data[block + below(state, NK_LEVEL_HEADER_BYTES)] = interesting_byte(state);
      return size;
    case 4:  // a cut, half of the time at a multiple of the alignment
      size = below(state, size + 1);
      return below(state, 2) ? size : size / NK_STREAM_ALIGNMENT * NK_STREAM_ALIGNMENT;
    case 5:  // a cut before a level block: a valid stream with fewer levels
      return block;
    default: {  // bytes moved from one place to another
      const size_t length = below(state, NK_LEVEL_HEADER_BYTES) + 1;
      const size_t from = below(state, size - length);
      const size_t to = below(state, size - length);
      memmove(data + to, data + from, length);
      return size;
    }
  }
}

/** Runs the levels unless the dimensions do not fit the mutated layer; adds the levels run. */
static nk_status run_all_levels(const nk_stream *stream, const nk_conv_dims *dims,
                                int *levels_run) {
  const size_t pixels_in = (size_t)(dims->batches * dims->input_h * dims->input_w);
  const size_t pixels_out = (size_t)(dims->batches * dims->output_h * dims->output_w);
  const size_t input_size = pixels_in * (size_t)stream->in_channels;
  const size_t output_size = pixels_out * (size_t)stream->out_channels;
  const int32_t needed = nk_nested_conv_s8_get_buffer_size(stream, dims);
  if (needed < 0 || input_size > MAX_TENSOR_BYTES || output_size > MAX_TENSOR_BYTES) {
    return NK_OK;
  }
  int8_t *input = allocate(input_size);
  int8_t *output = allocate(output_size);
  void *scratch = allocate((size_t)needed);
  memset(input, 0x80, input_size);
  nk_status status = NK_OK;
  for (int32_t level = 0; level < stream->levels && status == NK_OK; ++level) {
    status = nk_nested_conv_s8(stream, level, dims, input, output, scratch, (size_t)needed);
    ++*levels_run;
  }
  free(scratch);
  free(output);
  free(input);
  return status;
}

/** What became of the mutants. */
typedef struct tally {
  int status[STATUS_COUNT];
  int levels_run;
} tally;

/** Makes and tries the mutant of one seed. */
static int try_mutant(const nested_case *c, uint64_t seed, tally *counts) {
  uint64_t state = seed;
  uint8_t *mutant = allocate((size_t)c->stream_size);
  memcpy(mutant, c->stream, (size_t)c->stream_size);
  size_t size = (size_t)c->stream_size;
  for (size_t n = below(&state, 3) + 1; n > 0; --n) {
    size = damage(mutant, size, &state);
  }
  if (below(&state, 4) != 0) {
    seal(mutant, size);
  }
  // A block of just this size, so that a sanitizer sees every step beyond it.
  uint8_t *data = allocate(size);
  memcpy(data, mutant, size);
  free(mutant);
  nk_stream stream;
  nk_status status = nk_stream_open(data, size, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  int failures = 0;
  if (status == NK_OK && run_all_levels(&stream, &c->dims, &counts->levels_run) != NK_OK) {
    fprintf(stderr, "an accepted stream did not run\n");
    failures = 1;
  }
  if (status >= STATUS_COUNT) {
    fprintf(stderr, "unknown status %d\n", (int)status);
    failures = 1;
  } else {
    ++counts->status[status];
  }
  free(data);
  return failures;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: test_stream_mutations MUTATIONS SEED CASE...\n");
    return 2;
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(print_seed);
#endif
  const uint64_t mutations = strtoull(argv[1], NULL, 10);
  const uint64_t first_seed = strtoull(argv[2], NULL, 10);
  const size_t case_count = (size_t)(argc - 3);
  nested_case *cases = allocate(case_count * sizeof(*cases));
  for (size_t i = 0; i < case_count; ++i) {
    cases[i] = load_case(argv[i + 3]);
  }
  tally counts = {{0}, 0};
  int failures = 0;
  for (uint64_t n = 0; n < mutations && failures == 0; ++n) {
    current_seed = first_seed + n;
    failures = try_mutant(&cases[current_seed % case_count], current_seed, &counts);
  }
  if (failures > 0) {
    print_seed();
  }
  for (int i = 0; i < STATUS_COUNT; ++i) {
    printf("%-20s %d\n", nk_status_name((nk_status)i), counts.status[i]);
  }
  printf("%-20s %d\n", "levels run", counts.levels_run);
  // A run that does not get to every check, or never to the kernels, shows nothing.
  const nk_status reachable[] = {NK_OK,
                                 NK_ERROR_FOREIGN,
                                 NK_ERROR_VERSION,
                                 NK_ERROR_TRUNCATED,
                                 NK_ERROR_CHECKSUM,
                                 NK_ERROR_MALFORMED};
  for (size_t i = 0; mutations >= 10000 && i < sizeof(reachable) / sizeof(reachable[0]); ++i) {
    if (counts.status[reachable[i]] < 20) {
      fprintf(stderr, "%s: expected at least 20 mutants\n", nk_status_name(reachable[i]));
      failures = 1;
    }
  }
  if (mutations >= 10000 && counts.levels_run < 1000) {
    fprintf(stderr, "expected at least 1000 levels to run\n");
    failures = 1;
  }
  for (size_t i = 0; i < case_count; ++i) {
    free_case(&cases[i]);
  }
  free(cases);
  return failures == 0 ? 0 : 1;
}
