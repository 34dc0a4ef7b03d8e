#include <string.h>

#include "../../include/nk_stream.h"
#include "../ref/nk_arithmetic.h"
#include "nk_code.h"

static uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static uint32_t load_u32(const uint8_t *p) { return load_u16(p) | (uint32_t)load_u16(p + 2) << 16; }

static int32_t load_s32(const uint8_t *p) { return (int32_t)load_u32(p); }

static uint64_t align(uint64_t size, uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

static void read_fields(const uint8_t *header, nk_stream *stream) {
  stream->kind = header[NK_OFFSET_KIND];
  stream->block_size = header[NK_OFFSET_BLOCK_SIZE];
  stream->stride_h = header[NK_OFFSET_STRIDE_H];
  stream->stride_w = header[NK_OFFSET_STRIDE_W];
  stream->dilation_h = header[NK_OFFSET_DILATION_H];
  stream->dilation_w = header[NK_OFFSET_DILATION_W];
  stream->pad_top = header[NK_OFFSET_PAD_TOP];
  stream->pad_left = header[NK_OFFSET_PAD_LEFT];
  stream->kernel_h = load_u16(header + NK_OFFSET_KERNEL_H);
  stream->kernel_w = load_u16(header + NK_OFFSET_KERNEL_W);
  stream->out_channels = load_u16(header + NK_OFFSET_OUT_CHANNELS);
  stream->output_channels = stream->out_channels;
  stream->in_channels = load_u16(header + NK_OFFSET_IN_CHANNELS);
  stream->depth_multiplier = load_u16(header + NK_OFFSET_DEPTH_MULTIPLIER);
  stream->input_offset = load_s32(header + NK_OFFSET_INPUT_OFFSET);
  stream->output_offset = load_s32(header + NK_OFFSET_OUTPUT_OFFSET);
  stream->activation_min = load_s32(header + NK_OFFSET_ACTIVATION_MIN);
  stream->activation_max = load_s32(header + NK_OFFSET_ACTIVATION_MAX);
  stream->filter_channels = stream->kind == NK_KIND_DEPTHWISE ? 1 : stream->in_channels;
}

/** Whether the fields that depend on the kind of layer fit the kind. */
static bool fits_kind(const nk_stream *s) {
  switch (s->kind) {
    case NK_KIND_CONV:
      return s->depth_multiplier == 1;
    case NK_KIND_DEPTHWISE:
      return (int64_t)s->in_channels * s->depth_multiplier == s->out_channels;
    case NK_KIND_FULLY_CONNECTED:
      return s->depth_multiplier == 1 && s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 &&
             s->stride_w == 1 && s->dilation_h == 1 && s->dilation_w == 1 && s->pad_top == 0 &&
             s->pad_left == 0;
    default:
      return false;
  }
}

/** Checks the fields and sets channel_weights. */
static bool check_fields(nk_stream *s) {
  const int32_t positive[] = {s->stride_h, s->stride_w, s->dilation_h,   s->dilation_w,
                              s->kernel_h, s->kernel_w, s->out_channels, s->in_channels};
  for (size_t i = 0; i < sizeof(positive) / sizeof(positive[0]); ++i) {
    if (positive[i] < 1) {
      return false;
    }
  }
  const int64_t weights = (int64_t)s->kernel_h * s->kernel_w * s->filter_channels;
  if (weights > NK_STREAM_MAX_CHANNEL_WEIGHTS) {
    return false;
  }
  s->channel_weights = (int32_t)weights;
  const bool known_block = s->block_size == 1 || s->block_size == 2 || s->block_size == 4;
  return known_block && s->filter_channels % s->block_size == 0 && fits_kind(s) &&
         nk_is_input_offset(s->input_offset) && nk_is_output_offset(s->output_offset) &&
         nk_is_activation_range(s->activation_min, s->activation_max);
}

/** Length of the delta in a record; 0 where the encoding has no records. */
static int32_t bytes_of_delta(int32_t encoding) {
  switch (encoding) {
    case NK_ENCODING_DELTA8:
      return 1;
    case NK_ENCODING_DELTA16:
      return 2;
    default:
      return 0;
  }
}

/** Whether a level's counts have a width that its encoding allows. */
static bool count_bits_are_valid(const nk_stream_level *level) {
  if (bytes_of_delta(level->encoding) == 0 && level->encoding != NK_ENCODING_CODED) {
    return level->count_bits == 0;
  }
  return nk_in_range(level->count_bits, 1, NK_STREAM_MAX_COUNT_BITS);
}

/** Whether the fields of packed tables and of a coded level are in range. */
static bool parameters_are_valid(const nk_stream_level *level) {
  const uint8_t *block = level->block;
  const int32_t tables = block[NK_LEVEL_OFFSET_TABLES];
  if (tables > NK_TABLES_SIGNED) {
    return false;
  }
  if (tables >= NK_TABLES_PACKED &&
      (block[NK_LEVEL_OFFSET_MULTIPLIER_BITS] > 30 || block[NK_LEVEL_OFFSET_SHIFT_BITS] > 6 ||
       block[NK_LEVEL_OFFSET_BIAS_BITS] > 32 || block[NK_LEVEL_OFFSET_BIAS_FRACTION] > 31 ||
       nk_table_bits(block) > NK_STREAM_MAX_TABLE_BITS ||
       !nk_in_range((int8_t)block[NK_LEVEL_OFFSET_SHIFT_BASE], -31, 30))) {
    return false;
  }
  return level->encoding != NK_ENCODING_CODED ||
         (block[NK_LEVEL_OFFSET_LAST_GAP] <= NK_STREAM_MAX_GAP &&
          block[NK_LEVEL_OFFSET_FIRST_MAGNITUDE] <= block[NK_LEVEL_OFFSET_LAST_MAGNITUDE] &&
          block[NK_LEVEL_OFFSET_LAST_MAGNITUDE] <= 128 &&
          load_u32(block + NK_LEVEL_OFFSET_CODE_WORDS) <= NK_STREAM_MAX_CODE_WORDS);
}

/** Bytes of a level's own tables. */
static uint64_t bytes_of_tables(const nk_stream_level *level, uint64_t channels) {
  switch (level->block[NK_LEVEL_OFFSET_TABLES]) {
    case NK_TABLES_EXACT:
      return 9 * channels;
    case NK_TABLES_SAME:
      return 0;
    default:
      return (channels * (uint64_t)nk_table_bits(level->block) + 7) / 8;
  }
}

/** Points a level at its tables, or at those of the level `before`. */
static void place_tables(nk_stream_level *level, const nk_stream_level *before, uint64_t channels) {
  // Every offset is a multiple of 4 and so is the address of the data.
  const uint8_t *tables = level->block + NK_LEVEL_HEADER_BYTES;
  switch (level->block[NK_LEVEL_OFFSET_TABLES]) {
    case NK_TABLES_EXACT:
      level->bias = (const int32_t *)(const void *)tables;
      level->multiplier = (const int32_t *)(const void *)(tables + 4 * channels);
      level->shift = (const int8_t *)(tables + 8 * channels);
      break;
    case NK_TABLES_SAME:
      level->bias = before->bias;
      level->multiplier = before->multiplier;
      level->shift = before->shift;
      level->packed_tables = before->packed_tables;
      break;
    default:
      level->packed_tables = tables;
      break;
  }
}

/** Lays the arrays of a level block out; returns the block's length. */
static uint64_t place_arrays(const nk_stream *stream, nk_stream_level *level) {
  const uint64_t channels = (uint64_t)stream->out_channels;
  const uint64_t entries = level->entries;
  const int32_t delta_bytes = bytes_of_delta(level->encoding);
  const int32_t record_bytes = delta_bytes + stream->block_size;
  const uint8_t *block = level->block;

  const uint64_t tables_end = NK_LEVEL_HEADER_BYTES + bytes_of_tables(level, channels);
  const uint64_t counts = align(tables_end, 4);
  const uint64_t counts_end = counts + (channels * (uint64_t)level->count_bits + 7) / 8;
  uint64_t weights = align(counts_end, 4);
  uint64_t weight_bytes = 0;
  switch (level->encoding) {
    case NK_ENCODING_EMPTY:
      // The tables end the block; only fields are read ahead.
      weights = tables_end;
      break;
    case NK_ENCODING_DENSE:
      weight_bytes = entries * (uint64_t)stream->block_size;
      break;
    case NK_ENCODING_CODED:
      weights += 4 + align(nk_length_bytes(block), 4);
      weight_bytes = 4 * (uint64_t)load_u32(block + NK_LEVEL_OFFSET_CODE_WORDS);
      break;
    default:
      weight_bytes = entries * (uint64_t)record_bytes;
      break;
  }
  const bool is_read_ahead =
      level->encoding != NK_ENCODING_EMPTY || block[NK_LEVEL_OFFSET_TABLES] >= NK_TABLES_PACKED;
  const uint64_t end =
      align(weights + weight_bytes + (is_read_ahead ? NK_STREAM_READ_AHEAD_BYTES : 0),
            NK_STREAM_ALIGNMENT);
  if (end != level->block_bytes) {
    return end;
  }
  place_tables(level, level - 1, channels);
  if (level->count_bits > 0) {
    level->counts = block + counts;
  }
  if (level->encoding == NK_ENCODING_DENSE) {
    level->values = (const int8_t *)(block + weights);
  } else if (level->encoding == NK_ENCODING_CODED) {
    level->codes = block + weights;
  } else if (delta_bytes > 0) {
    level->records = block + weights;
    level->record_bytes = record_bytes;
  }
  return end;
}

/** Reads the block of level `ordinal` from `left` bytes at `block`; `level` is all zeros. */
static nk_status open_level(const nk_stream *stream, int32_t ordinal, const uint8_t *block,
                            size_t left, nk_stream_level *level) {
  if (left < NK_LEVEL_HEADER_BYTES) {
    return NK_ERROR_TRUNCATED;
  }
  level->block = block;
  level->block_bytes = load_u32(block + NK_LEVEL_OFFSET_BLOCK_BYTES);
  level->entries = load_u32(block + NK_LEVEL_OFFSET_ENTRIES);
  level->encoding = block[NK_LEVEL_OFFSET_ENCODING];
  level->count_bits = block[NK_LEVEL_OFFSET_COUNT_BITS];
  level->nnz = load_u32(block + NK_LEVEL_OFFSET_NNZ);
  if (block[NK_LEVEL_OFFSET_LEVEL] != ordinal || level->encoding > NK_ENCODING_CODED) {
    return NK_ERROR_MALFORMED;
  }
  const uint32_t channel_blocks = (uint32_t)(stream->channel_weights / stream->block_size);
  if (level->encoding == NK_ENCODING_EMPTY && level->entries != 0) {
    return NK_ERROR_MALFORMED;
  }
  if (level->encoding == NK_ENCODING_DENSE &&
      (ordinal != 0 || level->entries != channel_blocks * (uint32_t)stream->out_channels)) {
    return NK_ERROR_MALFORMED;
  }
  const int32_t tables = block[NK_LEVEL_OFFSET_TABLES];
  if ((ordinal == 0 && tables == NK_TABLES_SAME) ||
      (stream->kind == NK_KIND_FULLY_CONNECTED && tables >= NK_TABLES_PACKED)) {
    return NK_ERROR_MALFORMED;
  }
  if (!count_bits_are_valid(level) || !parameters_are_valid(level) ||
      place_arrays(stream, level) != level->block_bytes) {
    return NK_ERROR_MALFORMED;
  }
  return level->block_bytes <= left ? NK_OK : NK_ERROR_TRUNCATED;
}

nk_status nk_stream_open(const uint8_t *data, size_t size, nk_stream *stream) {
  if (data == NULL || stream == NULL || (uintptr_t)data % 4 != 0) {
    return NK_ERROR_ARGUMENT;
  }
  const size_t magic_bytes = sizeof(NK_STREAM_MAGIC) - 1;
  if (size < magic_bytes) {
    return NK_ERROR_TRUNCATED;
  }
  if (memcmp(data, NK_STREAM_MAGIC, magic_bytes) != 0) {
    return NK_ERROR_FOREIGN;
  }
  if (size < NK_STREAM_HEADER_BYTES) {
    return NK_ERROR_TRUNCATED;
  }
  if (load_u16(data + NK_OFFSET_VERSION) != NK_STREAM_VERSION) {
    return NK_ERROR_VERSION;
  }
  memset(stream, 0, sizeof(*stream));
  stream->data = data;
  stream->size = size;
  read_fields(data, stream);
  const int32_t most_levels = data[NK_OFFSET_LEVELS];
  if (!nk_in_range(most_levels, 1, NK_STREAM_MAX_LEVELS) || !check_fields(stream)) {
    return NK_ERROR_MALFORMED;
  }
  size_t offset = NK_STREAM_HEADER_BYTES;
  while (offset < size) {
    if (stream->levels == most_levels) {
      return NK_ERROR_MALFORMED;
    }
    nk_stream_level *level = &stream->level[stream->levels];
    const nk_status status =
        open_level(stream, stream->levels, data + offset, size - offset, level);
    if (status != NK_OK) {
      return status;
    }
    offset += level->block_bytes;
    if (stream->in_place_levels == stream->levels && level->codes == NULL &&
        level->packed_tables == NULL) {
      ++stream->in_place_levels;
    }
    ++stream->levels;
  }
  return stream->levels > 0 ? NK_OK : NK_ERROR_TRUNCATED;
}
