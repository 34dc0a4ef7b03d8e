static nk_status check_streams(const uint8_t *file) {
  // clang-format off
  static const struct {
    int32_t array;
    int32_t levels;
    uint8_t header[$header_bytes$];
  } streams[] = {
/* $streams$ */
  };
  // clang-format on
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; ++i) {
    const uint8_t *data = nk_weights_array(file, streams[i].array);
    const uint32_t size = nk_weights_array_size(file, streams[i].array);
    if (size < sizeof streams[i].header ||
        memcmp(data, streams[i].header, sizeof streams[i].header) != 0) {
      return NK_ERROR_MALFORMED;
    }
    const nk_status status = check_stream(data, size, streams[i].levels);
    if (status != NK_OK) {
      return status;
    }
  }
  return NK_OK;
}
