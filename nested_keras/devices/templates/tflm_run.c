extern int32_t tflm_arena_bytes;
nk_status tflm_check(void);
nk_status tflm_invoke(const uint8_t *inputs, uint8_t *outputs, int32_t level);
