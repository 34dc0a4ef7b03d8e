#include "nk_stream_parts.h"

#include <string.h>

#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"

_Static_assert(sizeof(nk_stream_parts) + 4 <= NK_PARTS_BYTES, "room for the parts");

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/** The counts of a part begin at a byte. */
#define CHANNELS_STEP 8
/** Bias, multiplier and shift of a channel. */
#define TABLE_BYTES 9

static bool has_packed_tables(const nk_stream *s) {
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].packed_tables != NULL) {
      return true;
    }
  }
  return false;
}

/** Bytes of the records and tables of CHANNELS_STEP channels, at most. */
static int64_t step_bytes(const nk_stream *s) {
  int64_t bytes = has_packed_tables(s) ? TABLE_BYTES : 0;
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].codes != NULL) {
      bytes += (((int64_t)1 << s->level[n].count_bits) - 1) * (1 + s->block_size);
    }
  }
  return CHANNELS_STEP * bytes;
}

/** Bytes of the records and tables of all channels. */
static int64_t all_bytes(const nk_stream *s) {
  int64_t bytes = has_packed_tables(s) ? (int64_t)TABLE_BYTES * s->out_channels : 0;
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].codes != NULL) {
      bytes += (int64_t)s->level[n].entries * (1 + s->block_size);
    }
  }
  return bytes;
}

int32_t nk_stream_parts_bytes(const nk_stream *s) {
  const int32_t codes = nk_code_table_bytes(s, s->levels - 1);
  if (codes == 0 && !has_packed_tables(s)) {
    return 0;
  }
  int64_t bytes = all_bytes(s);
  if (s->kind != NK_KIND_DEPTHWISE) {
    const int64_t step = step_bytes(s);
    bytes = least(bytes, step > NK_PART_BYTES ? step : NK_PART_BYTES);
  }
  // The tables are aligned, and a kernel may load a record ahead.
  return NK_PARTS_BYTES + codes + ((int32_t)bytes + 3) / 4 * 4 + 2 * NK_STREAM_READ_AHEAD_BYTES;
}

nk_stream_parts *nk_stream_parts_open(const nk_stream *s, int32_t level, void *scratch) {
  // Pointers may need more than the 4 bytes to which scratch memory is aligned.
  nk_stream_parts *parts = (void *)(((uintptr_t)scratch + 7) / 8 * 8);
  nk_code_tables *tables = (void *)((uint8_t *)scratch + NK_PARTS_BYTES);
  parts->whole = s;
  parts->level = level;
  parts->stream = *s;
  parts->first = 0;
  parts->stream.out_channels = 0;
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *from = &s->level[n];
    nk_stream_level *to = &parts->stream.level[n];
    parts->next[n] = from->values != NULL ? (const uint8_t *)from->values : from->records;
    if (from->codes != NULL) {
      nk_code_make_tables(from, tables);
      parts->readers[n] = nk_code_open(from, tables);
      ++tables;
      to->encoding = NK_ENCODING_DELTA8;
      to->record_bytes = 1 + s->block_size;
      to->codes = NULL;
    }
  }
  parts->memory = (uint8_t *)tables;
  return parts;
}

/** Entries of a level in `count` channels of the whole stream from `first` on. */
static int32_t entries_of(const nk_stream_level *level, int32_t first, int32_t count) {
  int32_t entries = 0;
  for (int32_t o = first; o < first + count; ++o) {
    entries += nk_stream_count(level, o);
  }
  return entries;
}

/** Sets the channels of the next part, as many as fit, and the entries of its coded levels. */
static void choose_part(nk_stream_parts *parts) {
  const nk_stream *s = parts->whole;
  const int32_t left = s->out_channels - parts->first;
  const bool is_whole = s->kind == NK_KIND_DEPTHWISE;  // as are the channels of the input
  const int32_t table_bytes = s->level[parts->level].packed_tables != NULL ? TABLE_BYTES : 0;
  int32_t bytes = 0;
  int32_t channels = 0;
  int32_t step = is_whole ? left : CHANNELS_STEP;
  for (int32_t n = 0; n <= parts->level; ++n) {
    parts->entries[n] = 0;
  }
  while (channels < left) {
    int32_t entries[NK_STREAM_MAX_LEVELS];
    step = nk_min(step, left - channels);
    bytes += step * table_bytes;
    for (int32_t n = 0; n <= parts->level; ++n) {
      if (s->level[n].codes != NULL) {
        entries[n] = entries_of(&s->level[n], parts->first + channels, step);
        bytes += entries[n] * (1 + s->block_size);
      }
    }
    if (bytes > NK_PART_BYTES && channels > 0) {
      break;
    }
    for (int32_t n = 0; n <= parts->level; ++n) {
      parts->entries[n] += s->level[n].codes != NULL ? entries[n] : 0;
    }
    channels += step;
  }
  parts->stream.out_channels = channels;
}

/** The sum of the weights in `count` entries. */
static int32_t sum_of(int32_t block_size, int32_t entry_bytes, const uint8_t *at, int32_t count) {
  int32_t sum = 0;
  if (entry_bytes == 2 && block_size == 1) {
    for (; count >= 2; count -= 2, at += 4) {
      sum = nk_smlad(nk_sxtb16_odd(nk_load_word(at)), 0x00010001u, sum);
    }
  }
  for (; count > 0; --count, at += entry_bytes) {
    for (int32_t k = entry_bytes - block_size; k < entry_bytes; ++k) {
      sum += (int8_t)at[k];
    }
  }
  return sum;
}

/**
 * Goes through a level of the part, channel after channel. The first deltas of a coded level become
 * its gaps. Adds the sums of the weights to `sums`, if not NULL. Returns the end of the level.
 */
static const uint8_t *walk(nk_stream_parts *parts, int32_t n, uint8_t *unpacked, int32_t *sums) {
  const nk_stream *s = &parts->stream;
  const nk_stream_level *level = &s->level[n];
  const bool dense = level->values != NULL;
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
    records += (TABLE_BYTES * s->out_channels + 3) / 4 * 4;
  }
  for (int32_t n = 0; n <= parts->level; ++n) {
    const nk_stream_level *from = &whole->level[n];
    nk_stream_level *to = &s->level[n];
    if (from->counts != NULL) {
      to->counts = from->counts + parts->first / CHANNELS_STEP * from->count_bits;
    }
    if (from->codes != NULL) {
      nk_code_unpack(&parts->readers[n], s->block_size, parts->entries[n], records);
      to->records = records;
      walk(parts, n, records, sums);
      records += parts->entries[n] * to->record_bytes;
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
  return true;
}
