/**
 * The model benchmark: nk_bench_model_main.c runs a generated model, the_run of firmware.h,
 * once at each level and prints
 *
 *     level <level> <HEX of all outputs>
 *
 * for each level, then `arena` and the bytes of the arena in use, `ops` and the index of every
 * operator that reported its end, level by level, and `end`. This header is included ahead of the
 * generated source, so that every operator is a counted region of its own. A level has a region for
 * each operator, and one for the code after the last operator.
 */
#ifndef NK_BENCH_MODEL_H_
#define NK_BENCH_MODEL_H_

#include <stdint.h>

#include "nk_bench_markers.h"

#define MODEL_ON_OP(index)      \
  do {                          \
    NK_BENCH_END();             \
    nk_bench_op_ended((index)); \
    NK_BENCH_BEGIN();           \
  } while (0)

/** Remembers the order of the operators; not counted. */
void nk_bench_op_ended(int32_t index);

#endif  // NK_BENCH_MODEL_H_
