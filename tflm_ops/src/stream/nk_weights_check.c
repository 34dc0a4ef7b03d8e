#include <string.h>

#include "../../include/nk_weights.h"
#include "../ref/nk_arithmetic.h"
#include "nk_bytes.h"

enum { VERSION = 4, SIZE = 8, ARRAYS = 12, DIGEST = 16, CRC32 = 48, RESERVED = 52 };

/** Whether every array lies in the file and has the expected size. */
static bool table_is_right(const uint8_t *file, uint32_t file_bytes, const uint32_t *sizes,
                           int32_t arrays) {
  const uint8_t *entry = file + NK_WEIGHTS_HEADER_BYTES;
  for (int32_t i = 0; i < arrays; ++i, entry += 8) {
    const uint32_t offset = nk_load_u32(entry);
    const uint32_t bytes = nk_load_u32(entry + 4);
    if (offset % 16 != 0 || offset > file_bytes || bytes > file_bytes - offset ||
        (sizes[i] != 0 && bytes != sizes[i])) {
      return false;
    }
  }
  return true;
}

nk_status nk_weights_check(const void *data, size_t size, const uint8_t *digest,
                           const uint32_t *sizes, int32_t arrays) {
  const uint8_t *file = (const uint8_t *)data;
  if (file == NULL || digest == NULL || sizes == NULL ||
      (uintptr_t)file % NK_WEIGHTS_ALIGNMENT != 0) {
    return NK_ERROR_ARGUMENT;
  }
  if (size < sizeof(NK_WEIGHTS_MAGIC) - 1) {
    return NK_ERROR_TRUNCATED;
  }
  if (memcmp(file, NK_WEIGHTS_MAGIC, sizeof(NK_WEIGHTS_MAGIC) - 1) != 0) {
    return NK_ERROR_FOREIGN;
  }
  if (size < NK_WEIGHTS_HEADER_BYTES) {
    return NK_ERROR_TRUNCATED;
  }
  if (nk_load_u32(file + VERSION) != NK_WEIGHTS_VERSION) {
    return NK_ERROR_VERSION;
  }
  const uint32_t file_bytes = nk_load_u32(file + SIZE);
  if (file_bytes < NK_WEIGHTS_HEADER_BYTES) {
    return NK_ERROR_MALFORMED;
  }
  if (file_bytes > size) {
    return NK_ERROR_TRUNCATED;
  }
  const uint32_t crc = nk_crc32(nk_crc32(0, file, CRC32), file + RESERVED, file_bytes - RESERVED);
  if (crc != nk_load_u32(file + CRC32)) {
    return NK_ERROR_CHECKSUM;
  }
  if (memcmp(file + DIGEST, digest, NK_WEIGHTS_DIGEST_BYTES) != 0) {
    return NK_ERROR_FOREIGN;
  }
  if (arrays < 0 || nk_load_u32(file + ARRAYS) != (uint32_t)arrays ||
      (file_bytes - NK_WEIGHTS_HEADER_BYTES) / 8 < (uint32_t)arrays ||
      !table_is_right(file, file_bytes, sizes, arrays)) {
    return NK_ERROR_MALFORMED;
  }
  return NK_OK;
}
