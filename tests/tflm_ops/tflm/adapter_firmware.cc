/** The adapter's test on a board: runs the embedded cases and prints `end OK` where all hold. */
#include <string.h>

#include "adapter_test.h"

extern "C" {
void board_puts(const char *text);

/** The cases one after the other, each after its length in bytes (cases.S). */
extern const uint8_t embedded_cases[];
extern const uint8_t embedded_cases_end[];

int main();
}

namespace {

constexpr size_t kHeaderFields = 9;
constexpr size_t kAlignment = 16;

alignas(kAlignment) uint8_t memory[256 * 1024];
size_t memory_used;

void *Allocate(size_t bytes) {
  void *block = memory + memory_used;
  memory_used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (memory_used > sizeof memory) {
    board_puts("the test needs more memory\n");
    return nullptr;
  }
  return block;
}

void ReleaseAll() { memory_used = 0; }

void Print(const char *text) {
  board_puts("failed: ");
  board_puts(text);
  board_puts("\n");
}

nested_case Parse(const uint8_t *bytes) {
  int32_t header[kHeaderFields];
  memcpy(header, bytes, sizeof header);
  const uint8_t *content = bytes + sizeof header;
  nested_case layer = {};
  layer.dims = {header[0], header[1], header[2], header[3], header[4]};
  layer.levels = header[5];
  layer.stream_size = header[6];
  layer.input_size = header[7];
  layer.output_size = header[8];
  layer.stream = content;
  layer.input = reinterpret_cast<const int8_t *>(content + header[6]);
  layer.outputs = layer.input + header[7];
  return layer;
}

}  // namespace

int main() {
  const TestPlatform platform = {Allocate, ReleaseAll, Print};
  int failures = 0;
  int cases = 0;
  const uint8_t *at = embedded_cases;
  while (at < embedded_cases_end) {
    uint32_t size;
    memcpy(&size, at, sizeof size);
    failures += TestAdapter(Parse(at + sizeof size), platform);
    at += sizeof size + (size + 3) / 4 * 4;
    ++cases;
  }
  board_puts(cases > 0 && failures == 0 ? "end OK\n" : "end FAILED\n");
  return failures;
}
