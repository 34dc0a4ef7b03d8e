/* $banner$ */
#include "nk_bench.h"

extern const uint8_t nk_bench_data[];

/* $definitions$ */

const nk_bench_case *const nk_bench_cases[] = {
    /* $names$ */
};
const int32_t nk_bench_case_count = $count$;
