/**
 * The kernel benchmark: nk_bench_main.c runs every case of a generated list through one
 * nk_bench_run(), of which there is one for each library that is measured, and prints
 *
 *     case <index> <status> <scratch bytes> <HEX>
 *
 * for each, then `end`. HEX is the output, two lower-case digits a byte.
 */
#ifndef NK_BENCH_H_
#define NK_BENCH_H_

#include <stddef.h>
#include <stdint.h>

#include "nk_ops.h"

/** Operators without weights; the kinds below these are NK_KIND_*. */
enum {
  NK_BENCH_ADD = 16,
  NK_BENCH_AVERAGE_POOL,
  NK_BENCH_MAX_POOL,
  NK_BENCH_SOFTMAX,
};

/** One call of one layer or operator. */
typedef struct nk_bench_case {
  /** One of NK_KIND_* or NK_BENCH_*. */
  int32_t kind;
  /** Parameters and second input of an operator: nk_add_params, nk_average_pool2d_params, ... */
  const void *params;
  const int8_t *input2;
  /** The layer as a dense operator, of any kind; the filter is in the measured library's order. */
  nk_conv2d_params dense;
  int32_t depth_multiplier;
  nk_dims4 input_dims;
  nk_dims4 output_dims;
  const int8_t *input;
  /** The layer as a packed stream and the level to run; NULL for the dense operator. */
  const uint8_t *stream;
  size_t stream_bytes;
  int32_t level;
} nk_bench_case;

extern const nk_bench_case *const nk_bench_cases[];
extern const int32_t nk_bench_case_count;

/** The memory that a call may use besides its output, 16-byte aligned. */
typedef struct nk_bench_scratch {
  void *data;
  size_t size;
  /** Set by nk_bench_run(): the bytes that the library asked for. */
  size_t used;
} nk_bench_scratch;

/**
 * Runs one case, with the call alone between NK_BENCH_BEGIN and NK_BENCH_END. Returns 0, or the
 * error of the library.
 */
int32_t nk_bench_run(const nk_bench_case *bench_case, int8_t *output, nk_bench_scratch *scratch);

/**
 * The part of nk_bench_run() for the kinds NK_BENCH_*. The function is weak, because only firmware
 * with such a case links the function: some copies of CMSIS-NN lack these operators.
 */
__attribute__((weak)) int32_t nk_bench_run_operator(const nk_bench_case *bench_case, int8_t *output,
                                                    nk_bench_scratch *scratch);

#endif  // NK_BENCH_H_
