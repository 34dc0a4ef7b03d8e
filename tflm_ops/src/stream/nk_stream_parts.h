/**
 * Runs a stream as several, one after the other. A part is some neighbouring output channels of a
 * stream; its CODED levels are unpacked to records and its packed tables to EXACT ones, in scratch
 * memory, so that kernels read the part in place. The parts of a depthwise layer are one.
 */
#ifndef NK_STREAM_PARTS_H_
#define NK_STREAM_PARTS_H_

#include "../../include/nk_stream.h"
#include "nk_code.h"

/** The memory wanted for the channels of a part: a smaller one means more parts. */
#ifndef NK_PART_BYTES
#define NK_PART_BYTES 8192
#endif

/** Room for an nk_stream_parts on every target. */
#define NK_PARTS_BYTES 2560

/** The parts of a stream at a level, and the part at hand. */
typedef struct nk_stream_parts {
  const nk_stream *whole;
  int32_t level;
  /** The part: `stream.out_channels` channels, with the tables of `level` alone. */
  nk_stream stream;
  /** Its first channel. */
  int32_t first;
  /** Memory for its channels: their tables and records, and their share of a kernel's memory. */
  int64_t bytes;
  /** Per level: where the next channel begins. */
  const uint8_t *next[NK_STREAM_MAX_LEVELS];
  nk_code_reader readers[NK_STREAM_MAX_LEVELS];
  /** Scratch memory for the tables of the part, then for the records of its coded levels. */
  uint8_t *memory;
  /** The scratch memory behind, for a kernel. */
  uint8_t *rest;
} nk_stream_parts;

/** Bytes of scratch memory for the parts of a stream, equal on every target, without what a kernel
 * needs for a part of nk_stream_make_part(). */
int32_t nk_stream_parts_bytes(const nk_stream *stream);

/** The part of these bytes that does not depend on the channels of a part. */
int32_t nk_stream_parts_fixed_bytes(const nk_stream *stream, int32_t level);

/** Makes a part for which a kernel needs the least scratch memory: of one channel, without weights,
 * or of all channels if there is but one part. The part serves questions only. */
void nk_stream_make_part(const nk_stream *stream, nk_stream *part);

/**
 * Reads the codes of a level; `stream` becomes the part of nk_stream_make_part().
 *
 * - scratch: 4-byte aligned, nk_stream_parts_fixed_bytes() at least.
 */
nk_stream_parts *nk_stream_parts_open(const nk_stream *stream, int32_t level, void *scratch);

/** Starts before the first part; false if `bytes` are not enough for any part. */
bool nk_stream_parts_begin(nk_stream_parts *parts, int64_t bytes);

/** Goes to the next part; false behind the last. */
bool nk_stream_parts_next(nk_stream_parts *parts);

#endif  // NK_STREAM_PARTS_H_
