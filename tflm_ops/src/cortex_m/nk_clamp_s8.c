#include "../ref/nk_arithmetic.h"
#include "nk_simd.h"

void nk_clamp_s8(int8_t *data, int32_t size, int32_t min, int32_t max) {
  const uint32_t low = nk_splat_byte(min);
  const uint32_t high = nk_splat_byte(max);
  for (; size >= 4; size -= 4, data += 4) {
    const uint32_t word = nk_min_bytes(nk_max_bytes(nk_load_word(data), low), high);
    nk_store_word(data, word);
  }
  for (; size > 0; --size, ++data) {
    *data = (int8_t)nk_clamp(*data, min, max);
  }
}
