#include "nk_stream_parts.h"

#include "../cortex_m/nk_simd.h"
#include "../ref/nk_arithmetic.h"

_Static_assert(sizeof(nk_stream_parts) + 4 <= NK_PARTS_BYTES, "room for the parts");

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/** The counts of a part begin at a byte. */
#define CHANNELS_STEP 8

/** Bytes of the records of a channel in all coded levels, at most. */
static int64_t channel_bytes(const nk_stream *s) {
  int64_t bytes = 0;
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].codes != NULL) {
      const int64_t count = ((int64_t)1 << s->level[n].count_bits) - 1;
      bytes += count * (1 + s->block_size);
    }
  }
  return bytes;
}

/** Bytes of the records of all channels in all coded levels. */
static int64_t all_bytes(const nk_stream *s) {
  int64_t bytes = 0;
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].codes != NULL) {
      bytes += (int64_t)s->level[n].entries * (1 + s->block_size);
    }
  }
  return bytes;
}

/** Channels of a part; all of a depthwise layer, whose channels belong to channels of the input. */
static int32_t part_channels(const nk_stream *s) {
  const int64_t bytes = channel_bytes(s);
  if (s->kind == NK_KIND_DEPTHWISE ||
      least(bytes * s->out_channels, all_bytes(s)) <= NK_PART_RECORD_BYTES) {
    return s->out_channels;
  }
  const int32_t channels = (int32_t)(NK_PART_RECORD_BYTES / bytes) / CHANNELS_STEP * CHANNELS_STEP;
  return nk_clamp(channels, nk_min(CHANNELS_STEP, s->out_channels), s->out_channels);
}

/** Bytes of the records of a part, at most; a kernel may load a record ahead. */
static int32_t record_bytes(const nk_stream *s) {
  const int64_t bytes = least(channel_bytes(s) * part_channels(s), all_bytes(s));
  return bytes == 0 ? 0 : ((int32_t)bytes + 3) / 4 * 4 + 2 * NK_STREAM_READ_AHEAD_BYTES;
}

static bool has_packed_tables(const nk_stream *s) {
  for (int32_t n = 0; n < s->levels; ++n) {
    if (s->level[n].packed_tables != NULL) {
      return true;
    }
  }
  return false;
}

int32_t nk_stream_parts_bytes(const nk_stream *s) {
  const int32_t codes = nk_code_table_bytes(s, s->levels - 1);
  const bool packed = has_packed_tables(s);
  if (codes == 0 && !packed) {
    return 0;
  }
  const int32_t tables = packed ? (9 * part_channels(s) + 3) / 4 * 4 : 0;
  return NK_PARTS_BYTES + codes + record_bytes(s) + tables;
}

nk_stream_parts *nk_stream_parts_open(const nk_stream *s, int32_t level, void *scratch) {
  // Pointers may need more than the 4 bytes to which scratch memory is aligned.
  nk_stream_parts *parts = (void *)(((uintptr_t)scratch + 7) / 8 * 8);
  nk_code_tables *tables = (void *)((uint8_t *)scratch + NK_PARTS_BYTES);
  parts->whole = s;
  parts->level = level;
  parts->stream = *s;
  parts->first = 0;
  parts->channels = part_channels(s);
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
  parts->records = (uint8_t *)tables;
  parts->bias = (int32_t *)(void *)(parts->records + record_bytes(s));
  parts->multiplier = parts->bias + parts->channels;
  parts->shift = (int8_t *)(parts->multiplier + parts->channels);
  return parts;
}

/** Unpacks a coded level of the part; returns the end of its records. */
static uint8_t *unpack_records(nk_stream_parts *parts, int32_t n, uint8_t *records) {
  const nk_stream *s = &parts->stream;
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const int32_t count = nk_stream_count(&s->level[n], o);
    nk_code_unpack(&parts->readers[n], s->block_size, count, true, records);
    records += count * (1 + s->block_size);
  }
  return records;
}

/** The sum of the weights in `bytes` bytes of values or records. */
static int32_t sum_of(const nk_stream *s, const nk_stream_level *level, const uint8_t *at,
                      int32_t count) {
  int32_t sum = 0;
  if (level->record_bytes == 2) {
    for (; count >= 2; count -= 2, at += 4) {
      sum = nk_smlad(nk_sxtb16_odd(nk_load_word((const int8_t *)at)), 0x00010001u, sum);
    }
  }
  const int32_t block_size = s->block_size;
  const int32_t delta_bytes = level->record_bytes == 0 ? 0 : level->record_bytes - block_size;
  for (; count > 0; --count) {
    at += delta_bytes;
    for (int32_t k = 0; k < block_size; ++k) {
      sum += (int8_t)*at++;
    }
  }
  return sum;
}

/** Fills in the tables of the part, from those of a level that are packed. */
static void unpack_tables(nk_stream_parts *parts) {
  const nk_stream *s = &parts->stream;
  const nk_stream_level *top = &parts->whole->level[parts->level];
  const uint8_t *at[NK_STREAM_MAX_LEVELS];
  for (int32_t n = 0; n <= parts->level; ++n) {
    const nk_stream_level *from = &s->level[n];
    at[n] = from->values != NULL ? (const uint8_t *)from->values : from->records;
  }
  for (int32_t o = 0; o < s->out_channels; ++o) {
    int32_t sum = 0;
    for (int32_t n = 0; n <= parts->level; ++n) {
      const nk_stream_level *from = &s->level[n];
      if (from->encoding == NK_ENCODING_EMPTY) {
        continue;
      }
      const int32_t count =
          from->counts == NULL ? s->channel_weights / s->block_size : nk_stream_count(from, o);
      sum += sum_of(s, from, at[n], count);
      at[n] += count * (from->record_bytes == 0 ? s->block_size : from->record_bytes);
    }
    const nk_channel_tables tables = nk_stream_tables(top, parts->first + o);
    parts->bias[o] = tables.bias + s->input_offset * sum;
    parts->multiplier[o] = tables.multiplier;
    parts->shift[o] = (int8_t)tables.shift;
  }
}

bool nk_stream_parts_next(nk_stream_parts *parts) {
  const nk_stream *whole = parts->whole;
  nk_stream *s = &parts->stream;
  parts->first += s->out_channels;
  if (parts->first >= whole->out_channels) {
    return false;
  }
  s->out_channels = nk_min(parts->channels, whole->out_channels - parts->first);
  uint8_t *records = parts->records;
  for (int32_t n = 0; n <= parts->level; ++n) {
    const nk_stream_level *from = &whole->level[n];
    nk_stream_level *to = &s->level[n];
    if (from->counts != NULL) {
      to->counts = from->counts + parts->first / CHANNELS_STEP * from->count_bits;
    }
    if (from->codes != NULL) {
      to->records = records;
      records = unpack_records(parts, n, records);
    } else if (from->values != NULL) {
      to->values = from->values + parts->first * s->channel_weights;
    } else if (from->records != NULL) {
      to->records = parts->next[n];
      for (int32_t o = 0; o < s->out_channels; ++o) {
        parts->next[n] += nk_stream_count(to, o) * to->record_bytes;
      }
    }
  }
  const nk_stream_level *from = &whole->level[parts->level];
  nk_stream_level *to = &s->level[parts->level];
  if (from->packed_tables != NULL) {
    unpack_tables(parts);
    to->packed_tables = NULL;
    to->bias = parts->bias;
    to->multiplier = parts->multiplier;
    to->shift = parts->shift;
  } else {
    to->bias = from->bias + parts->first;
    to->multiplier = from->multiplier + parts->first;
    to->shift = from->shift + parts->first;
  }
  return true;
}
