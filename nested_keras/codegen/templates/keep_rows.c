/* Moves the rows of an output that are still read to the front of its buffer. */
static void keep_rows(void *output, const strip *rows, size_t row_bytes) {
  const int8_t *kept = (const int8_t *)output + rows->kept_row * row_bytes;
  memmove(output, kept, rows->kept_rows * row_bytes);
}
