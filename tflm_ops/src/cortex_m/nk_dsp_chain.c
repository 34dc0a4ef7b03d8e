/** Makes chain lists: sorts the channels of a convolution and joins their levels. */
#include "nk_dsp_chain.h"

#include <string.h>

#include "nk_simd.h"
#include "nk_target.h"

#if NK_USE_DSP

/** Words of a chain list: its start, an entry with weights (two more if it is long), its stop. */
#define CHAIN_START_WORDS 2
#define CHAIN_WORDS 6
#define CHAIN_STOP_WORDS 3
/** Sorts the channels by their steps; the first are those without weights. */
#define CHAIN_PLACES (2 + NK_DSP_SPAN / 2)
/** Offsets of packed input and places of entries have 16 bits. */
#define CHAIN_MOST_POSITIONS 4096
#define CHAIN_MOST_CHANNELS 8000
/** Chains pay from so many runs of a channel on a tile on. Tests set 0, to run all chains. */
#ifndef CHAIN_LEAST_RUNS
#define CHAIN_LEAST_RUNS 300
#endif
/** Chains of one level pay up to so many weights a channel. Tests set more. */
#ifndef CHAIN_MOST_MEAN
#define CHAIN_MOST_MEAN 24
#endif
/** The chain takes deltas of up to 7 bits and a sign. */
#define CHAIN_LARGE_DELTAS 128

/** The levels that store weights. */
typedef struct chain_levels {
  int32_t count;
  int32_t weights;
  const nk_stream_level *level[NK_STREAM_MAX_LEVELS];
  /** The records of the next channel. */
  const uint16_t *records[NK_STREAM_MAX_LEVELS];
} chain_levels;

/** Whether a record has a delta that the chain cannot take. */
static NK_NOINLINE bool has_large_deltas(const chain_levels *levels) {
  uint32_t seen = 0;
  for (int32_t n = 0; n < levels->count; ++n) {
    const uint8_t *at = (const uint8_t *)levels->records[n];
    const uint8_t *const end = at + 2 * levels->level[n]->entries;
    for (; end - at >= 16; at += 16) {
      seen |=
          nk_load_word(at) | nk_load_word(at + 4) | nk_load_word(at + 8) | nk_load_word(at + 12);
    }
    for (; at < end; at += 2) {
      seen |= at[0];
    }
  }
  return (seen & (CHAIN_LARGE_DELTAS | CHAIN_LARGE_DELTAS << 16)) != 0;
}

/** Opens the levels; returns whether a chain list can serve the layer. */
static bool open_chain_levels(const nk_stream *s, int32_t level, chain_levels *levels) {
  if (s->kind != NK_KIND_CONV || s->block_size != 1 || s->channel_weights > CHAIN_MOST_POSITIONS ||
      s->out_channels > CHAIN_MOST_CHANNELS) {
    return false;
  }
  levels->count = 0;
  levels->weights = 0;
  for (int32_t n = 0; n <= level; ++n) {
    const nk_stream_level *const from = &s->level[n];
    if (from->encoding == NK_ENCODING_EMPTY) {
      continue;
    }
    if (from->encoding != NK_ENCODING_DELTA8) {
      return false;
    }
    levels->level[levels->count] = from;
    levels->records[levels->count] = (const uint16_t *)(const void *)from->records;
    levels->weights += (int32_t)from->entries;
    ++levels->count;
  }
  return levels->count > 0;
}

/** The place of a channel of so many weights among the sorted channels. */
static inline int32_t chain_place(int32_t weights) { return weights == 0 ? 0 : 1 + weights / 2; }

/** Words of an entry at a place. */
static inline int32_t chain_words(int32_t place) {
  return place == 0 ? 1 : CHAIN_WORDS + (place > 1 + NK_DSP_CHAIN_STEPS) * 2;
}

/** Whether chains take less time than loops. A list takes some 1,000 cycles to begin, and saves 5
 * to 8 for each channel of a tile. One level: a channel of more weights than the chain has steps
 * runs the chain again. Several levels: joining them takes about 4 cycles a weight and 150 a
 * channel, and saves 30 for each channel of a tile. */
static bool pays(const chain_levels *levels, const nk_dsp_conv *c) {
  const int32_t channels = c->out_channels;
  const int32_t tiles = c->batches * c->output_h * (c->output_w / (2 * NK_DSP_MAX_PAIRS));
  if (tiles * channels < CHAIN_LEAST_RUNS) {
    return false;
  }
  const int32_t most = levels->count == 1 ? CHAIN_MOST_MEAN : 8 * tiles - 40;
  return levels->weights <= most * channels;
}

/** Adds up the weights of each channel; returns whether no channel has too many. */
static bool add_up(const chain_levels *levels, int32_t channels, uint8_t *weights) {
  for (int32_t o = 0; o < channels; ++o) {
    int32_t sum = 0;
    for (int32_t n = 0; n < levels->count; ++n) {
      sum += nk_stream_count(levels->level[n], o);
    }
    if (sum > NK_DSP_SPAN) {
      return false;
    }
    weights[o] = (uint8_t)sum;
  }
  return true;
}

/** Finds where the entries of each place begin, in words. Returns the words of the list, without
 * joined records. */
static int32_t place_chains(const uint8_t *weights, int32_t channels, uint16_t *places) {
  memset(places, 0, CHAIN_PLACES * sizeof(*places));
  for (int32_t o = 0; o < channels; ++o) {
    ++places[chain_place(weights[o])];
  }
  int32_t at = CHAIN_START_WORDS;
  for (int32_t i = 0; i < CHAIN_PLACES; ++i) {
    const int32_t count = places[i];
    places[i] = (uint16_t)at;
    at += count * chain_words(i);
  }
  return at + CHAIN_STOP_WORDS;
}

/** Appends the records of a level in their order to those at `to`, which end at position *at.
 * Returns the step to the first. */
static int32_t append(const uint16_t *from, const uint16_t *end, int32_t *at, uint16_t *to) {
  int32_t position = *(const uint8_t *)from;
  const int32_t step = position - *at;
  *to++ = (uint16_t)((*from++ & 0xff00) | (uint8_t)step);
  for (; end - from >= 2; from += 2, to += 2) {
    const uint32_t two = nk_load_word(from);
    nk_store_word(to, two);
    position += (int32_t)((two & 0xff) + (two >> 16 & 0xff));
  }
  if (from < end) {
    position += *(const uint8_t *)from;
    *to = *from;
  }
  *at = position;
  return step;
}

/** The same in reverse order. */
static int32_t append_reverse(const uint16_t *from, const uint16_t *end, int32_t *at,
                              uint16_t *to) {
  to += end - from;
  uint32_t record = *from++;
  const int32_t first = (int32_t)(record & 0xff);
  int32_t position = first;
  while (from < end) {
    const uint32_t next = *from++;
    const int32_t delta = (int32_t)(next & 0xff);
    *--to = (uint16_t)((record & 0xff00) | (uint8_t)-delta);
    position += delta;
    record = next;
  }
  const int32_t step = position - *at;
  *--to = (uint16_t)((record & 0xff00) | (uint8_t)step);
  *at = first;
  return step;
}

/** Joins the records of channel o at `to`. In long channels every second level is in reverse order,
 * so that the steps from level to level are small. Returns whether the chain can take the steps. */
static bool join(chain_levels *levels, int32_t o, bool is_long, uint16_t *to) {
  int32_t at = 0;
  bool is_reverse = false;
  for (int32_t n = 0; n < levels->count; ++n) {
    const uint16_t *const from = levels->records[n];
    const uint16_t *const end = from + nk_stream_count(levels->level[n], o);
    levels->records[n] = end;
    if (from == end) {
      continue;
    }
    const int32_t step =
        is_reverse ? append_reverse(from, end, &at, to) : append(from, end, &at, to);
    if (!nk_in_range(step, INT8_MIN, INT8_MAX)) {
      return false;
    }
    to += end - from;
    is_reverse = is_long && !is_reverse;
  }
  return true;
}

/** Fills in an entry of weights; returns the place for the channel's constants. */
static inline uint32_t *add_chain(const uint8_t *records, int32_t count, uint32_t *words) {
  const uint32_t *const routine = nk_dsp_chain_routines;
  const int32_t steps = count / 2;
  // An even number of weights has a weight of 0 before.
  const bool is_odd = count % 2 != 0;
  words[1] = is_odd ? records[1] | (uint32_t)records[2] << 8 | (uint32_t)records[0] << 20
                    : (uint32_t)records[0] << 8;
  const int32_t passes = nk_max(steps - 1, 0) / NK_DSP_CHAIN_STEPS;
  const int32_t first = steps - passes * NK_DSP_CHAIN_STEPS;
  const uint32_t address =
      steps == 0 ? routine[NK_DSP_CHAIN_LAST]
                 : routine[NK_DSP_CHAIN_END] - (uint32_t)first * routine[NK_DSP_CHAIN_STEP_BYTES];
  words[0] = address;
  words[2] =
      (uint32_t)(uintptr_t)records + (uint32_t)(2 * is_odd - 4 * (NK_DSP_CHAIN_STEPS - first));
  if (passes == 0) {
    return words + 3;
  }
  words[0] = routine[NK_DSP_CHAIN_LONG];
  words[3] = NK_DSP_CHAIN_HI_START - ((uint32_t)passes << 24);
  words[4] = address;
  return words + 5;
}

/** A chain list in the making. */
typedef struct chain_list {
  const nk_stream *stream;
  int32_t level;
  chain_levels levels;
  uint32_t *words;
  /** Where the next joined records go. */
  uint16_t *room;
  /** Of each channel, in all levels. */
  const uint8_t *weights;
  /** Where the next entry of each place goes. */
  uint16_t places[CHAIN_PLACES];
} chain_list;

/** Adds the entries of all channels at their places; returns whether every channel allows it. */
static bool add_chains(chain_list *list) {
  const nk_stream *const s = list->stream;
  const nk_stream_level *const tables = &s->level[list->level];
  const nk_output_stage stage = {s->output_offset, s->activation_min, s->activation_max};
  const int32_t largest_bias = nk_dsp_largest_bias(&stage, s->channel_weights);
  const bool is_long = s->channel_weights > CHAIN_LARGE_DELTAS;
  const bool joins = list->levels.count > 1;
  const uint8_t *records = (const uint8_t *)list->levels.records[0];
  for (int32_t o = 0; o < s->out_channels; ++o) {
    const int32_t bias = tables->bias[o];
    const int32_t multiplier = tables->multiplier[o];
    const int32_t shift = tables->shift[o];
    const int32_t count = list->weights[o];
    const int32_t place = chain_place(count);
    uint32_t *entry = list->words + list->places[place];
    list->places[place] = (uint16_t)(list->places[place] + chain_words(place));
    if (count == 0) {
      *entry = (uint32_t)o << 8 | (uint8_t)nk_requantize(bias, multiplier, shift, &stage);
      continue;
    }
    if (!nk_dsp_is_short(largest_bias, bias, multiplier, shift)) {
      return false;
    }
    if (joins) {
      records = (const uint8_t *)list->room;
      list->room += count;
      if (!join(&list->levels, o, is_long, list->room - count)) {
        return false;
      }
    }
    entry = add_chain(records, count, entry);
    records += 2 * count;
    entry[0] = (uint32_t)(2 * bias - (1 << 23));
    entry[1] = (uint32_t)multiplier;
    entry[2] = (uint32_t)o << 16 | (uint32_t)-shift;
  }
  return true;
}

bool nk_dsp_chain_make(const nk_dsp_conv *c) {
  const nk_stream *const s = c->stream;
  const int32_t level = c->level;
  uint32_t *const words = c->list;
  chain_list list;
  if (!open_chain_levels(s, level, &list.levels)) {
    return false;
  }
  // A list that joins nothing leaves at least so much of its memory free.
  uint8_t *const weights = (uint8_t *)words + c->list_bytes - s->out_channels;
  if (!pays(&list.levels, c) || !add_up(&list.levels, s->out_channels, weights)) {
    return false;
  }
  const int32_t end = place_chains(weights, s->out_channels, list.places);
  if (list.levels.count > 1 && (uint8_t *)(words + end) + 2 * list.levels.weights >= weights) {
    return false;
  }
  if (s->channel_weights > CHAIN_LARGE_DELTAS && has_large_deltas(&list.levels)) {
    return false;
  }
  words[0] = nk_dsp_chain_routines[NK_DSP_CHAIN_START];
  words[1] = (uint32_t)(list.places[1] - CHAIN_START_WORDS);
  words[end - CHAIN_STOP_WORDS] = nk_dsp_chain_routines[NK_DSP_CHAIN_STOP];
  words[end - CHAIN_STOP_WORDS + 1] = 0;
  list.stream = s;
  list.level = level;
  list.words = words;
  list.room = (uint16_t *)(void *)(words + end);
  list.weights = weights;
  return add_chains(&list);
}

#endif  // NK_USE_DSP
