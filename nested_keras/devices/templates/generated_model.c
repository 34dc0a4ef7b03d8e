#include "model.h"

static const int32_t arena_bytes = MODEL_ARENA_SIZE;

static nk_status invoke(const uint8_t *in, uint8_t *out, int32_t level) {
  // Each tensor has its place in the record of all inputs or of all outputs.
  return $call$;
}
