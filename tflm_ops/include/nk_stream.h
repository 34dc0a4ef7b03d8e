/**
 * Reads a packed weight stream in place (docs/nested_format.md). Nothing is copied: an nk_stream
 * points into the caller's data, so the data must outlive the nk_stream.
 *
 * Usage: call nk_stream_open() before each use, which is cheap. Call nk_stream_validate() once for
 * data that may be damaged or hostile. The kernels check their arguments but trust the stream, so
 * run the kernels on validated streams only.
 */
#ifndef NK_STREAM_H_
#define NK_STREAM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nk_format.h"
#include "nk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One level block: the tables of the level, and the weights that the level adds. */
typedef struct nk_stream_level {
  /** The whole block, header first, and its length in bytes. */
  const uint8_t *block;
  uint32_t block_bytes;
  /** One of NK_ENCODING_*. */
  int32_t encoding;
  /** Stored blocks of weights over all channels, fillers included; 0 for EMPTY. */
  uint32_t entries;
  /** Nonzero weights that this level adds. */
  uint32_t nnz;
  /** Full tables of this level, [out_channels] each. The bias is folded: the bias includes
   * input_offset times the sum of the channel's weights at this level (docs/nested_format.md).
   * NULL where the tables are packed. */
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
  /** Packed tables, behind the header of their block; else NULL. */
  const uint8_t *packed_tables;
  /** Entries of each channel, [out_channels] numbers of count_bits (1 .. 16) bits without gaps, the
   * lowest bits first: see nk_stream_count(). NULL and 0 unless DELTA8, DELTA16 or CODED. */
  const uint8_t *counts;
  int32_t count_bits;
  /** Entries one after the other: a little-endian delta of 1 (DELTA8) or 2 (DELTA16) bytes, in
   * blocks, then block_size int8 weights. NULL unless DELTA8 or DELTA16. */
  const uint8_t *records;
  /** Length of one record; 0 unless DELTA8 or DELTA16. */
  int32_t record_bytes;
  /** The whole filter, [out_channels * channel_weights]; NULL unless DENSE. */
  const int8_t *values;
  /** Codes of gaps, then codes of values, in little-endian words; NULL unless CODED. */
  const uint8_t *codes;
} nk_stream_level;

/** An opened stream. Filters are [out_channels][kernel_h][kernel_w][filter_channels]. */
typedef struct nk_stream {
  const uint8_t *data;
  size_t size;
  /** Number of level blocks found, 1 .. NK_STREAM_MAX_LEVELS. */
  int32_t levels;
  /** One of NK_KIND_*. */
  int32_t kind;
  /** Weights per entry along the input channels: 1, 2 or 4; divides filter_channels. */
  int32_t block_size;
  int32_t stride_h;
  int32_t stride_w;
  int32_t dilation_h;
  int32_t dilation_w;
  int32_t pad_top;
  int32_t pad_left;
  int32_t kernel_h;
  int32_t kernel_w;
  int32_t out_channels;
  /** Channels of a pixel of the output: out_channels, or more where the stream is a part of another
   * stream. */
  int32_t output_channels;
  int32_t in_channels;
  int32_t depth_multiplier;
  /** Minus the input's zero point, -127 .. 128. */
  int32_t input_offset;
  /** The output's zero point, -128 .. 127. */
  int32_t output_offset;
  int32_t activation_min;
  int32_t activation_max;
  /** Input channels that one filter spans: 1 for depthwise, else in_channels. */
  int32_t filter_channels;
  /** Weights of one output channel: kernel_h * kernel_w * filter_channels, at most
   * NK_STREAM_MAX_CHANNEL_WEIGHTS. */
  int32_t channel_weights;
  /** So many levels from level 0 on can be read in place: none is CODED, or has packed tables. */
  int32_t in_place_levels;
  /** The first `levels` are set. */
  nk_stream_level level[NK_STREAM_MAX_LEVELS];
} nk_stream;

/**
 * Parses the header and finds the level blocks, to the end of the data. The function checks that
 * header fields are in range, and that every array of every block lies inside its block and the
 * data. The function does not check checksums and table contents.
 *
 * A stream cut after any level block opens as a stream with fewer levels.
 *
 * - data: 4-byte aligned; size: its length in bytes, a multiple of 16.
 * - stream: receives the result; unspecified on error.
 *
 * Returns NK_OK; NK_ERROR_ARGUMENT for a null or misaligned pointer; NK_ERROR_FOREIGN,
 * NK_ERROR_VERSION, NK_ERROR_TRUNCATED or NK_ERROR_MALFORMED for data that is no valid stream.
 */
nk_status nk_stream_open(const uint8_t *data, size_t size, nk_stream *stream);

/**
 * Checks the parts that nk_stream_open() leaves unchecked: checksums, padding, reserved bytes and
 * the range of every multiplier and shift; counts must sum up to entries, no position may leave its
 * channel, codes must be complete and end with the last entry, nnz must equal the number of nonzero
 * weights, and the bias must fit into 32 bits, folded and unfolded. After NK_OK the kernels cannot
 * read or write outside the stream and the tensors, whatever the data holds. Reads the whole stream
 * once.
 *
 * - stream: filled by nk_stream_open().
 *
 * Returns NK_OK, NK_ERROR_ARGUMENT (null), NK_ERROR_CHECKSUM or NK_ERROR_MALFORMED.
 */
nk_status nk_stream_validate(const nk_stream *stream);

/**
 * The same for streams whose levels can all be read in place, for programs that link no code for
 * CODED levels and packed tables. Returns NK_ERROR_ARGUMENT for any other stream.
 */
nk_status nk_stream_validate_in_place(const nk_stream *stream);

/** Entries of a channel in a DELTA8, DELTA16 or CODED level. */
static inline int32_t nk_stream_count(const nk_stream_level *level, int32_t channel) {
  const uint32_t bit = (uint32_t)channel * (uint32_t)level->count_bits;
  // At least NK_STREAM_READ_AHEAD_BYTES follow the last count. Compilers make one load of this
  // where the target has unaligned loads.
  const uint8_t *at = level->counts + bit / 8;
  const uint32_t word =
      at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
  return (int32_t)(word >> bit % 8 & ((1u << level->count_bits) - 1));
}

#ifdef __cplusplus
}
#endif

#endif  // NK_STREAM_H_
