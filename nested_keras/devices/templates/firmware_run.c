/* $banner$ */
/* The model, the images and the levels of one run, for boards/common/firmware.h. */
#include "firmware.h"

/* $declarations$ */

extern const uint8_t firmware_images[];

static const int32_t levels[] = $levels$;
static _Alignas(16) uint8_t outputs[$output_bytes$];
static uint64_t op_instructions[$op_counters$];

const firmware_run the_run = {
    .model_levels = $model_levels$,
    .levels = levels,
    .level_count = $level_count$,
    .inputs = firmware_images,
    .images = $images$,
    .input_stride = $input_stride$,
    .outputs = outputs,
    .output_bytes = $output_bytes$,
    .op_count = $op_count$,
    .op_instructions = op_instructions,
    .arena_bytes = &$arena_bytes$,
    .check = $check$,
    .invoke = $invoke$,
};
