/** Walks through the entries of the levels of a stream, for the reference kernel. */
#ifndef NK_ENTRIES_H_
#define NK_ENTRIES_H_

#include "../stream/nk_code.h"

/** Entries of a coded level that are unpacked at a time. */
#define NK_UNPACKED_ENTRIES 32

/** Walks through the entries of one level, channel after channel; unused for an empty level. */
typedef struct nk_entry_cursor {
  /** First entry of the channel at hand; of a coded level, entries that are unpacked. */
  const uint8_t *entry;
  /** Bytes of the delta in front of an entry's weights; 0 in a dense level, which has none. */
  int32_t delta_bytes;
  /** Bytes of an entry: its delta and its weights. */
  int32_t entry_bytes;
  /** Of a coded level: where to go on in its codes. */
  nk_code_reader reader;
} nk_entry_cursor;

/** Sets one cursor per level, from 0 to `level`, to the first channel. */
static inline void nk_entries_start(const nk_stream *stream, int32_t level,
                                    const nk_code_tables *tables, nk_entry_cursor *cursors) {
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *from = &stream->level[n];
    const int32_t block_size = stream->block_size;
    switch (from->encoding) {
      case NK_ENCODING_DENSE:
        cursors[n] =
            (nk_entry_cursor){.entry = (const uint8_t *)from->values, .entry_bytes = block_size};
        break;
      case NK_ENCODING_CODED:
        cursors[n] = (nk_entry_cursor){NULL, 1, 1 + block_size, nk_code_open(from, tables)};
        ++tables;
        break;
      default:
        cursors[n] = (nk_entry_cursor){.entry = from->records,
                                       .delta_bytes = from->record_bytes - block_size,
                                       .entry_bytes = from->record_bytes};
        break;
    }
  }
}

/** Fills the tables of the coded levels up to `level`; returns the end of the tables. */
static inline nk_code_tables *nk_entries_make_tables(const nk_stream *stream, int32_t level,
                                                     nk_code_tables *tables) {
  for (int32_t n = 0; n <= level; ++n) {
    if (stream->level[n].encoding == NK_ENCODING_CODED) {
      nk_code_make_tables(&stream->level[n], tables);
      ++tables;
    }
  }
  return tables;
}

/** Number of entries of one channel; every block position has one in a dense level. */
static inline uint32_t nk_entries_of_channel(const nk_stream *stream, const nk_stream_level *level,
                                             int32_t channel) {
  switch (level->encoding) {
    case NK_ENCODING_EMPTY:
      return 0;
    case NK_ENCODING_DENSE:
      return (uint32_t)(stream->channel_weights / stream->block_size);
    default:
      return (uint32_t)nk_stream_count(level, channel);
  }
}

/** Steps from the entry before, in blocks. */
static inline int32_t nk_entry_delta(const uint8_t *entry, int32_t delta_bytes) {
  switch (delta_bytes) {
    case 1:
      return entry[0];
    case 2:
      return entry[0] | entry[1] << 8;
    default:
      return 1;
  }
}

/** A few entries of a coded level, unpacked. */
typedef struct nk_unpacked_entries {
  nk_entry_cursor at;
  uint32_t count;
  /** Where the first delta starts, in blocks. */
  int32_t position;
  /** Where the last entry lies. */
  int32_t end;
  _Alignas(4) uint8_t records[NK_UNPACKED_ENTRIES * 5];
} nk_unpacked_entries;

/** Unpacks the next entries, `left` at most; `before` are those of the same channel or NULL. */
static inline void nk_entries_unpack(int32_t block_size, nk_entry_cursor *at, uint32_t left,
                                     const nk_unpacked_entries *before, nk_unpacked_entries *now) {
  now->count = left < NK_UNPACKED_ENTRIES ? left : NK_UNPACKED_ENTRIES;
  now->position = before == NULL ? 0 : before->end;
  nk_code_unpack(&at->reader, block_size, (int32_t)now->count, now->records);
  if (before == NULL) {
    --now->records[0];  // the first delta of a channel
  }
  now->at = *at;
  now->at.entry = now->records;
  now->end = now->position;
  for (uint32_t i = 0; i < now->count; ++i) {
    now->end += now->records[i * (uint32_t)at->entry_bytes];
  }
}

#endif  // NK_ENTRIES_H_
