/**
 * The weights of a generated model in a file of their own (docs/firmware.md), for models whose
 * weights come at run time. All fields are little-endian; reserved bytes are zero.
 *
 *     0   "NKW1"
 *     4   uint32 version, 1
 *     8   uint32 bytes of the file, a multiple of 16
 *     12  uint32 number of arrays
 *     16  digest, 32 bytes: which generated code the weights fit
 *     48  uint32 CRC-32 (zlib) of all other bytes of the file
 *     52  reserved, 12 bytes
 *     64  for each array uint32 offset in the file, a multiple of 16, and uint32 bytes
 */
#ifndef NK_WEIGHTS_H_
#define NK_WEIGHTS_H_

#include <stddef.h>
#include <stdint.h>

#include "nk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NK_WEIGHTS_MAGIC "NKW1"
#define NK_WEIGHTS_VERSION 1
#define NK_WEIGHTS_HEADER_BYTES 64
#define NK_WEIGHTS_DIGEST_BYTES 32
/** The address of the file is a multiple of this number of bytes, and so is that of each array. */
#define NK_WEIGHTS_ALIGNMENT 4

/**
 * Checks a file of weights. Reads the whole file once.
 *
 * - data: the file; size: bytes that may be read there, which may be more than the file has.
 * - digest: of the generated code, NK_WEIGHTS_DIGEST_BYTES.
 * - sizes: the bytes of each array that the code expects; 0 for any number, which is then for the
 *   caller to check. arrays: their number.
 *
 * Returns NK_OK; NK_ERROR_ARGUMENT for a null or misaligned pointer; NK_ERROR_FOREIGN for other
 * data or weights of another model; NK_ERROR_VERSION; NK_ERROR_TRUNCATED; NK_ERROR_CHECKSUM; or
 * NK_ERROR_MALFORMED for a wrong table.
 */
nk_status nk_weights_check(const void *data, size_t size, const uint8_t *digest,
                           const uint32_t *sizes, int32_t arrays);

/** The array `index` of a file that nk_weights_check() has found right. */
static inline const void *nk_weights_array(const uint8_t *data, int32_t index) {
  const uint32_t *table = (const uint32_t *)(const void *)(data + NK_WEIGHTS_HEADER_BYTES);
  return data + table[2 * index];
}

/** The bytes of that array. */
static inline uint32_t nk_weights_array_size(const uint8_t *data, int32_t index) {
  const uint32_t *table = (const uint32_t *)(const void *)(data + NK_WEIGHTS_HEADER_BYTES);
  return table[2 * index + 1];
}

#ifdef __cplusplus
}
#endif

#endif  // NK_WEIGHTS_H_
