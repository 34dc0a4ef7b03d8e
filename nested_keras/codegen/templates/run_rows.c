/* The kernel of a layer with packed weights. */
typedef nk_status (*strip_kernel)(const nk_stream *stream, int32_t level, const nk_conv_dims *dims,
                                  const int8_t *input, int8_t *output, void *scratch,
                                  size_t scratch_size);

/* Opens the packed weights and computes some rows of the layer at one level. */
static nk_status run_rows(strip_kernel kernel, const uint8_t *data, size_t size, int32_t level,
                          const nk_conv_dims *dims, const int8_t *input, int8_t *output,
                          void *scratch, size_t scratch_size, int32_t pad_top) {
  nk_stream stream;
  const nk_status status = nk_stream_open(data, size, &stream);
  if (status != NK_OK) {
    return status;
  }
  stream.pad_top = pad_top;
  return kernel(&stream, level, dims, input, output, scratch, scratch_size);
}
