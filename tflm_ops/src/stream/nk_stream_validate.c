#include "../../include/nk_stream.h"
#include "../ref/nk_arithmetic.h"
#include "nk_bytes.h"

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

/** Whether the bits between the last count and the records are zero. */
static bool counts_end_in_zeros(const nk_stream *stream, const nk_stream_level *level) {
  const uint64_t bits = (uint64_t)stream->out_channels * (uint64_t)level->count_bits;
  const uint8_t *end = level->counts + bits / 8;
  if (bits % 8 != 0) {
    if (*end >> bits % 8 != 0) {
      return false;
    }
    ++end;
  }
  return is_zero(end, level->records);
}

/** Whether the reserved bytes of a block's header and the bytes between its arrays are zero. */
static bool gaps_are_zero(const nk_stream *stream, const nk_stream_level *level) {
  const uint8_t *block = level->block;
  const uint8_t *block_end = block + level->block_bytes;
  const int8_t *shift_end = level->shift + stream->out_channels;
  if (!is_zero(block + NK_LEVEL_OFFSET_COUNT_BITS + 1, block + NK_LEVEL_OFFSET_NNZ) ||
      !is_zero(block + NK_LEVEL_OFFSET_NNZ + 4, block + NK_LEVEL_OFFSET_CRC32)) {
    return false;
  }
  if (level->encoding == NK_ENCODING_EMPTY) {
    return is_zero(shift_end, block_end);
  }
  if (level->encoding == NK_ENCODING_DENSE) {
    const size_t weights = (size_t)stream->out_channels * (size_t)stream->channel_weights;
    return is_zero(shift_end, level->values) && is_zero(level->values + weights, block_end);
  }
  const size_t record_bytes = (size_t)level->entries * (size_t)level->record_bytes;
  return is_zero(shift_end, level->counts) && counts_end_in_zeros(stream, level) &&
         is_zero(level->records + record_bytes, block_end);
}

static bool tables_are_in_range(const nk_stream *stream, const nk_stream_level *level) {
  for (int32_t c = 0; c < stream->out_channels; ++c) {
    const int64_t multiplier = level->multiplier[c];
    const int64_t magnitude = multiplier < 0 ? -multiplier : multiplier;
    if ((magnitude != 0 && magnitude < (1 << 30)) || magnitude > INT32_MAX) {
      return false;
    }
    if (!nk_in_range(level->shift[c], -31, 30)) {
      return false;
    }
  }
  return true;
}

static nk_status check_level(const nk_stream *stream, const nk_stream_level *level) {
  uint32_t crc = nk_crc32(0, level->block, NK_LEVEL_OFFSET_CRC32);
  crc = nk_crc32(crc, level->block + NK_LEVEL_HEADER_BYTES,
                 level->block_bytes - NK_LEVEL_HEADER_BYTES);
  if (crc != nk_load_u32(level->block + NK_LEVEL_OFFSET_CRC32)) {
    return NK_ERROR_CHECKSUM;
  }
  return gaps_are_zero(stream, level) && tables_are_in_range(stream, level) ? NK_OK
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
} cursor;

/** Delta of an entry of a DELTA8 or DELTA16 level. */
static uint32_t delta_at(const nk_stream_level *level, uint32_t entry) {
  const uint8_t *record = level->records + (size_t)entry * (size_t)level->record_bytes;
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  return record[0] | (wide ? (uint32_t)record[1] << 8 : 0);
}

/** The block_size weights of an entry of any level that has entries. */
static const int8_t *values_at(const nk_stream *stream, const nk_stream_level *level,
                               uint32_t entry) {
  const size_t block_size = (size_t)stream->block_size;
  if (level->encoding == NK_ENCODING_DENSE) {
    return level->values + (size_t)entry * block_size;
  }
  const size_t record_bytes = (size_t)level->record_bytes;
  return (const int8_t *)level->records + entry * record_bytes + (record_bytes - block_size);
}

/** Moves a cursor to the first entry of a channel; false where the level has too few entries. */
static bool enter_channel(const nk_stream *stream, const nk_stream_level *level, int32_t channel,
                          cursor *at) {
  at->remaining = 0;
  at->position = 0;
  at->sum = 0;
  if (level->encoding == NK_ENCODING_DENSE) {
    at->remaining = (uint32_t)(stream->channel_weights / stream->block_size);
  } else if (level->counts != NULL) {
    at->remaining = (uint32_t)nk_stream_count(level, channel);
    if (at->remaining > level->entries - at->entry) {
      return false;
    }
    if (at->remaining > 0) {
      at->position = delta_at(level, at->entry);
    }
  }
  return true;
}

/** Moves a cursor to the next entry of the channel; false where that is not a later position. */
static bool advance(const nk_stream_level *level, cursor *at) {
  ++at->entry;
  --at->remaining;
  if (at->remaining == 0) {
    return true;
  }
  const uint32_t delta = level->encoding == NK_ENCODING_DENSE ? 1 : delta_at(level, at->entry);
  at->position += delta;
  return delta > 0;
}

/** Counts the weights of the entry at hand; bit i is set where weight i is not zero. */
static uint32_t add_weights(const nk_stream *stream, const nk_stream_level *level, cursor *at) {
  const int8_t *values = values_at(stream, level, at->entry);
  uint32_t mask = 0;
  for (int32_t i = 0; i < stream->block_size; ++i) {
    const bool used = values[i] != 0;
    mask |= (uint32_t)used << i;
    at->nnz += used;
    at->sum += values[i];
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
static bool check_channel(const nk_stream *stream, int32_t channel, cursor *cursors) {
  const uint32_t channel_blocks = (uint32_t)(stream->channel_weights / stream->block_size);
  for (int32_t l = 0; l < stream->levels; ++l) {
    if (!enter_channel(stream, &stream->level[l], channel, &cursors[l])) {
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
      const nk_stream_level *level = &stream->level[l];
      cursor *at = &cursors[l];
      if (at->remaining == 0 || at->position != position) {
        continue;
      }
      const uint32_t mask = add_weights(stream, level, at);
      if ((mask & occupied) != 0) {
        return false;
      }
      occupied |= mask;
      if (!advance(level, at)) {
        return false;
      }
    }
  }
}

/**
 * Whether each level's bias of a channel fits into 32 bits unfolded, too. The cursors have walked
 * through the channel: each holds the sum of the weights that its level adds.
 */
static bool biases_fit(const nk_stream *stream, int32_t channel, const cursor *cursors) {
  int64_t sum = 0;
  for (int32_t l = 0; l < stream->levels; ++l) {
    sum += cursors[l].sum;
    const int64_t bias = stream->level[l].bias[channel] - stream->input_offset * sum;
    if (bias < INT32_MIN || bias > INT32_MAX) {
      return false;
    }
  }
  return true;
}

nk_status nk_stream_validate(const nk_stream *stream) {
  if (stream == NULL) {
    return NK_ERROR_ARGUMENT;
  }
  nk_status status = check_header(stream->data);
  for (int32_t l = 0; l < stream->levels && status == NK_OK; ++l) {
    status = check_level(stream, &stream->level[l]);
  }
  if (status != NK_OK) {
    return status;
  }
  cursor cursors[NK_STREAM_MAX_LEVELS] = {{0}};
  for (int32_t channel = 0; channel < stream->out_channels; ++channel) {
    if (!check_channel(stream, channel, cursors) || !biases_fit(stream, channel, cursors)) {
      return NK_ERROR_MALFORMED;
    }
  }
  for (int32_t l = 0; l < stream->levels; ++l) {
    if (cursors[l].entry != stream->level[l].entries || cursors[l].nnz != stream->level[l].nnz) {
      return NK_ERROR_MALFORMED;
    }
  }
  return NK_OK;
}
