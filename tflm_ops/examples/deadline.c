/* Picks the level of each inference by a deadline: the densest level that is known to fit.
 *
 * The program measures the cost of a level by running the level. After start-up each level runs
 * once. From then on every inference updates the cost of its own level, so that the choice follows
 * caches and wait states. The deadline here changes from frame to frame, as with other work on the
 * core. On a real system an interrupt would write the deadline, and the program reads the deadline
 * once for each frame (tflm_ops/README.md).
 *
 * Time is board_instructions(): instructions under an emulator, cycles on a board. */
#include "board.h"
#include "model.h"

enum { FRAMES = 12 };

/* In percent of the time of the densest level; 1 % is a deadline that no level can meet. */
static const uint8_t deadline_percent[FRAMES] = {100, 120, 60, 80,  40, 110,
                                                 1,   90,  50, 200, 70, 110};

static int8_t image[MODEL_INPUT_SIZE];
static int8_t scores[MODEL_OUTPUT_SIZE];
static uint64_t cost[MODEL_LEVELS];

/* The densest level whose last run would have met the deadline; the sparsest where none would. */
static int32_t pick_level(uint64_t deadline) {
  for (int32_t level = MODEL_LEVELS - 1; level > 0; --level) {
    if (cost[level] <= deadline) {
      return level;
    }
  }
  return 0;
}

static nk_status run(int32_t level) {
  uint64_t start = board_instructions();
  nk_status status = model_invoke(image, scores, level);
  cost[level] = board_instructions() - start;
  return status;
}

static void put_number(const char *name, uint64_t value) {
  char digits[21];
  size_t i = sizeof digits - 1;
  digits[i] = '\0';
  do {
    digits[--i] = (char)('0' + (int)(value % 10));
    value /= 10;
  } while (value != 0);
  board_puts(name);
  board_puts(digits + i);
}

int main(void) {
  if (model_check() != NK_OK) {
    return 1; /* once: are the weights in flash undamaged? */
  }
  for (int32_t level = 0; level < MODEL_LEVELS; ++level) {
    if (run(level) != NK_OK) {
      return 1;
    }
  }
  const uint64_t densest = cost[MODEL_LEVELS - 1];
  for (int frame = 0; frame < FRAMES; ++frame) {
    /* Here a real system would fetch the image. */
    const uint64_t deadline = densest * deadline_percent[frame] / 100 + densest / 50;
    const int32_t level = pick_level(deadline);
    if (run(level) != NK_OK) {
      return 1;
    }
    put_number("deadline ", deadline);
    put_number(" level ", (uint64_t)level);
    put_number(" took ", cost[level]);
    board_puts(cost[level] <= deadline ? " met\n" : " missed\n");
  }
  return 0;
}
