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
