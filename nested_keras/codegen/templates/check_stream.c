static nk_status check_stream(const uint8_t *data, size_t size, int32_t levels) {
  nk_stream stream;
  const nk_status status = nk_stream_open(data, size, &stream);
  if (status != NK_OK) {
    return status;
  }
  if (stream.levels != levels) {
    return NK_ERROR_LEVEL;
  }
  return $check$(&stream);
}
