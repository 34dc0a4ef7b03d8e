/**
 * The caches of a Cortex-M7 for count_plugin.c: lines of 32 bytes, the least recently used line of
 * a set makes room, two ways for instructions, four for data. A write brings its line in, as a read
 * does (write-back, write-allocate).
 */
#ifndef NK_COUNT_CACHES_H_
#define NK_COUNT_CACHES_H_

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LINE_BYTES = 32, INSTRUCTION_WAYS = 2, DATA_WAYS = 4, MOST_LINES = (64 << 10) / LINE_BYTES };

/** A cache. Each set holds its lines, the latest used first; an empty place holds 0. */
typedef struct cache {
  uint32_t ways;
  uint32_t sets;
  uint64_t lines[MOST_LINES];
} cache;

static inline void cache_empty(cache *c) { memset(c->lines, 0, sizeof c->lines); }

/** Sets the size. bytes: 0 for no cache, else a power of two that the lines can hold. */
static inline void cache_resize(cache *c, uint32_t bytes, uint32_t ways) {
  c->ways = ways;
  c->sets = bytes / LINE_BYTES / ways;
  cache_empty(c);
}

/** Uses a line, which is the latest used then. Returns whether the cache had to fetch the line. */
static inline bool cache_misses(cache *c, uint64_t line) {
  uint64_t *const set = &c->lines[line % c->sets * c->ways];
  uint32_t way = 0;
  while (way < c->ways - 1 && set[way] != line + 1) {
    ++way;
  }
  const bool is_missing = set[way] != line + 1;
  memmove(set + 1, set, way * sizeof *set);
  set[0] = line + 1;
  return is_missing;
}

#endif  // NK_COUNT_CACHES_H_
