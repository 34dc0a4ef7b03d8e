/**
 * Runs the tiles of a convolution (docs/kernels.md). A column of tiles goes down the image: a tile
 * keeps the packed rows that its window shares with the tile above and packs only the new ones.
 * The packed input has the order of the filter, so that a stream's positions serve every image
 * size:
 *
 *     convolution  [row][filter column][channel]  words of a tile
 *     depthwise    [channel][row][filter column]  words of a tile
 */
#include "nk_dsp_conv.h"

#include <string.h>

#include "nk_dsp_list.h"
#include "nk_target.h"

// On the target, so that every computer plans the same memory for the target.
#define POINTER_BYTES 4
/** Packed input that a group of depthwise channels may take. */
#define GROUP_BYTES 4096
/** Fewer weights a channel and level: even tiles, or a repeated tile in place of one of 1 or 2
 * pixels. */
#define FEW_FOR_EVEN 96
#define FEW_FOR_REPEAT 30
/** A dense loop reads so far past the packed input. */
#define READ_AHEAD_BYTES 16

/** log2 of the bytes per packed position, for 1..4 pairs. */
static const uint8_t LOG2_WORDS[NK_DSP_MAX_PAIRS] = {2, 3, 4, 4};

static int32_t pairs_of(int32_t pixels) { return (nk_min(pixels, 2 * NK_DSP_MAX_PAIRS) + 1) / 2; }

/** Windows that are single pixels side by side make one long row. */
static void flatten(nk_dsp_conv *c) {
  if (c->kernel_h == 1 && c->kernel_w == 1 && c->stride_h == 1 && c->stride_w == 1 &&
      c->pad_top == 0 && c->pad_left == 0 && c->input_h == c->output_h &&
      c->input_w == c->output_w) {
    c->input_w = c->output_w = c->batches * c->output_h * c->output_w;
    c->batches = c->input_h = c->output_h = 1;
  }
}

/** Rows that a window shares with the window below. */
static int32_t kept_rows(const nk_dsp_conv *c) { return nk_max(c->kernel_h - c->stride_h, 0); }

/** Input columns under a row of a tile. */
static int32_t columns_of(const nk_dsp_conv *c, int32_t pairs) {
  return (2 * pairs - 1) * c->stride_w + c->kernel_w;
}

/** Strides of the packed input for tiles of `pairs`. */
static void set_steps(nk_dsp_conv *c, int32_t pairs) {
  const int32_t words = 1 << LOG2_WORDS[pairs - 1];
  c->column_step = c->depth_multiplier == 0 ? c->in_channels * words : words;
  c->row_step = c->kernel_w * c->column_step;
  c->channel_step = c->depth_multiplier == 0 ? words : c->capacity * c->row_step;
}

/** Returns the next `bytes`, rounded up to 4, of a scratch buffer; NULL where there is none. */
static void *take(uint8_t *scratch, int32_t *used, int32_t bytes) {
  void *taken = scratch == NULL ? NULL : scratch + *used;
  *used += (bytes + 3) / 4 * 4;
  return taken;
}

int32_t nk_dsp_conv_lay_out(nk_dsp_conv *c, uint8_t *scratch) {
  flatten(c);
  const int32_t pairs = pairs_of(c->output_w);
  const bool depthwise = c->depth_multiplier != 0;
  // The rows that a window keeps move when the room below is used up: the more room, the rarer.
  const int32_t room = nk_min((depthwise ? 2 : 1) * kept_rows(c), (c->output_h - 1) * c->stride_h);
  c->capacity = c->kernel_h + room;
  set_steps(c, pairs);
  c->group = c->in_channels;
  int32_t packed = c->capacity * c->row_step;
  if (depthwise) {
    c->group = nk_clamp(GROUP_BYTES / c->channel_step, 1, c->in_channels);
    packed = c->group * c->channel_step;
  }
  int32_t used = 0;
  c->packed = take(scratch, &used, packed + READ_AHEAD_BYTES);
  c->pixels = take(scratch, &used, columns_of(c, pairs) * POINTER_BYTES);
  int8_t *zero = take(scratch, &used, c->group);
  c->list_bytes = nk_dsp_list_bytes(c->stream, c->level);
  c->list = take(scratch, &used, c->list_bytes);
  if (scratch != NULL) {
    memset(zero, -c->input_offset, (size_t)c->group);
  }
  c->zero = zero;
  return used;
}

#if NK_USE_DSP

_Static_assert(sizeof(void *) == POINTER_BYTES, "size on the target");

typedef void tile_function(const nk_dsp_tile *tile);
typedef void pack_function(const int8_t *const *pixels, void *words, int32_t channels,
                           int32_t step);
static tile_function *const TILE[] = {nk_dsp_tile_1, nk_dsp_tile_2, nk_dsp_tile_3, nk_dsp_tile_4};
static pack_function *const PACK[] = {nk_dsp_pack_1, nk_dsp_pack_2, nk_dsp_pack_3, nk_dsp_pack_4};

void nk_dsp_requantize_exact(const nk_dsp_tile *tile, const nk_dsp_channel *channel, int32_t *sums,
                             int8_t *output) {
  const int32_t shift = -(int8_t)channel->shift;
  const int32_t left = nk_max(shift, 0);
  const int32_t right = nk_max(-shift, 0);
  const int32_t bias = channel->even;
  const int32_t multiplier = channel->multiplier;
  const nk_output_stage stage = tile->stage;
  const int32_t step = tile->step;
  int32_t *const end = sums + tile->pixels;
  for (; sums < end; ++sums, output += step) {
    const int32_t acc = nk_wrapping_shift_left(nk_wrapping_add(*sums, bias), left);
    const int32_t scaled = nk_rounding_divide_by_pot(nk_doubling_high_mul(acc, multiplier), right);
    *sums = 0;
    *output = (int8_t)nk_clamp(nk_wrapping_add(scaled, stage.offset), stage.min, stage.max);
  }
  if (tile->pixels % 2 != 0) {
    *sums = 0;  // of the surplus pixel
  }
}

/** Points c->pixels at the input under one row of a tile, from column x on. */
static void find_pixels(const nk_dsp_conv *c, const int8_t *image, int32_t y, int32_t x,
                        int32_t pairs) {
  const int8_t *const zero = c->zero;
  const int8_t **pixels = c->pixels;
  const int32_t channels = c->in_channels;
  const int32_t end = x + columns_of(c, pairs);
  const bool inside = nk_in_range(y, 0, c->input_h - 1);
  for (; x < nk_min(end, 0); ++x) {
    *pixels++ = zero;
  }
  if (inside && x < c->input_w) {
    const int8_t *at = image + (y * c->input_w + x) * channels;
    for (; x < nk_min(end, c->input_w); ++x, at += channels) {
      *pixels++ = at;
    }
  }
  for (; x < end; ++x) {
    *pixels++ = zero;
  }
}

/** Whether nk_dsp_pack_threes() can pack under a tile whose first window starts at column x. */
static inline bool packs_threes(const nk_dsp_conv *c, int32_t x, int32_t pairs) {
  return c->kernel_w == 3 && c->stride_w == 1 && pairs == NK_DSP_MAX_PAIRS &&
         c->depth_multiplier == 0 && x >= -1 && x + 9 <= c->input_w;
}

/** Packs a row with nk_dsp_pack_threes(). */
static void pack_threes(const nk_dsp_conv *c, const int8_t *image, int32_t y, int32_t x,
                        uint8_t *words) {
  const int32_t channels = c->in_channels;
  const int8_t *pixels[] = {c->zero, c->zero, c->zero};
  int32_t distance = 0;
  if (nk_in_range(y, 0, c->input_h - 1)) {
    distance = channels;
    pixels[1] = image + (y * c->input_w + x + 1) * channels;
    if (x >= 0) {
      pixels[0] = pixels[1] - channels;
    }
    if (x + 9 < c->input_w) {
      pixels[2] = pixels[1] + 8 * channels;
    }
  }
  nk_dsp_pack_threes(pixels, words, channels, distance);
}

/** Packs one row of input under the windows of a tile; the first window starts at column x. */
static void pack_row(const nk_dsp_conv *c, const int8_t *image, int32_t y, int32_t x, int32_t pairs,
                     uint8_t *words) {
  if (packs_threes(c, x, pairs)) {
    pack_threes(c, image, y, x, words);
    return;
  }
  find_pixels(c, image, y, x, pairs);
  const int8_t **pixels = c->pixels;
  for (int32_t kx = 0; kx < c->kernel_w; ++kx, ++pixels, words += c->column_step) {
    if (c->stride_w != 1) {
      const int8_t *under[2 * NK_DSP_MAX_PAIRS];
      for (int32_t i = 0; i < 2 * pairs; ++i) {
        under[i] = pixels[i * c->stride_w];
      }
      PACK[pairs - 1](under, words, c->present, c->channel_step);
    } else if (pairs == 4 && kx >= 2) {
      nk_dsp_pack_4_shifted(pixels + 6, words, c->present, c->channel_step,
                            words - 2 * c->column_step);
    } else {
      PACK[pairs - 1](pixels, words, c->present, c->channel_step);
    }
  }
}

/**
 * Packs the missing rows under output row y. `first` is the packed row at the top of the window
 * above. Returns the packed row at the top of this window.
 */
static int32_t slide(nk_dsp_conv *c, const int8_t *image, int32_t y, int32_t x, int32_t pairs,
                     int32_t first) {
  const int32_t kept = y > 0 ? kept_rows(c) : 0;
  if (kept == 0) {
    first = 0;
  } else if (first + c->stride_h + c->kernel_h <= c->capacity) {
    first += c->stride_h;
  } else {
    nk_dsp_move_up(c->packed, (first + c->stride_h) * c->row_step, kept * c->row_step,
                   c->depth_multiplier == 0 ? 1 : c->present, c->channel_step);
    first = 0;
  }
  for (int32_t ky = kept; ky < c->kernel_h; ++ky) {
    pack_row(c, image, y * c->stride_h - c->pad_top + ky, x, pairs,
             c->packed + (first + ky) * c->row_step);
  }
  return first;
}

/** Runs a tile, whose outputs are side by side in the image. */
static void run_tile(const nk_dsp_conv *c, nk_dsp_tile *tile, int32_t pairs) {
  if (c->sink == NULL) {
    TILE[pairs - 1](tile);
    return;
  }
  int8_t *output = tile->output;
  tile->output = c->sink->tile;
  TILE[pairs - 1](tile);
  tile->output = output;
  c->sink->take(c->sink, output, tile->pixels);
}

/** A column of tiles, `pixels` wide from output column x, for the output channels of `tile`. */
static void run_column(nk_dsp_conv *c, nk_dsp_tile *tile, const int8_t *image, int32_t x,
                       int32_t pixels) {
  const int32_t pairs = (pixels + 1) / 2;
  set_steps(c, pairs);
  tile->last = (pixels - 1) * c->output_step;
  tile->shift = LOG2_WORDS[pairs - 1] + c->stream->block_size / 2;
  tile->pixels = pixels;
  if (pairs != c->list_pairs) {
    if (c->make_chain == NULL || pairs < NK_DSP_MAX_PAIRS || !c->make_chain(c)) {
      const int32_t multiplier = nk_max(c->depth_multiplier, 1);
      const nk_dsp_list_channels channels = {
          .first = c->first * multiplier,
          .count = c->depth_multiplier == 0 ? c->out_channels : c->present * multiplier,
          .input_positions = c->depth_multiplier == 0 ? 0 : c->capacity * c->kernel_w,
      };
      nk_dsp_list_make(c->stream, c->level, pairs, &channels, c->list);
    }
    c->list_pairs = pairs;
  }
  int32_t first = 0;
  for (int32_t y = 0; y < c->output_h; ++y) {
    first = slide(c, image, y, x * c->stride_w - c->pad_left, pairs, first);
    tile->input = c->packed + first * c->row_step;
    run_tile(c, tile, pairs);
    tile->output += c->output_w * c->output_step;
  }
}

/** The weights of a channel and level, on average. */
static int32_t mean_weights(const nk_dsp_conv *c) {
  int32_t weights = 0;
  int32_t levels = 0;
  for (int32_t n = 0; n <= c->level; ++n) {
    weights += (int32_t)c->stream->level[n].entries;
    levels += c->stream->level[n].encoding != NK_ENCODING_EMPTY;
  }
  return weights * c->stream->block_size / nk_max(levels * c->out_channels, 1);
}

/** Cuts a row of outputs into tiles. */
typedef struct {
  int32_t width;  // of a tile
  int32_t least;  // pixels of a last tile that begins early, to be as wide as the others
} cut;

/**
 * A list serves tiles of one width. In a single row a last tile can begin early and compute outputs
 * again, which takes less time than another list if the tile is not much wider for it. Then two
 * tiles of 5 pixels can also take less than one of 8 and one of 1; tiles of 7 take the time of 8. A
 * sink takes each output once.
 */
static cut cut_row(const nk_dsp_conv *c) {
  const int32_t most = 2 * NK_DSP_MAX_PAIRS;
  if (c->output_h != 1 || c->sink != NULL) {
    return (cut){most, most};
  }
  const int32_t tiles = (c->output_w + most - 1) / most;
  const int32_t even = (c->output_w + tiles - 1) / tiles;
  const int32_t mean = mean_weights(c);
  return (cut){even < most - 1 && mean < FEW_FOR_EVEN ? even : most, mean < FEW_FOR_REPEAT ? 1 : 3};
}

/** The output channels of one group of input channels. */
static void run_group(nk_dsp_conv *c, nk_dsp_tile *tile, const int8_t *input, int8_t *output) {
  const cut row = cut_row(c);
  for (int32_t n = 0; n < c->batches; ++n) {
    for (int32_t x = 0; x < c->output_w; x += row.width) {
      int32_t pixels = nk_min(c->output_w - x, row.width);
      if (x > 0 && nk_in_range(pixels, row.least, row.width - 1)) {
        pixels = row.width;
        x = c->output_w - pixels;
      }
      tile->output = output + x * c->output_step;
      run_column(c, tile, input, x, pixels);
    }
    input += c->input_h * c->input_w * c->in_channels;
    output += c->output_h * c->output_w * c->output_step;
  }
}

void nk_dsp_conv_run(nk_dsp_conv *c, const int8_t *input, int8_t *output) {
  nk_dsp_tile tile = {
      .list = c->list,
      .step = c->output_step,
      .block_size = c->stream->block_size,
      .stage = c->stage,
  };
  // A group of a convolution is all its channels.
  for (c->first = 0; c->first < c->in_channels; c->first += c->group) {
    c->present = nk_min(c->group, c->in_channels - c->first);
    c->list_pairs = 0;
    run_group(c, &tile, input + c->first, output + c->first * c->depth_multiplier);
  }
}

#endif  // NK_USE_DSP
