#include "model.h"

static const int32_t arena_bytes = MODEL_ARENA_SIZE;

static nk_status invoke(const uint8_t *in, uint8_t *out, int32_t level) {
  // Each tensor has its place in the record of all inputs or of all outputs; the boxes follow.
  const nk_status status = $call$;
  if (status != NK_OK) {
    return status;
  }
  return model_detect((const void *)(out + $boxes$), (const void *)(out + $scores$),
                      (void *)(out + $detections$), (void *)(out + $count$));
}
