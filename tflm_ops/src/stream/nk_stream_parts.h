/**
 * Brings a stream into the forms that kernels read in place. A part is some neighbouring output
 * channels of a stream; its CODED levels are unpacked to records and its packed tables to EXACT
 * ones, in scratch memory. A kernel runs one part after the other.
 */
#ifndef NK_STREAM_PARTS_H_
#define NK_STREAM_PARTS_H_

#include "../../include/nk_stream.h"
#include "nk_code.h"

/** Records and tables of a part; a part has more where eight channels need more. */
#ifndef NK_PART_BYTES
#define NK_PART_BYTES 8192
#endif

/** Room for an nk_stream_parts on every target. */
#define NK_PARTS_BYTES 2560

/** The parts of a stream at a level, and the part at hand. */
typedef struct nk_stream_parts {
  const nk_stream *whole;
  int32_t level;
  /** The part: a stream of `stream.out_channels` channels, with the tables of `level` alone. */
  nk_stream stream;
  /** Its first channel. */
  int32_t first;
  /** Per level: where the next channel begins. */
  const uint8_t *next[NK_STREAM_MAX_LEVELS];
  nk_code_reader readers[NK_STREAM_MAX_LEVELS];
  /** Per coded level: entries of the part. */
  int32_t entries[NK_STREAM_MAX_LEVELS];
  /** Scratch memory for the tables of the part, then for the records of its coded levels. */
  uint8_t *memory;
} nk_stream_parts;

/** Bytes of scratch memory for the parts of a stream, equal on every target; 0 where all levels and
 * tables can be read in place. */
int32_t nk_stream_parts_bytes(const nk_stream *stream);

/**
 * Starts before the first part.
 *
 * - scratch: 4-byte aligned, nk_stream_parts_bytes(); a kernel's own scratch memory lies behind.
 */
nk_stream_parts *nk_stream_parts_open(const nk_stream *stream, int32_t level, void *scratch);

/** Goes to the next part; false behind the last. */
bool nk_stream_parts_next(nk_stream_parts *parts);

#endif  // NK_STREAM_PARTS_H_
