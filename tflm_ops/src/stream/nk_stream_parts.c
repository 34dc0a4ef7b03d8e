#include "nk_stream_parts.h"

#include <string.h>

#include "../cortex_m/nk_dsp_list.h"
#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"

_Static_assert(sizeof(nk_stream_parts) + 4 <= NK_PARTS_BYTES, "room for the parts");

/** The counts of a part begin at a byte. */
#define CHANNELS_STEP 8
/** Bias, multiplier and shift of a channel. */
#define TABLE_BYTES 9
/** A kernel's list takes at most 16 bytes for 252 weights beyond those for each channel and level
 * (nk_dsp_list.c). */
#define WEIGHTS_FOR_BYTE 15

static int32_t round_up(int32_t bytes) { return (bytes + 3) / 4 * 4; }

/** Bytes that a part, and a kernel, need for each channel. */
static int64_t channel_bytes(const nk_stream *s, int32_t level) {
  const bool has_list = s->kind == NK_KIND_CONV && s->dilation_h == 1 && s->dilation_w == 1;
  const int64_t bytes = has_list ? nk_dsp_list_channel_bytes(s, s->levels - 1) : 0;
  for (int32_t n = 0; n <= level; ++n) {
    if (s->level[n].packed_tables != NULL) {
      return bytes + TABLE_BYTES;
    }
  }
  return bytes;
}

/** Bytes that a part needs for so many entries of a level. */
static int64_t entry_bytes(const nk_stream *s, int32_t n, int64_t entries) {
  const int64_t records = s->level[n].codes != NULL ? entries * (1 + s->block_size) : 0;
  return records + (entries * s->block_size + WEIGHTS_FOR_BYTE - 1) / WEIGHTS_FOR_BYTE;
}

/** The most entries of a channel. */
static int32_t most_entries(const nk_stream *s, const nk_stream_level *level) {
  if (level->encoding == NK_ENCODING_DENSE) {
    return s->channel_weights / s->block_size;
  }
  return (1 << level->count_bits) - 1;
}

static bool is_whole(const nk_stream *s) {
  // As are the channels of the input.
  return s->kind == NK_KIND_DEPTHWISE;
}

static int64_t bytes_of_step(const nk_stream *s, int32_t level) {
  int64_t bytes = CHANNELS_STEP * channel_bytes(s, level);
  for (int32_t n = 0; n <= level; ++n) {
    bytes += entry_bytes(s, n, CHANNELS_STEP * (int64_t)most_entries(s, &s->level[n]));
  }
  return bytes;
}

static int64_t bytes_of_all(const nk_stream *s, int32_t level) {
  // Each step of a part rounds up once for each level.
  const int64_t steps = s->out_channels / CHANNELS_STEP + 1;
  int64_t bytes = s->out_channels * channel_bytes(s, level) + steps * (level + 1);
  for (int32_t n = 0; n <= level; ++n) {
    bytes += entry_bytes(s, n, s->level[n].entries);
  }
  return bytes;
}

/** The least bytes of a part. */
static int64_t least_bytes(const nk_stream *s, int32_t level) {
  const int64_t all = bytes_of_all(s, level);
  const int64_t step = bytes_of_step(s, level);
  return is_whole(s) || all < step ? all : step;
}

int32_t nk_stream_parts_bytes(const nk_stream *s) {
  const int32_t level = s->levels - 1;
  const int64_t all = bytes_of_all(s, level);
  const int64_t least = least_bytes(s, level);
  const int64_t wanted = all < NK_PART_BYTES ? all : NK_PART_BYTES;
  return nk_stream_parts_fixed_bytes(s, level) +
         round_up((int32_t)(least > wanted ? least : wanted));
}

int32_t nk_stream_parts_fixed_bytes(const nk_stream *s, int32_t level) {
  // Tables and records are rounded up, and a kernel may load a record ahead.
  return NK_PARTS_BYTES + nk_code_table_bytes(s, level) + 3 * NK_STREAM_READ_AHEAD_BYTES;
}

void nk_stream_make_part(const nk_stream *s, nk_stream *part) {
  *part = *s;
  part->in_place_levels = s->levels;
  for (int32_t n = 0; n < s->levels; ++n) {
    nk_stream_level *to = &part->level[n];
    if (to->codes != NULL) {
      to->encoding = NK_ENCODING_DELTA8;
      to->record_bytes = 1 + s->block_size;
      to->codes = NULL;
    }
    if (!is_whole(s)) {
      to->entries = 0;
    }
  }
  if (!is_whole(s)) {
    part->out_channels = 1;
  }
}

nk_stream_parts *nk_stream_parts_open(const nk_stream *s, int32_t level, void *scratch) {
  // Pointers may need more than the 4 bytes to which scratch memory is aligned.
  nk_stream_parts *parts = (void *)(((uintptr_t)scratch + 7) / 8 * 8);
  nk_code_tables *tables = (void *)((uint8_t *)scratch + NK_PARTS_BYTES);
  parts->whole = s;
  parts->level = level;
  nk_stream_make_part(s, &parts->stream);
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *from = &s->level[n];
    parts->next[n] = from->values != NULL ? (const uint8_t *)from->values : from->records;
    if (from->codes != NULL) {
      nk_code_make_tables(from, tables);
      parts->readers[n] = nk_code_open(from, tables);
      ++tables;
    }
  }
  parts->memory = (uint8_t *)tables;
  return parts;
}

bool nk_stream_parts_begin(nk_stream_parts *parts, int64_t bytes) {
  parts->first = 0;
  parts->stream.out_channels = 0;
  parts->bytes = bytes;
  return bytes >= least_bytes(parts->whole, parts->level);
}

/** Entries of a level in `count` channels of the whole stream from `first` on. */
static int32_t entries_of(const nk_stream *s, int32_t n, int32_t first, int32_t count) {
  const nk_stream_level *level = &s->level[n];
  if (level->counts == NULL) {
    return level->values == NULL ? 0 : count * (s->channel_weights / s->block_size);
  }
  int32_t entries = 0;
  for (int32_t o = first; o < first + count; ++o) {
    entries += nk_stream_count(level, o);
  }
  return entries;
}

/** Sets the channels of the next part, as many as fit, and the entries of its levels. The first
 * step always fits: nk_stream_parts_begin() has seen that. */
static void choose_part(nk_stream_parts *parts) {
  const nk_stream *s = parts->whole;
  nk_stream *part = &parts->stream;
  const int32_t left = s->out_channels - parts->first;
  const int64_t each = channel_bytes(s, parts->level);
  int32_t step = is_whole(s) ? left : CHANNELS_STEP;
  int64_t bytes = 0;
  part->out_channels = 0;
  for (int32_t n = 0; n <= parts->level; ++n) {
    part->level[n].entries = 0;
  }
  while (part->out_channels < left) {
    uint32_t entries[NK_STREAM_MAX_LEVELS];
    step = nk_min(step, left - part->out_channels);
    bytes += step * each;
    for (int32_t n = 0; n <= parts->level; ++n) {
      entries[n] = (uint32_t)entries_of(s, n, parts->first + part->out_channels, step);
      bytes += entry_bytes(s, n, entries[n]);
    }
    if (bytes > parts->bytes) {
      break;
    }
    for (int32_t n = 0; n <= parts->level; ++n) {
      part->level[n].entries += entries[n];
    }
    part->out_channels += step;
  }
}

/** The sum of the weights in `count` entries. */
static int32_t sum_of(int32_t block_size, int32_t entry_bytes, const uint8_t *at, int32_t count) {
  int32_t sum = 0;
  for (; count > 0; --count, at += entry_bytes) {
    for (int32_t k = entry_bytes - block_size; k < entry_bytes; ++k) {
      sum += (int8_t)at[k];
    }
  }
  return sum;
}

/** The same for records of a byte and a weight; at least NK_STREAM_READ_AHEAD_BYTES follow. */
static inline int32_t sum_of_records(const uint8_t *at, int32_t count) {
  const uint32_t one = 1;
  int32_t sum = 0;
  const uint8_t *const end = at + 4 * (count / 2);
  for (; at < end; at += 4) {
    sum = nk_smlad(nk_sxtb16_odd(nk_load_word(at)), one << 16 | one, sum);
  }
  return nk_smlad(nk_sxtb16_odd(nk_load_word(at)), (uint32_t)count % 2, sum);
}

/** walk() through a level with records of two bytes. */
static const uint8_t *walk_records(const nk_stream_level *level, int32_t channels,
                                   uint8_t *unpacked, int32_t *sums) {
  const uint8_t *at = level->records;
  for (int32_t o = 0; o < channels; ++o) {
    const int32_t count = nk_stream_count(level, o);
    if (unpacked != NULL) {
      // Of a channel without entries the byte is another's, and stays.
      *unpacked = (uint8_t)(*unpacked - (count > 0));
      unpacked += 2 * count;
    }
    if (sums != NULL) {
      sums[o] += sum_of_records(at, count);
    }
    at += 2 * count;
  }
  return at;
}

/**
 * Goes through a level of the part, channel after channel. The first deltas of a coded level become
 * its gaps. Adds the sums of the weights to `sums`, if not NULL. Returns the end of the level.
 */
static const uint8_t *walk(nk_stream_parts *parts, int32_t n, uint8_t *unpacked, int32_t *sums) {
  const nk_stream *s = &parts->stream;
  const nk_stream_level *level = &s->level[n];
  const bool dense = level->values != NULL;
  if (s->block_size == 1 && level->record_bytes == 2) {
    return walk_records(level, s->out_channels, unpacked, sums);
  }
  const int32_t entry_bytes = dense ? s->block_size : level->record_bytes;
  const uint8_t *at = dense ? (const uint8_t *)level->values : level->records;
  int32_t count = s->channel_weights / s->block_size;
  for (int32_t o = 0; o < s->out_channels; ++o) {
    if (!dense) {
      count = nk_stream_count(level, o);
    }
    if (unpacked != NULL && count > 0) {
      --*unpacked;
      unpacked += count * entry_bytes;
    }
    if (sums != NULL) {
      sums[o] += sum_of(s->block_size, entry_bytes, at, count);
    }
    at += count * entry_bytes;
  }
  return at;
}

/** Makes EXACT tables of packed ones; `bias` has the sums of the weights of the channels. */
static void unpack_tables(nk_stream_parts *parts, int32_t *bias) {
  const nk_stream *s = &parts->stream;
  nk_stream_level *to = &parts->stream.level[parts->level];
  const nk_packed_tables packed = nk_packed_tables_open(&parts->whole->level[parts->level]);
  int32_t *multiplier = bias + s->out_channels;
  int8_t *shift = (int8_t *)(multiplier + s->out_channels);
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const nk_channel_tables tables = nk_packed_tables_at(&packed, parts->first + o);
    bias[o] = tables.bias + s->input_offset * bias[o];
    multiplier[o] = tables.multiplier;
    shift[o] = (int8_t)tables.shift;
  }
  to->packed_tables = NULL;
  to->bias = bias;
  to->multiplier = multiplier;
  to->shift = shift;
}

bool nk_stream_parts_next(nk_stream_parts *parts) {
  const nk_stream *whole = parts->whole;
  nk_stream *s = &parts->stream;
  parts->first += s->out_channels;
  if (parts->first >= whole->out_channels) {
    return false;
  }
  choose_part(parts);
  const nk_stream_level *top = &whole->level[parts->level];
  uint8_t *records = parts->memory;
  int32_t *sums = NULL;
  if (top->packed_tables != NULL) {
    // The tables are in front of the records, because their places must be aligned.
    sums = (int32_t *)(void *)records;
    memset(sums, 0, (size_t)s->out_channels * sizeof(*sums));
    records += round_up(TABLE_BYTES * s->out_channels);
  }
  for (int32_t n = 0; n <= parts->level; ++n) {
    const nk_stream_level *from = &whole->level[n];
    nk_stream_level *to = &s->level[n];
    if (from->counts != NULL) {
      to->counts = from->counts + parts->first / CHANNELS_STEP * from->count_bits;
    }
    if (from->codes != NULL) {
      nk_code_unpack(&parts->readers[n], s->block_size, (int32_t)to->entries, records);
      to->records = records;
      walk(parts, n, records, sums);
      records += (int32_t)to->entries * to->record_bytes;
    } else if (from->values != NULL) {
      to->values = from->values + parts->first * s->channel_weights;
      if (sums != NULL) {
        walk(parts, n, NULL, sums);
      }
    } else if (from->records != NULL) {
      to->records = parts->next[n];
      parts->next[n] = walk(parts, n, NULL, sums);
    }
  }
  if (sums != NULL) {
    unpack_tables(parts, sums);
  } else {
    nk_stream_level *to = &s->level[parts->level];
    to->bias = top->bias + parts->first;
    to->multiplier = top->multiplier + parts->first;
    to->shift = top->shift + parts->first;
  }
  // A kernel may load a record ahead.
  parts->rest =
      parts->memory + round_up((int32_t)(records - parts->memory)) + NK_STREAM_READ_AHEAD_BYTES;
  return true;
}
