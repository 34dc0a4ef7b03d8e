/* The part that the build adds to main.c for one model and one set of images (firmware_run.c). */
#ifndef NK_FIRMWARE_H_
#define NK_FIRMWARE_H_

#include <stdint.h>

#include "nk_status.h"

typedef struct firmware_run {
  /** Levels of the model. */
  int32_t model_levels;
  /** The levels to run, and the number of these levels: at least 1. */
  const int32_t *levels;
  int32_t level_count;
  /** Records of input_stride bytes, a multiple of 16, one for each image; 16-byte aligned. */
  const uint8_t *inputs;
  int32_t images;
  int32_t input_stride;
  /** Receives the outputs of one inference; 16-byte aligned. */
  uint8_t *outputs;
  int32_t output_bytes;
  /** Operators of the model, and an instruction counter for each. */
  int32_t op_count;
  uint64_t *op_instructions;
  /** Bytes of the arena that the model uses; read after check(). */
  const int32_t *arena_bytes;
  nk_status (*check)(void);
  nk_status (*invoke)(const uint8_t *inputs, uint8_t *outputs, int32_t level);
} firmware_run;

extern const firmware_run the_run;

/** MODEL_ON_OP of the generated model: called after operator `index`. */
void firmware_on_op(int32_t index);

#endif  // NK_FIRMWARE_H_
