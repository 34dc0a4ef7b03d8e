/** The model in TFLite Micro, behind the functions that boards/common/main.c calls. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <new>

#include "int8_lookup.h"
#include "nested_sparse_conv.h"
#include "nk_builtins.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/schema/schema_generated.h"
// What is the model's: kOps, AddOps(), kInputs, kOutputs, kLevelInput, kArenaBytes.
#include "tflm_model.h"

namespace {
constexpr int kExitAbort = 8;
}

extern "C" {
#include "firmware.h"

void board_puts(const char *text);
[[noreturn]] void board_exit(int status);

extern const uint8_t tflm_model[];
int32_t tflm_arena_bytes;
nk_status tflm_check(void);
nk_status tflm_invoke(const uint8_t *inputs, uint8_t *outputs, int32_t level);

/** Part of TFLite Micro's targets without an operating system; absent from others. */
void RegisterDebugLogCallback(void (*callback)(const char *text)) __attribute__((weak));

// What the C and C++ libraries would bring a heap, streams and an unwinder for.

[[noreturn]] void abort() {
  board_puts("# abort\n");
  board_exit(kExitAbort);
}

void __cxa_pure_virtual() { abort(); }

/** There is no heap: TFLite Micro lives in the arena. */
void *_sbrk(ptrdiff_t /*bytes*/) { return reinterpret_cast<void *>(-1); }
}

namespace tflite {
namespace micro {
namespace {

/** Tells the firmware after each operator, in the order of the model. */
class OpProfiler : public MicroProfilerInterface {
 public:
  uint32_t BeginEvent(const char * /*tag*/) override { return 0; }
  void EndEvent(uint32_t /*event*/) override { firmware_on_op(next_op++); }

  int32_t next_op = 0;

  // Nothing is deleted, and there is no heap to delete from.
  void operator delete(void *) {}
};

using OpResolver = MicroMutableOpResolver<kOps>;

/** Room for an object that is made at run time: nothing runs constructors before main(). */
template <typename T>
struct Storage {
  alignas(T) uint8_t bytes[sizeof(T)];
};

alignas(16) uint8_t arena[kArenaBytes];
Storage<OpResolver> resolver_storage;
Storage<OpProfiler> profiler_storage;
Storage<MicroInterpreter> interpreter_storage;
OpProfiler *profiler;
MicroInterpreter *interpreter;
// What operators without a level input read.
int32_t external_level;

/** What MicroPrintf writes becomes lines that start with "# ". */
void Log(const char *text) {
  static bool at_start = true;
  for (; *text != '\0'; ++text) {
    const char one[2] = {*text, '\0'};
    if (*text == '\r') {
      continue;
    }
    if (at_start) {
      board_puts("# ");
    }
    board_puts(one);
    at_start = *text == '\n';
  }
}

nk_status Check() {
  if (RegisterDebugLogCallback != nullptr) {
    RegisterDebugLogCallback(Log);
  }
  const Model *model = GetModel(tflm_model);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    return NK_ERROR_VERSION;
  }
  OpResolver *resolver = new (resolver_storage.bytes) OpResolver();
  profiler = new (profiler_storage.bytes) OpProfiler();
  AddOps(resolver);
  interpreter = new (interpreter_storage.bytes)
      MicroInterpreter(model, *resolver, arena, sizeof arena, nullptr, profiler);
  if (interpreter->AllocateTensors() != kTfLiteOk ||
      interpreter->SetMicroExternalContext(&external_level) != kTfLiteOk) {
    return NK_ERROR_MALFORMED;
  }
  tflm_arena_bytes = static_cast<int32_t>(interpreter->arena_used_bytes());
  return NK_OK;
}

nk_status Invoke(const uint8_t *inputs, uint8_t *outputs, int32_t level) {
  for (const RecordTensor &tensor : kInputs) {
    memcpy(interpreter->input(tensor.position)->data.raw, inputs + tensor.offset, tensor.bytes);
  }
  external_level = level;
  if (kLevelInput >= 0) {
    interpreter->input(static_cast<size_t>(kLevelInput))->data.i32[0] = level;
  }
  profiler->next_op = 0;
  if (interpreter->Invoke() != kTfLiteOk) {
    return NK_ERROR_MALFORMED;
  }
  for (const RecordTensor &tensor : kOutputs) {
    memcpy(outputs + tensor.offset, interpreter->output(tensor.position)->data.raw, tensor.bytes);
  }
  return NK_OK;
}

}  // namespace
}  // namespace micro
}  // namespace tflite

nk_status tflm_check(void) { return tflite::micro::Check(); }

nk_status tflm_invoke(const uint8_t *inputs, uint8_t *outputs, int32_t level) {
  return tflite::micro::Invoke(inputs, outputs, level);
}
