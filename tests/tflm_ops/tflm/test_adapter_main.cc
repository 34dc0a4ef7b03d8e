/** Tests the adapter on all cases, in buffers of just the right size: test_adapter CASE... */
#include <stdio.h>
#include <stdlib.h>

#include "adapter_test.h"

namespace {

constexpr int kMaxBlocks = 64;
void *blocks[kMaxBlocks];
int block_count;

void *Allocate(size_t bytes) {
  if (block_count == kMaxBlocks) {
    fprintf(stderr, "more than %d blocks\n", kMaxBlocks);
    exit(2);
  }
  return blocks[block_count++] = allocate(bytes);
}

void ReleaseAll() {
  while (block_count > 0) {
    free(blocks[--block_count]);
  }
}

void Print(const char *text) { fprintf(stderr, "  %s\n", text); }

}  // namespace

int main(int argc, char **argv) {
  const TestPlatform platform = {Allocate, ReleaseAll, Print};
  int failures = argc > 1 ? 0 : 1;
  for (int i = 1; i < argc; ++i) {
    nested_case layer = load_case(argv[i]);
    const int failed = TestAdapter(layer, platform);
    if (failed > 0) {
      fprintf(stderr, "%s: %d failures\n", argv[i], failed);
    }
    failures += failed;
    free_case(&layer);
  }
  printf("%d cases, %d failures\n", argc - 1, failures);
  return failures == 0 ? 0 : 1;
}
