/**
 * The SIMD instructions of Armv7E-M (Cortex-M4 and M7) that the tuned kernels use, as functions.
 * On a target without these instructions, or for a compiler without GNU assembly, plain C computes
 * the same, slowly, so that the tests of the kernels run everywhere.
 *
 * A word holds four int8 lanes or two int16 lanes, the first in the lowest bits.
 */
#ifndef NK_SIMD_H_
#define NK_SIMD_H_

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "nk_target.h"

#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)  // written in GNU assembly
#define NK_HAS_SIMD32 1
#else
#define NK_HAS_SIMD32 0
#endif

/** Whether this target has the instructions, so that the tuned kernels are the fastest. */
static inline bool nk_has_simd32(void) { return NK_HAS_SIMD32 != 0; }

/** Whether a loop may load words from an address. */
static inline bool nk_loads_words_at(const void *address) {
  return NK_USE_UNALIGNED || (uintptr_t)address % sizeof(uint32_t) == 0;
}

/** Four bytes at any address. */
static inline uint32_t nk_load_word(const void *address) {
#if NK_USE_UNALIGNED
  uint32_t word;
  memcpy(&word, address, sizeof(word));
  return word;
#else
  const uint8_t *at = (const uint8_t *)address;
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
#endif
}

/** The reverse of nk_load_word(). */
static inline void nk_store_word(void *address, uint32_t word) {
#if NK_USE_UNALIGNED
  memcpy(address, &word, sizeof(word));
#else
  uint8_t *at = (uint8_t *)address;
  for (int32_t i = 0; i < 4; ++i, word >>= 8) {
    at[i] = (uint8_t)word;
  }
#endif
}

/**
 * nk_smmlar() from products of 16 bits, for a core that has no product of 64 bits. With a = ah *
 * 2^16
 * + al and b likewise, a * b / 2^32 = ah * bh + (ah * bl + al * bh + al * bl / 2^16) / 2^16.
 * Neither sum in the middle leaves 32 bits: |ah * bl| <= 2^31 - 2^15 and the carry is below 2^16,
 * but for ah > 0, where |ah * bl| < 2^31 - 2^16. The half is bit 31 of the product.
 */
static inline int32_t nk_smmlar_halves(int32_t a, int32_t b, int32_t acc) {
  const int32_t ah = a >> 16;
  const int32_t bh = b >> 16;
  const uint32_t al = (uint16_t)a;
  const uint32_t bl = (uint16_t)b;
  const int32_t middle = ah * (int32_t)bl + (int32_t)(al * bl >> 16);
  const int32_t other = (int32_t)al * bh + (uint16_t)middle;
  const uint32_t high = (uint32_t)(ah * bh) + (uint32_t)(middle >> 16) + (uint32_t)(other >> 16);
  return (int32_t)((uint32_t)acc + high + ((uint32_t)a * (uint32_t)b >> 31));
}

/** Four int8 lanes of the same value. */
static inline uint32_t nk_splat_byte(int32_t x) { return (uint32_t)(uint8_t)x * 0x01010101u; }

#if NK_HAS_SIMD32

/** int16 lanes: int8 lanes 0 and 2 of `x` plus the lanes of `addend`. */
static inline uint32_t nk_sxtab16(uint32_t addend, uint32_t x) {
  uint32_t result;
  __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(addend), "r"(x));
  return result;
}

/** int16 lanes: int8 lanes 1 and 3 of `x` plus the lanes of `addend`. */
static inline uint32_t nk_sxtab16_odd(uint32_t addend, uint32_t x) {
  uint32_t result;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(addend), "r"(x));
  return result;
}

/** int16 lanes: int8 lanes 0 and 2. */
static inline uint32_t nk_sxtb16(uint32_t x) {
  uint32_t result;
  __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(x));
  return result;
}

/** int16 lanes: int8 lanes 1 and 3. */
static inline uint32_t nk_sxtb16_odd(uint32_t x) {
  uint32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
  return result;
}

/** acc + a[0] * b[0] + a[1] * b[1] of int16 lanes, modulo 2^32. */
static inline int32_t nk_smlad(uint32_t a, uint32_t b, int32_t acc) {
  int32_t result;
  __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/** acc + a[0] * b[0] of int16 lanes, modulo 2^32. */
static inline int32_t nk_smlabb(int32_t a, uint32_t b, int32_t acc) {
  int32_t result;
  __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/** acc + a[0] * b[1] of int16 lanes, modulo 2^32. */
static inline int32_t nk_smlabt(int32_t a, uint32_t b, int32_t acc) {
  int32_t result;
  __asm__("smlabt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/** `address` moved on by byte 0 of `bytes`. */
static inline const int8_t *nk_add_byte0(const int8_t *address, uint32_t bytes) {
  const int8_t *result;
  __asm__("uxtab %0, %1, %2" : "=r"(result) : "r"(address), "r"(bytes));
  return result;
}

/** `address` moved on by byte 2 of `bytes`. */
static inline const int8_t *nk_add_byte2(const int8_t *address, uint32_t bytes) {
  const int8_t *result;
  __asm__("uxtab %0, %1, %2, ror #16" : "=r"(result) : "r"(address), "r"(bytes));
  return result;
}

/** acc + a[1] * b[0] of int16 lanes, modulo 2^32. */
static inline int32_t nk_smlatb(uint32_t a, uint32_t b, int32_t acc) {
  int32_t result;
  __asm__("smlatb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/** (acc * 2^32 + a * b + 2^31) / 2^32 rounded down, modulo 2^32. */
static inline int32_t nk_smmlar(int32_t a, int32_t b, int32_t acc) {
  int32_t result;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
  return result;
}

/** int16 lanes from the low halves of two numbers. */
static inline uint32_t nk_pack_halves(int32_t low, int32_t high) {
  uint32_t result;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(low), "r"(high));
  return result;
}

/** int16 lanes from the high halves of two words. */
static inline uint32_t nk_pack_high_halves(uint32_t low, uint32_t high) {
  uint32_t result;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(high), "r"(low));
  return result;
}

/** Clamps to -128 .. 127. */
static inline int32_t nk_saturate_to_8_bits(int32_t x) {
  int32_t result;
  __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
  return result;
}

/** The low bytes of four numbers as int8 lanes. */
static inline uint32_t nk_pack_bytes(int32_t a, int32_t b, int32_t c, int32_t d) {
  __asm__("bfi %0, %1, #8, #8" : "+r"(a) : "r"(b));
  __asm__("bfi %0, %1, #8, #8" : "+r"(c) : "r"(d));
  uint32_t result;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(c));
  return result;
}

/** The larger of each pair of int8 lanes. */
static inline uint32_t nk_max_bytes(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b));
  return result;
}

/** The smaller of each pair of int8 lanes. */
static inline uint32_t nk_min_bytes(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b));
  return result;
}

#else

static inline int32_t nk_lane8(uint32_t x, int32_t lane) { return (int8_t)(x >> (8 * lane)); }

static inline int32_t nk_lane16(uint32_t x, int32_t lane) { return (int16_t)(x >> (16 * lane)); }

static inline uint32_t nk_pack_halves(int32_t low, int32_t high) {
  return (uint32_t)(uint16_t)low | (uint32_t)high << 16;
}

static inline uint32_t nk_pack_high_halves(uint32_t low, uint32_t high) {
  return low >> 16 | (high & 0xffff0000u);
}

static inline uint32_t nk_sxtab16(uint32_t addend, uint32_t x) {
  return nk_pack_halves(nk_lane16(addend, 0) + nk_lane8(x, 0),
                        nk_lane16(addend, 1) + nk_lane8(x, 2));
}

static inline uint32_t nk_sxtab16_odd(uint32_t addend, uint32_t x) {
  return nk_sxtab16(addend, x >> 8);
}

static inline uint32_t nk_sxtb16(uint32_t x) { return nk_sxtab16(0, x); }

static inline uint32_t nk_sxtb16_odd(uint32_t x) { return nk_sxtab16(0, x >> 8); }

static inline int32_t nk_smlad(uint32_t a, uint32_t b, int32_t acc) {
  const int64_t sum =
      (int64_t)nk_lane16(a, 0) * nk_lane16(b, 0) + (int64_t)nk_lane16(a, 1) * nk_lane16(b, 1);
  return (int32_t)((uint32_t)acc + (uint32_t)sum);
}

static inline int32_t nk_smlabb(int32_t a, uint32_t b, int32_t acc) {
  return nk_smlad((uint32_t)(uint16_t)a, b, acc);
}

static inline int32_t nk_smlabt(int32_t a, uint32_t b, int32_t acc) {
  return nk_smlad((uint32_t)a << 16, b, acc);
}

static inline const int8_t *nk_add_byte0(const int8_t *address, uint32_t bytes) {
  return address + (bytes & 0xff);
}

static inline const int8_t *nk_add_byte2(const int8_t *address, uint32_t bytes) {
  return address + (bytes >> 16 & 0xff);
}

static inline int32_t nk_smlatb(uint32_t a, uint32_t b, int32_t acc) {
  return (int32_t)((uint32_t)acc + (uint32_t)(nk_lane16(a, 1) * nk_lane16(b, 0)));
}

static inline int32_t nk_smmlar(int32_t a, int32_t b, int32_t acc) {
#if !NK_USE_THUMB1
  const uint64_t addend = (uint64_t)(uint32_t)acc << 32 | 1u << 31;
  return (int32_t)(uint32_t)(((uint64_t)((int64_t)a * b) + addend) >> 32);
#else
  return nk_smmlar_halves(a, b, acc);
#endif
}

static inline int32_t nk_saturate_to_8_bits(int32_t x) {
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
  int32_t result;
  __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
  return result;
#else
  return x == (int8_t)x ? x : INT8_MAX ^ x >> 31;
#endif
}

static inline uint32_t nk_pack_bytes(int32_t a, int32_t b, int32_t c, int32_t d) {
  return (uint32_t)(uint8_t)a | (uint32_t)(uint8_t)b << 8 | (uint32_t)(uint8_t)c << 16 |
         (uint32_t)d << 24;
}

static inline uint32_t nk_max_bytes(uint32_t a, uint32_t b) {
  const uint32_t signs = 0x80808080u;
  // The top bit of a lane says whether its low bits in a are at least those in b; no lane borrows.
  const uint32_t low = (a | signs) - (b & ~signs);
  // Where the signs differ, the lane that is not negative is the larger one.
  const uint32_t a_is_larger = ((b & ~a) | (~(a ^ b) & low)) & signs;
  return b ^ ((a ^ b) & (a_is_larger >> 7) * 0xffu);
}

static inline uint32_t nk_min_bytes(uint32_t a, uint32_t b) { return ~nk_max_bytes(~a, ~b); }

#endif

/** So many int8 values fit into an int16 sum. */
#define NK_MAX_LANE_TERMS 255

/**
 * Adds up four neighbouring channels over a window of at most NK_MAX_LANE_TERMS pixels: channels 0
 * and 2 to the int16 lanes of `even`, 1 and 3 to the lanes of `odd`. Steps are in elements.
 */
static inline void nk_sum_lanes(const int8_t *x, int32_t rows, int32_t columns, int32_t row_step,
                                int32_t column_step, uint32_t *even, uint32_t *odd) {
  uint32_t even_sums = 0;
  uint32_t odd_sums = 0;
  for (int32_t r = rows; r > 0; --r, x += row_step) {
    const int8_t *pixel = x;
    for (int32_t c = columns; c > 0; --c, pixel += column_step) {
      const uint32_t word = nk_load_word(pixel);
      even_sums = nk_sxtab16(even_sums, word);
      odd_sums = nk_sxtab16_odd(odd_sums, word);
    }
  }
  *even = even_sums;
  *odd = odd_sums;
}

#endif  // NK_SIMD_H_
