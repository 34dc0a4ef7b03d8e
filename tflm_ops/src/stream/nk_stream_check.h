/** The check of a stream, apart from what only CODED levels and packed tables need. */
#ifndef NK_STREAM_CHECK_H_
#define NK_STREAM_CHECK_H_

#include "../../include/nk_stream.h"
#include "nk_code.h"

/** The check of CODED levels and packed tables. */
typedef struct nk_coded_check nk_coded_check;
struct nk_coded_check {
  /** Whether the bits behind packed tables are zero. */
  bool (*tables_end_in_zeros)(const nk_stream_level *level, uint64_t channels, const uint8_t *end);
  /** Whether the bits behind the counts, behind the code lengths and behind the codes are zero. */
  bool (*codes_end_in_zeros)(const nk_stream_level *level, uint64_t count_bits,
                             const uint8_t *block_end);
  /** Sets the packed tables of a channel; false if the bias does not fit into 32 bits. */
  bool (*read_tables)(const nk_stream_level *level, int32_t channel, nk_channel_tables *tables);
  /** Goes before the first entries; false where a code is not complete. */
  bool (*open_codes)(const nk_coded_check *check, const nk_stream *stream);
  /** Decodes the weights of the next entry of a level. Returns its delta in a place that is not the
   * first of a channel, or -1 where its codes leave the level. */
  int32_t (*decode_entry)(const nk_coded_check *check, const nk_stream *stream,
                          const nk_stream_level *level, int8_t *weights);
  /** Whether the entries so far end a level, whose last words go on with zeros. */
  bool (*codes_end)(const nk_coded_check *check, const nk_stream *stream,
                    const nk_stream_level *level);
};

/** Validates a stream. coded: NULL for a stream that can be read in place. */
nk_status nk_stream_check(const nk_stream *stream, const nk_coded_check *coded);

/** Whether all bits from bit `bits` of `begin` up to `end` are zero; the lowest bit is first. */
bool nk_stream_ends_in_zeros(const uint8_t *begin, uint64_t bits, const void *end);

#endif  // NK_STREAM_CHECK_H_
