/** Reads packed tables. */
#include "../ref/nk_arithmetic.h"
#include "nk_code.h"

/** Tables with a bias that may not fit into 32 bits. */
typedef struct wide_tables {
  int64_t bias;
  int32_t multiplier;
  int32_t shift;
} wide_tables;

static wide_tables unpack(const uint8_t *packed_tables, int32_t channel) {
  const uint8_t *block = packed_tables - NK_LEVEL_HEADER_BYTES;
  const int32_t sign_bits = block[NK_LEVEL_OFFSET_TABLES] == NK_TABLES_SIGNED;
  const int32_t multiplier_bits = block[NK_LEVEL_OFFSET_MULTIPLIER_BITS];
  const int32_t shift_bits = block[NK_LEVEL_OFFSET_SHIFT_BITS];
  const int32_t bias_bits = block[NK_LEVEL_OFFSET_BIAS_BITS];
  const uint32_t bit = (uint32_t)channel * (uint32_t)nk_table_bits(block);
  // At least NK_STREAM_READ_AHEAD_BYTES follow the last field.
  const uint8_t *at = packed_tables + bit / 8;
  uint64_t fields = (nk_load_u32(at) | (uint64_t)at[4] << 32) >> bit % 8;
  const bool negative = sign_bits != 0 && (fields & 1) != 0;
  fields >>= sign_bits;
  const uint32_t mantissa = (uint32_t)fields & ((1u << multiplier_bits) - 1);
  fields >>= multiplier_bits;
  const int32_t shift = (int8_t)block[NK_LEVEL_OFFSET_SHIFT_BASE] +
                        (int32_t)((uint32_t)fields & ((1u << shift_bits) - 1));
  fields >>= shift_bits;
  const int32_t multiplier = (int32_t)(1u << 30 | mantissa << (30 - multiplier_bits));
  // The field modulo 2^bias_bits, from -2^(bias_bits - 1) on.
  const int64_t half = (int64_t)1 << bias_bits >> 1;
  const int64_t field = (int64_t)(fields & (((uint64_t)1 << bias_bits) - 1));
  const int64_t bias = field >= half && bias_bits > 0 ? field - 2 * half : field;
  const int32_t left = nk_max(0, -shift - block[NK_LEVEL_OFFSET_BIAS_FRACTION]);
  return (wide_tables){bias * ((int64_t)1 << left), negative ? -multiplier : multiplier, shift};
}

nk_channel_tables nk_stream_tables(const nk_stream_level *level, int32_t channel) {
  if (level->packed_tables == NULL) {
    return (nk_channel_tables){level->bias[channel], level->multiplier[channel],
                               level->shift[channel]};
  }
  const wide_tables wide = unpack(level->packed_tables, channel);
  return (nk_channel_tables){(int32_t)wide.bias, wide.multiplier, wide.shift};
}

bool nk_packed_bias_fits(const nk_stream_level *level, int32_t channel) {
  if (level->packed_tables == NULL) {
    return true;
  }
  const int64_t bias = unpack(level->packed_tables, channel).bias;
  return bias >= INT32_MIN && bias <= INT32_MAX;
}
