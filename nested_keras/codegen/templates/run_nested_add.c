/* The kernel of a layer with packed weights. */
typedef nk_status (*nested_kernel)(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                   const int8_t *input, int8_t *output, void *scratch,
                                   size_t scratch_size);

/* Opens the packed weights and runs the layer at one level, with the addition that follows. */
static nk_status run_nested(nested_kernel kernel, const uint8_t *data, size_t size, int32_t level,
                            const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                            void *scratch, size_t scratch_size, const nk_add_params *sum,
                            const int8_t *other) {
  nk_stream stream;
  const nk_status status = nk_stream_open(data, size, &stream);
  if (status != NK_OK) {
    return status;
  }
  if (sum != NULL) {
    return $kernel$(&stream, level, dims, input, sum, other, output, scratch, scratch_size);
  }
  return kernel(&stream, level, dims, input, output, scratch, scratch_size);
}
