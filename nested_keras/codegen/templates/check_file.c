static nk_status check_file(const uint8_t *file, size_t size) {
  // clang-format off
  static const uint8_t digest[NK_WEIGHTS_DIGEST_BYTES] = {
/* $digest$ */  };
  // Bytes of each array; 0 for a packed stream.
  static const uint32_t sizes[] = {
/* $sizes$ */  };
  // clang-format on
  return nk_weights_check(file, size, digest, sizes, (int32_t)(sizeof sizes / sizeof sizes[0]));
}
