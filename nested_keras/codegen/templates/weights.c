/* The opened file of weights, with the arrays and numbers in it. */
static const uint8_t *weights;
static size_t weights_size;
#define ARRAY(type, index) ((const type *)nk_weights_array(weights, index))
#define ARRAY_SIZE(index) nk_weights_array_size(weights, index)
#define INTEGER(index) (ARRAY(int32_t, 0)[index])
#define REAL(index) (ARRAY(float, 1)[index])
