/** Numbers and checksums in files. */
#ifndef NK_BYTES_H_
#define NK_BYTES_H_

#include <stddef.h>
#include <stdint.h>

/** The zlib CRC-32 (polynomial 0x04c11db7, reflected) of `size` bytes, continuing from `crc`. */
static inline uint32_t nk_crc32(uint32_t crc, const uint8_t *data, size_t size) {
  // Four bits at a time: a table of 64 bytes.
  static const uint32_t kTable[16] = {
      0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
      0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
      0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
  };
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    crc = (crc >> 4) ^ kTable[crc & 15];
    crc = (crc >> 4) ^ kTable[crc & 15];
  }
  return ~crc;
}

static inline uint32_t nk_load_u32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif  // NK_BYTES_H_
