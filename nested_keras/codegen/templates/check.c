static nk_status check_stream(const uint8_t *data, size_t size, int32_t levels) {
  nk_stream stream;
  const nk_status status = nk_stream_open(data, size, &stream);
  if (status != NK_OK) {
    return status;
  }
  if (stream.levels != levels) {
    return NK_ERROR_LEVEL;
  }
  return nk_stream_validate(&stream);
}

nk_status $name$_check(void) {
  // clang-format off
  static const struct {
    const uint8_t *data;
    size_t size;
    int32_t levels;
  } streams[] = {
/* $streams$ */
  };
  // clang-format on
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; ++i) {
    const nk_status status = check_stream(streams[i].data, streams[i].size, streams[i].levels);
    if (status != NK_OK) {
      return status;
    }
  }
  return NK_OK;
}
