/** Makes the levels of a stream the lists of the tile routines. */
#include "nk_dsp_list.h"

#include "nk_target.h"

/** Words of an entry that multiplies. */
#define ENTRY_WORDS 3
/** Further words of a list: a FOLD and the last entry. */
#define END_WORDS 2
/** The routines load whole entries, also where an entry has only one word. */
#define READ_AHEAD_WORDS 2
/** A channel goes on in a new piece after this number of weights, or more, in the accumulators. */
#define PIECE_WEIGHTS (NK_DSP_SPAN - 3)

int32_t nk_dsp_list_bytes(const nk_stream *s, int32_t level) {
  int32_t entries = 0;
  uint32_t weights = 0;
  for (int32_t n = 0; n <= level; ++n) {
    entries += s->level[n].encoding != NK_ENCODING_EMPTY;
    weights += s->level[n].entries * (uint32_t)s->block_size;
  }
  // Each further piece adds an entry and a FOLD. Channels of w weights each have at most
  // sum(floor(w / piece)) further pieces, which is no more than floor(sum(w) / piece).
  const int32_t pieces = (int32_t)(weights / PIECE_WEIGHTS);
  const int32_t words = s->out_channels * (ENTRY_WORDS * entries + END_WORDS) +
                        (ENTRY_WORDS + 1) * pieces + READ_AHEAD_WORDS;
  return words * (int32_t)sizeof(uint32_t);
}

#if NK_USE_DSP

/** A level, read channel after channel. */
typedef struct reader {
  const nk_stream_level *level;
  const uint8_t *cursor;
  /** Addresses of the loop: for an even and an odd number of entries, for one, and to go on. */
  uint32_t by_parity[2], one, on;
  /** 1 where a pass takes two entries of the stream, and where the first pass may lack one. */
  int32_t twos, short_first;
  /** Masks of the first byte: the bits of the first entry's position, in blocks, and the bits of
   * the step to the first entry where the loop goes on. */
  int32_t position, step;
  /** Bytes of an entry of the stream, and log2 of its weights. */
  int32_t bytes, log2_weights;
  /** Weights that the accumulators still take, after add_pieces(). */
  int32_t room;
  /** Of all channels; -1 where each has its own number of entries. */
  int32_t entries;
} reader;

static NK_NOINLINE void open_reader(reader *r, const nk_stream_level *level, int32_t block_size,
                                    int32_t channel_weights, int32_t pairs) {
  const bool dense = level->encoding == NK_ENCODING_DENSE;
  const bool wide = level->encoding == NK_ENCODING_DELTA16;
  const bool single = !dense && !wide && block_size == 1;
  // Blocks of 1, 2, 4: the first three.
  const int32_t loop = dense ? NK_DSP_DENSE : wide ? NK_DSP_WIDE : NK_DSP_SINGLE + block_size / 2;
  const uint32_t *const routine = nk_dsp_routines[pairs - 1];
  r->level = level;
  r->cursor = dense ? (const uint8_t *)level->values : level->records;
  r->one = r->by_parity[0] = r->by_parity[1] = routine[loop];
  r->on = routine[loop + NK_DSP_ON];
  if (single) {
    r->by_parity[0] = routine[NK_DSP_SINGLE_EVEN];
    r->by_parity[1] = routine[NK_DSP_SINGLE_ODD];
  }
  r->twos = single || dense;
  r->short_first = dense;
  r->position = dense || wide ? 0 : 0xff;
  r->step = single && pairs >= 3 ? 0xff : 0;
  r->bytes = dense ? 1 : level->record_bytes;
  r->log2_weights = dense ? 0 : block_size / 2;
  r->entries = dense ? channel_weights : -1;
}

/** Adds an entry: the next `count` entries of the stream, the first at `position` of packed input.
 */
static inline uint32_t *add_entry(reader *r, uint32_t address, int32_t count, int32_t position,
                                  uint32_t *words) {
  const int32_t passes = count + r->short_first;
  words[0] = address;
  words[1] = (uint32_t)(passes >> r->twos | (passes & r->twos) << 8 | position << 16);
  words[2] = (uint32_t)(uintptr_t)r->cursor;
  r->cursor += count * r->bytes;
  return words + ENTRY_WORDS;
}

/** Adds the first entry of a level; the channel's packed input begins at `start`. */
static inline uint32_t *add_first(reader *r, int32_t count, int32_t start, uint32_t *words) {
  const uint32_t address = r->by_parity[count & 1];
  const int32_t position = (*r->cursor & r->position) << r->log2_weights;
  return add_entry(r, count == 1 ? r->one : address, count, start + position, words);
}

/** Adds entries of the stream that do not fit into the room of the accumulators. */
static NK_NOINLINE uint32_t *add_pieces(reader *r, const uint32_t *routine, int32_t count,
                                        int32_t start, int32_t room, uint32_t *words) {
  bool first = true;
  while (count > 0) {
    const int32_t piece = nk_min(count, room >> r->log2_weights);
    if (piece == 0) {
      *words++ = routine[NK_DSP_FOLD];
      room = NK_DSP_SPAN;
      continue;
    }
    words = first ? add_first(r, piece, start, words)
                  : add_entry(r, r->on, piece, (*r->cursor & r->step) << r->log2_weights, words);
    room -= piece << r->log2_weights;
    count -= piece;
    first = false;
  }
  r->room = room;
  return words;
}

static NK_NOINLINE uint32_t *end_sums(const uint32_t *routine, bool exact, uint32_t *words) {
  words[0] = routine[NK_DSP_FOLD];
  words[1] = routine[exact ? NK_DSP_EXACT : NK_DSP_SUMS];
  return words + END_WORDS;
}

void nk_dsp_list_make(const nk_stream *s, int32_t level, int32_t pairs, int32_t group,
                      int32_t channel_positions, nk_dsp_channel *channel, uint32_t *words) {
  const uint32_t *const routine = nk_dsp_routines[pairs - 1];
  const uint32_t requantize = routine[NK_DSP_REQUANTIZE];
  reader readers[NK_STREAM_MAX_LEVELS];
  reader *end = readers;
  for (int32_t n = 0; n <= level; ++n) {
    if (s->level[n].encoding != NK_ENCODING_EMPTY) {
      open_reader(end++, &s->level[n], s->block_size, s->channel_weights, pairs);
    }
  }
  const int32_t channels = s->out_channels;
  int32_t start = 0;
  for (int32_t o = 0; o < channels; ++o, ++channel) {
    if (channel_positions != 0) {
      start = o / s->depth_multiplier % group * channel_positions;
    }
    int32_t room = NK_DSP_SPAN;
    bool sums = channel->exact;
    channel->list = words;
    for (reader *r = readers; r < end; ++r) {
      const int32_t count = r->entries < 0 ? nk_stream_count(r->level, o) : r->entries;
      if (count == 0) {
        continue;
      }
      const int32_t weights = count << r->log2_weights;
      if (weights <= room) {
        words = add_first(r, count, start, words);
        room -= weights;
      } else {
        words = add_pieces(r, routine, count, start, room, words);
        room = r->room;
        sums = true;
      }
    }
    if (sums) {
      words = end_sums(routine, channel->exact, words);
    } else {
      *words++ = requantize;
    }
  }
}

#endif  // NK_USE_DSP
