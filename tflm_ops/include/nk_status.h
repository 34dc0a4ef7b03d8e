#ifndef NK_STATUS_H_
#define NK_STATUS_H_

#include <limits.h>

#if defined(__ARM_BIG_ENDIAN) || defined(__BIG_ENDIAN__) || defined(__big_endian__)
#define NK_BIG_ENDIAN 1
#elif defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#define NK_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#else
#define NK_BIG_ENDIAN 0
#endif

/* Preprocessor errors, because a C99 file may include this header. */
#if NK_BIG_ENDIAN
#error "the target is big-endian: packed weights are little-endian and are read in place"
#endif
#if INT_MAX < 0x7FFFFFFF
#error "int has 16 bits on this target: the kernels need an int of 32 bits"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The result of every function of the library. Any status other than NK_OK means that the call
 * wrote nothing, or that the written data must not be used.
 */
typedef enum nk_status {
  NK_OK = 0,
  /** A null or misaligned pointer, or a parameter outside its documented range. */
  NK_ERROR_ARGUMENT,
  /** The data does not start with NK_STREAM_MAGIC: not a packed weight stream. */
  NK_ERROR_FOREIGN,
  /** A packed weight stream of a version that this reader does not know. */
  NK_ERROR_VERSION,
  /** The stream ends inside its header or inside a level block. */
  NK_ERROR_TRUNCATED,
  /** A stored CRC-32 differs from the CRC-32 of the data. */
  NK_ERROR_CHECKSUM,
  /** A field of the stream is outside its range, or fields contradict each other. */
  NK_ERROR_MALFORMED,
  /** The level is not in 0 .. levels - 1. */
  NK_ERROR_LEVEL,
  /** Tensor dimensions that are not positive, too large, or do not fit each other. */
  NK_ERROR_SHAPE,
  /** The scratch buffer or the arena is missing, misaligned or too small. */
  NK_ERROR_BUFFER
} nk_status;

/** Returns the name of a status, such as "NK_ERROR_LEVEL"; "unknown status" for any other value.
 * Never NULL. */
const char *nk_status_name(nk_status status);

#ifdef __cplusplus
}
#endif

#endif  // NK_STATUS_H_
