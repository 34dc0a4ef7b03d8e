#include "nk_stream_parts.h"

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

/** Channels of the next part: as many as fit. */
static int32_t next_channels(const nk_stream_parts *parts) {
  const nk_stream *s = parts->whole;
  const int32_t left = s->out_channels - parts->first;
  if (s->kind == NK_KIND_DEPTHWISE) {
    return left;  // the channels belong to channels of the input
  }
  const int32_t table_bytes = s->level[parts->level].packed_tables != NULL ? TABLE_BYTES : 0;
  int32_t bytes = 0;
  int32_t channels = 0;
  while (channels < left) {
    int32_t entries = 0;
    const int32_t step = nk_min(CHANNELS_STEP, left - channels);
    for (int32_t n = 0; n <= parts->level; ++n) {
      for (int32_t o = 0; s->level[n].codes != NULL && o < step; ++o) {
        entries += nk_stream_count(&s->level[n], parts->first + channels + o);
      }
    }
    bytes += entries * (1 + s->block_size) + step * table_bytes;
    if (bytes > NK_PART_BYTES && channels > 0) {
      break;
    }
    channels += step;
  }
  return channels;
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
static void unpack_tables(nk_stream_parts *parts, int32_t *bias) {
  const nk_stream *s = &parts->stream;
  int32_t *multiplier = bias + s->out_channels;
  int8_t *shift = (int8_t *)(multiplier + s->out_channels);
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
    bias[o] = tables.bias + s->input_offset * sum;
    multiplier[o] = tables.multiplier;
    shift[o] = (int8_t)tables.shift;
  }
  nk_stream_level *to = &parts->stream.level[parts->level];
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
  s->out_channels = next_channels(parts);
  uint8_t *records = parts->memory;
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
    // Behind the records, and behind what a kernel loads ahead.
    records += NK_STREAM_READ_AHEAD_BYTES;
    unpack_tables(parts,
                  (int32_t *)(void *)(parts->memory + (records - parts->memory + 3) / 4 * 4));
  } else {
    to->bias = from->bias + parts->first;
    to->multiplier = from->multiplier + parts->first;
    to->shift = from->shift + parts->first;
  }
  return true;
}
