#include "nested_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_FIELDS 9
#define MAX_FILE_BYTES (1 << 20)

static void fail(const char *path, const char *reason) {
  fprintf(stderr, "%s: %s\n", path, reason);
  exit(2);
}

void *allocate(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) {
    fail("malloc", "out of memory");
  }
  return memory;
}

nested_case load_case(const char *path) {
  int32_t header[HEADER_FIELDS];
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fail(path, "cannot be opened");
  }
  uint8_t *content = allocate(MAX_FILE_BYTES);
  const size_t header_read = fread(header, sizeof(header[0]), HEADER_FIELDS, file);
  const size_t size = fread(content, 1, MAX_FILE_BYTES, file);
  fclose(file);
  nested_case c = {
      .dims = {header[0], header[1], header[2], header[3], header[4]},
      .levels = header[5],
      .stream_size = header[6],
      .input_size = header[7],
      .output_size = header[8],
      .stream = content,
      .input = (const int8_t *)content + header[6],
      .outputs = (const int8_t *)content + header[6] + header[7],
      .content = content,
  };
  if (header_read != HEADER_FIELDS ||
      size != (size_t)(c.stream_size + c.input_size + c.levels * c.output_size)) {
    fail(path, "is not a case file, or is truncated");
  }
  return c;
}

void free_case(nested_case *loaded) { free(loaded->content); }
