/** Makes the levels of a stream the lists of the tile routines. */
#include "nk_dsp_list.h"

#include "nk_dsp_conv.h"
#include "nk_target.h"

/** Words of an entry that multiplies. */
#define ENTRY_WORDS 3
/** Further words of a channel: a FOLD, and the entry that requantises. */
#define END_WORDS 7
/** The STOP; the routines load entries of three words, also where an entry has only one. */
#define STOP_WORDS 3
/** A channel goes on in a new piece after this number of weights, or more, in the accumulators. */
#define PIECE_WEIGHTS (NK_DSP_SPAN - 3)

int32_t nk_dsp_list_channel_bytes(const nk_stream *s, int32_t level) {
  int32_t entries = 0;
  for (int32_t n = 0; n <= level; ++n) {
    entries += s->level[n].encoding != NK_ENCODING_EMPTY;
  }
  return (ENTRY_WORDS * entries + END_WORDS) * (int32_t)sizeof(uint32_t);
}

int32_t nk_dsp_list_bytes(const nk_stream *s, int32_t level) {
  uint32_t weights = 0;
  for (int32_t n = 0; n <= level; ++n) {
    weights += s->level[n].entries * (uint32_t)s->block_size;
  }
  // Each further piece adds an entry and a FOLD. Channels of w weights each have at most
  // sum(floor(w / piece)) further pieces, which is no more than floor(sum(w) / piece).
  const int32_t pieces = (int32_t)(weights / PIECE_WEIGHTS);
  const int32_t words = (ENTRY_WORDS + 1) * pieces + STOP_WORDS;
  return s->out_channels * nk_dsp_list_channel_bytes(s, level) + words * (int32_t)sizeof(uint32_t);
}

#if NK_USE_DSP

/** A level, read channel after channel. Small, because a reader for every level is on the stack. */
typedef struct reader {
  const nk_stream_level *level;
  const uint8_t *cursor;
  /** Addresses of the loop: for an even and an odd number of entries, for one, and to go on. */
  uint32_t by_parity[2], one, on;
  /** Bytes to the next copy of the loop; 0 if there is none. */
  uint32_t copy;
  /** Weights that the accumulators still take, after add_pieces(). */
  int32_t room;
  /** Of all channels; -1 where each has its own number of entries. */
  int32_t entries;
  /** 1 where a pass takes two entries of the stream, and where the first pass may lack one. */
  uint8_t twos, short_first;
  /** Masks of the first byte: the bits of the first entry's position, in blocks, and the bits of
   * the step to the first entry where the loop goes on. */
  uint8_t position, step;
  /** Bytes of an entry of the stream, and log2 of its weights. */
  uint8_t bytes, log2_weights;
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
  r->copy = single ? routine[NK_DSP_COPY] : 0;
  r->twos = single || dense;
  r->short_first = dense;
  r->position = dense || wide ? 0 : 0xff;
  r->step = single && pairs >= 3 ? 0xff : 0;
  r->bytes = dense ? 1 : (uint8_t)level->record_bytes;
  r->log2_weights = dense ? 0 : (uint8_t)(block_size / 2);
  r->entries = dense ? channel_weights : -1;
}

/** Entries of channel o. */
static inline int32_t entries_of(const reader *r, int32_t o) {
  return r->entries < 0 ? nk_stream_count(r->level, o) : r->entries;
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

/** How the outputs of a level are requantised. */
typedef struct ending {
  const nk_stream_level *tables;
  const uint32_t *routine;
  nk_output_stage stage;
  int32_t largest_bias;
} ending;

/** Adds the entry that requantises channel o. `folded`: whether pieces of it lie in memory. */
static inline uint32_t *add_end(const ending *e, int32_t o, bool folded, bool has_weights,
                                uint32_t *words) {
  const int32_t bias = e->tables->bias[o];
  const int32_t multiplier = e->tables->multiplier[o];
  const int32_t shift = e->tables->shift[o];
  const bool is_short = nk_dsp_is_short(e->largest_bias, bias, multiplier, shift);
  const int32_t number = !has_weights ? NK_DSP_CONSTANT
                         : !is_short  ? NK_DSP_EXACT
                         : folded     ? NK_DSP_SUMS
                                      : NK_DSP_REQUANTIZE;
  if (number == NK_DSP_EXACT || folded) {
    *words++ = e->routine[NK_DSP_FOLD];
  }
  *words++ = e->routine[number];
  nk_dsp_channel *const channel = (nk_dsp_channel *)words;
  if (!has_weights) {
    *channel = (nk_dsp_channel){nk_requantize(bias, multiplier, shift, &e->stage), 0, 0, 0, 0};
  } else if (is_short) {
    nk_dsp_set_channel(channel, e->stage.offset, bias, multiplier, shift);
  } else {
    *channel = (nk_dsp_channel){bias, 0, multiplier, 0, -shift & 0xff};
  }
  return words + sizeof(*channel) / sizeof(*words);
}

/** Opens the levels that store weights, at a channel; returns the end of the readers. */
static reader *open_readers(reader *r, const nk_stream *s, int32_t level, int32_t pairs,
                            int32_t channel) {
  for (int32_t n = 0; n <= level; ++n) {
    if (s->level[n].encoding != NK_ENCODING_EMPTY) {
      open_reader(r, &s->level[n], s->block_size, s->channel_weights, pairs);
      for (int32_t o = 0; o < channel; ++o) {
        r->cursor += entries_of(r, o) * r->bytes;
      }
      ++r;
    }
  }
  return r;
}

void nk_dsp_list_make(const nk_stream *s, int32_t level, int32_t pairs,
                      const nk_dsp_list_channels *channels, uint32_t *words) {
  const uint32_t *const routine = nk_dsp_routines[pairs - 1];
  const nk_output_stage stage = {s->output_offset, s->activation_min, s->activation_max};
  const ending end = {&s->level[level], routine, stage,
                      nk_dsp_largest_bias(&stage, s->channel_weights)};
  reader readers[NK_STREAM_MAX_LEVELS];
  reader *const readers_end = open_readers(readers, s, level, pairs, channels->first);
  int32_t start = 0;
  int32_t same_input = s->depth_multiplier;
  for (int32_t o = channels->first; o < channels->first + channels->count; ++o) {
    int32_t room = NK_DSP_SPAN;
    bool folded = false;
    uint32_t *const first = words;
    uint32_t *last = words;
    uint32_t copies = 0;
    for (reader *r = readers; r < readers_end; ++r) {
      const int32_t count = entries_of(r, o);
      if (count == 0) {
        continue;
      }
      const int32_t weights = count << r->log2_weights;
      if (weights <= room) {
        last = words;
        words = add_first(r, count, start, words);
        room -= weights;
        copies = r->copy;
        if (last > first) {
          *last += copies;
        } else {
          copies *= 2;
        }
      } else {
        words = add_pieces(r, routine, count, start, room, words);
        room = r->room;
        folded = true;
      }
    }
    uint32_t *const end_words = words;
    words = add_end(&end, o, folded, words > first, words);
    if (*end_words == routine[NK_DSP_REQUANTIZE]) {
      *last += copies;  // nothing where `last` is this entry itself
    }
    if (--same_input == 0) {
      start += channels->input_positions;
      same_input = s->depth_multiplier;
    }
  }
  *words = routine[NK_DSP_STOP];
}

#endif  // NK_USE_DSP
