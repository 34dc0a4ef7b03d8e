#include "nk_stream_check.h"

#include "../ref/nk_arithmetic.h"

/** Whether all bytes from `begin` up to `end` are zero. */
static bool is_zero(const void *begin, const void *end) {
  for (const uint8_t *p = begin; p < (const uint8_t *)end; ++p) {
    if (*p != 0) {
      return false;
    }
  }
  return true;
}

static nk_status check_header(const uint8_t *header) {
  if (nk_crc32(0, header, NK_OFFSET_CRC32) != nk_load_u32(header + NK_OFFSET_CRC32)) {
    return NK_ERROR_CHECKSUM;
  }
  const bool reserved_is_zero =
      is_zero(header + NK_OFFSET_PAD_LEFT + 1, header + NK_OFFSET_KERNEL_H) &&
      is_zero(header + NK_OFFSET_DEPTH_MULTIPLIER + 2, header + NK_OFFSET_INPUT_OFFSET) &&
      is_zero(header + NK_OFFSET_ACTIVATION_MAX + 4, header + NK_OFFSET_CRC32);
  return reserved_is_zero ? NK_OK : NK_ERROR_MALFORMED;
}

/** Whether all bits from bit `bits` of `begin` up to `end` are zero; the lowest bit is first. */
bool nk_stream_ends_in_zeros(const uint8_t *begin, uint64_t bits, const void *end) {
  const uint8_t *at = begin + bits / 8;
  if (bits % 8 != 0) {
    if (*at >> bits % 8 != 0) {
      return false;
    }
    ++at;
  }
  return is_zero(at, end);
}

/** Whether the bytes behind a level's own tables, up to `end`, are zero. */
static bool tables_end_in_zeros(const nk_stream *stream, const nk_stream_level *level,
                                const uint8_t *end, const nk_coded_check *coded) {
  const uint8_t *tables = level->block + NK_LEVEL_HEADER_BYTES;
  const uint64_t channels = (uint64_t)stream->out_channels;
  switch (level->block[NK_LEVEL_OFFSET_TABLES]) {
    case NK_TABLES_EXACT:
      return is_zero(tables + 9 * channels, end);
    case NK_TABLES_SAME:
      return is_zero(tables, end);
    default:
      return coded->tables_end_in_zeros(level, channels, end);
  }
}

/** Whether the fields of a block's header that its tables and weights do not use are zero. */
static bool unused_fields_are_zero(const nk_stream_level *level) {
  const uint8_t *block = level->block;
  const bool packed = block[NK_LEVEL_OFFSET_TABLES] >= NK_TABLES_PACKED;
  return (packed ||
          is_zero(block + NK_LEVEL_OFFSET_MULTIPLIER_BITS, block + NK_LEVEL_OFFSET_LAST_GAP)) &&
         (level->codes != NULL ||
          is_zero(block + NK_LEVEL_OFFSET_LAST_GAP, block + NK_LEVEL_OFFSET_CRC32));
}

/** Whether the unused bytes of a block's header and the bytes between its arrays are zero. */
static bool gaps_are_zero(const nk_stream *stream, const nk_stream_level *level,
                          const nk_coded_check *coded) {
  const uint8_t *block_end = level->block + level->block_bytes;
  const uint64_t count_bits = (uint64_t)stream->out_channels * (uint64_t)level->count_bits;
  if (!unused_fields_are_zero(level)) {
    return false;
  }
  switch (level->encoding) {
    case NK_ENCODING_EMPTY:
      return tables_end_in_zeros(stream, level, block_end, coded);
    case NK_ENCODING_DENSE: {
      const size_t weights = (size_t)stream->out_channels * (size_t)stream->channel_weights;
      return tables_end_in_zeros(stream, level, (const uint8_t *)level->values, coded) &&
             is_zero(level->values + weights, block_end);
    }
    case NK_ENCODING_CODED:
      return tables_end_in_zeros(stream, level, level->counts, coded) &&
             coded->codes_end_in_zeros(level, count_bits, block_end);
    default: {
      const size_t record_bytes = (size_t)level->entries * (size_t)level->record_bytes;
      return tables_end_in_zeros(stream, level, level->counts, coded) &&
             nk_stream_ends_in_zeros(level->counts, count_bits, level->records) &&
             is_zero(level->records + record_bytes, block_end);
    }
  }
}

/** Sets the tables of a channel; false if the bias does not fit into 32 bits. */
static bool read_tables(const nk_stream_level *level, int32_t channel, const nk_coded_check *coded,
                        nk_channel_tables *tables) {
  if (level->packed_tables != NULL) {
    return coded->read_tables(level, channel, tables);
  }
  *tables =
      (nk_channel_tables){level->bias[channel], level->multiplier[channel], level->shift[channel]};
  return true;
}

/** Whether a level's own tables are in range. */
static bool tables_are_in_range(const nk_stream *stream, const nk_stream_level *level,
                                const nk_coded_check *coded) {
  if (level->block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SAME) {
    return true;
  }
  for (int32_t c = 0; c < stream->out_channels; ++c) {
    nk_channel_tables tables;
    if (!read_tables(level, c, coded, &tables)) {
      return false;
    }
    const int64_t multiplier = tables.multiplier;
    const int64_t magnitude = multiplier < 0 ? -multiplier : multiplier;
    if ((magnitude != 0 && magnitude < (1 << 30)) || magnitude > INT32_MAX) {
      return false;
    }
    if (!nk_in_range(tables.shift, -31, 30)) {
      return false;
    }
  }
  return true;
}

static nk_status check_level(const nk_stream *stream, const nk_stream_level *level,
                             const nk_coded_check *coded) {
  uint32_t crc = nk_crc32(0, level->block, NK_LEVEL_OFFSET_CRC32);
  crc = nk_crc32(crc, level->block + NK_LEVEL_HEADER_BYTES,
                 level->block_bytes - NK_LEVEL_HEADER_BYTES);
  if (crc != nk_load_u32(level->block + NK_LEVEL_OFFSET_CRC32)) {
    return NK_ERROR_CHECKSUM;
  }
  return gaps_are_zero(stream, level, coded) && tables_are_in_range(stream, level, coded)
             ? NK_OK
             : NK_ERROR_MALFORMED;
}

/** Where the walk through one level's entries stands. */
typedef struct cursor {
  /** Index of the entry at hand. */
  uint32_t entry;
  /** Entries of the channel not yet passed, the present entry included. */
  uint32_t remaining;
  /** The entry's position in its channel, in blocks. */
  uint32_t position;
  /** Sum of the channel's weights passed so far. */
  int32_t sum;
  /** Nonzero weights passed so far, of all channels. */
  uint32_t nnz;
  /** The block_size weights of the entry. */
  const int8_t *values_at;
  /** Of a coded level: the weights of the entry. */
  int8_t decoded[4];
} cursor;

/**
 * Goes to the entry `at->entry`. Returns its delta, or -1 where the level is wrong; an entry that
 * is no channel's `first` has a delta of at least 1.
 */
static int32_t fetch_entry(const nk_stream *stream, const nk_stream_level *level, bool first,
                           const nk_coded_check *coded, cursor *at) {
  int32_t delta = 1;
  if (level->encoding == NK_ENCODING_DENSE) {
    at->values_at = level->values + (size_t)at->entry * (size_t)stream->block_size;
    return delta;
  }
  if (level->encoding == NK_ENCODING_CODED) {
    delta = coded->decode_entry(coded, stream, level, at->decoded);
    at->values_at = at->decoded;
    return delta > 0 && first ? delta - 1 : delta;
  }
  const uint8_t *record = level->records + (size_t)at->entry * (size_t)level->record_bytes;
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  delta = record[0] | (wide ? record[1] << 8 : 0);
  at->values_at = (const int8_t *)record + (wide ? 2 : 1);
  return delta > 0 || first ? delta : -1;
}

/** Moves a cursor to the first entry of a channel; false where the level has no such entry. */
static bool enter_channel(const nk_stream *stream, const nk_stream_level *level, int32_t channel,
                          const nk_coded_check *coded, cursor *at) {
  at->remaining = 0;
  at->position = 0;
  at->sum = 0;
  if (level->encoding == NK_ENCODING_EMPTY) {
    return true;
  }
  if (level->encoding == NK_ENCODING_DENSE) {
    at->remaining = (uint32_t)(stream->channel_weights / stream->block_size);
    return fetch_entry(stream, level, true, coded, at) > 0;
  }
  at->remaining = (uint32_t)nk_stream_count(level, channel);
  if (at->remaining > level->entries - at->entry) {
    return false;
  }
  if (at->remaining > 0) {
    const int32_t delta = fetch_entry(stream, level, true, coded, at);
    at->position = (uint32_t)delta;
    return delta >= 0;
  }
  return true;
}

/** Moves a cursor to the next entry of the channel; false where that is not a later position. */
static bool advance(const nk_stream *stream, const nk_stream_level *level,
                    const nk_coded_check *coded, cursor *at) {
  ++at->entry;
  --at->remaining;
  if (at->remaining == 0) {
    return true;
  }
  const int32_t delta = fetch_entry(stream, level, false, coded, at);
  at->position += (uint32_t)delta;
  return delta > 0;
}

/** Counts the weights of the entry at hand; bit i is set where weight i is not zero. */
static uint32_t add_weights(const nk_stream *stream, cursor *at) {
  uint32_t mask = 0;
  for (int32_t i = 0; i < stream->block_size; ++i) {
    const bool used = at->values_at[i] != 0;
    mask |= (uint32_t)used << i;
    at->nnz += used;
    at->sum += at->values_at[i];
  }
  return mask;
}

/** Smallest position at hand, or UINT32_MAX where all levels are through with the channel. */
static uint32_t next_position(const cursor *cursors, int32_t levels) {
  uint32_t position = UINT32_MAX;
  for (int32_t l = 0; l < levels; ++l) {
    if (cursors[l].remaining > 0 && cursors[l].position < position) {
      position = cursors[l].position;
    }
  }
  return position;
}

/**
 * Walks through one channel of all levels at once, in the order of positions. Every position must
 * lie inside the channel, and no weight may be nonzero in two levels.
 */
static bool check_channel(const nk_stream *stream, int32_t channel, const nk_coded_check *coded,
                          cursor *cursors) {
  const uint32_t channel_blocks = (uint32_t)(stream->channel_weights / stream->block_size);
  for (int32_t l = 0; l < stream->levels; ++l) {
    if (!enter_channel(stream, &stream->level[l], channel, coded, &cursors[l])) {
      return false;
    }
  }
  for (;;) {
    const uint32_t position = next_position(cursors, stream->levels);
    if (position == UINT32_MAX) {
      return true;
    }
    if (position >= channel_blocks) {
      return false;
    }
    uint32_t occupied = 0;
    for (int32_t l = 0; l < stream->levels; ++l) {
      cursor *at = &cursors[l];
      if (at->remaining == 0 || at->position != position) {
        continue;
      }
      const uint32_t mask = add_weights(stream, at);
      if ((mask & occupied) != 0) {
        return false;
      }
      occupied |= mask;
      if (!advance(stream, &stream->level[l], coded, at)) {
        return false;
      }
    }
  }
}

/**
 * Whether each level's bias of a channel fits into 32 bits both folded and unfolded. The cursors
 * have walked through the channel: each holds the sum of the weights that its level adds.
 */
static bool biases_fit(const nk_stream *stream, int32_t channel, const nk_coded_check *coded,
                       const cursor *cursors) {
  int64_t sum = 0;
  for (int32_t l = 0; l < stream->levels; ++l) {
    sum += cursors[l].sum;
    const nk_stream_level *level = &stream->level[l];
    const int64_t fold = stream->input_offset * sum;
    nk_channel_tables tables;
    const bool fits = read_tables(level, channel, coded, &tables);
    const int64_t bias = tables.bias + (level->packed_tables == NULL ? -fold : fold);
    if (!fits || bias < INT32_MIN || bias > INT32_MAX) {
      return false;
    }
  }
  return true;
}

nk_status nk_stream_check(const nk_stream *stream, const nk_coded_check *coded) {
  nk_status status = check_header(stream->data);
  for (int32_t l = 0; l < stream->levels && status == NK_OK; ++l) {
    status = check_level(stream, &stream->level[l], coded);
  }
  if (status != NK_OK) {
    return status;
  }
  if (coded != NULL && !coded->open_codes(coded, stream)) {
    return NK_ERROR_MALFORMED;
  }
  cursor cursors[NK_STREAM_MAX_LEVELS] = {{0}};
  for (int32_t channel = 0; channel < stream->out_channels; ++channel) {
    if (!check_channel(stream, channel, coded, cursors) ||
        !biases_fit(stream, channel, coded, cursors)) {
      return NK_ERROR_MALFORMED;
    }
  }
  for (int32_t l = 0; l < stream->levels; ++l) {
    const nk_stream_level *level = &stream->level[l];
    if (cursors[l].entry != level->entries || cursors[l].nnz != level->nnz ||
        (level->codes != NULL && !coded->codes_end(coded, stream, level))) {
      return NK_ERROR_MALFORMED;
    }
  }
  return NK_OK;
}
