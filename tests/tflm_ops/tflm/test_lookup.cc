/** Calls the INT8_LOOKUP adapter as TFLite Micro does, and spoils one thing after the other. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "eval_tensor.h"
#include "fake_context.h"
#include "int8_lookup.h"

namespace {

char last_message[256];
int failures;

void Expect(bool holds, const char *what) {
  if (!holds) {
    ++failures;
    fprintf(stderr, "%s: %s\n", what, last_message);
  }
}

}  // namespace

void MicroPrintf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_message, sizeof last_message, format, arguments);
  va_end(arguments);
}

namespace tflite {
namespace micro {
namespace {

/** A table of the squares of a half, and an activation of six elements. */
class Lookup {
 public:
  Lookup() {
    for (int i = 0; i < 256; ++i) {
      table_[i] = static_cast<int8_t>(i * i / 512);
    }
    Set(kInputTensor, input_, {2, {2, 3}});
    Set(kStreamTensor, table_, {1, {256}});
    Set(kOutputTensor, output_, {2, {2, 3}});
    tflite_context_.impl_ = static_cast<MicroContext *>(&context);
    node_.inputs = inputs.get();
    node_.outputs = outputs.get();
  }

  TfLiteStatus Prepare() {
    last_message[0] = '\0';
    return Register_INT8_LOOKUP()->prepare(&tflite_context_, &node_);
  }

  TfLiteStatus Invoke() { return Register_INT8_LOOKUP()->invoke(&tflite_context_, &node_); }

  bool OutputIsRight() const {
    for (int i = 0; i < 6; ++i) {
      if (output_[i] != table_[input_[i] + 128]) {
        return false;
      }
    }
    return true;
  }

  TfLiteEvalTensor &tensor(TensorIndex index) { return context.tensors[index].eval; }
  IntArray &dims(TensorIndex index) { return context.tensors[index].dims; }

  FakeContext context;
  IntArray inputs = {2, {kInputTensor, kStreamTensor}};
  IntArray outputs = {1, {kOutputTensor}};

 private:
  void Set(TensorIndex index, int8_t *data, const IntArray &shape) {
    dims(index) = shape;
    tensor(index).dims = dims(index).get();
    tensor(index).type = kTfLiteInt8;
    tensor(index).data.int8 = data;
  }

  int8_t input_[6] = {-128, -1, 0, 1, 100, 127};
  int8_t table_[256];
  int8_t output_[6] = {};
  TfLiteContext tflite_context_ = {};
  TfLiteNode node_ = {};
};

struct Fault {
  const char *name;
  void (*apply)(Lookup *op);
};

const Fault kFaults[] = {
    {"one input", [](Lookup *op) { op->inputs.size = 1; }},
    {"two outputs", [](Lookup *op) { op->outputs.size = 2; }},
    {"no activation", [](Lookup *op) { op->inputs.data[0] = kLeftOut; }},
    {"no table", [](Lookup *op) { op->inputs.data[1] = kLeftOut; }},
    {"no output", [](Lookup *op) { op->outputs.data[0] = kLeftOut; }},
    {"float activation", [](Lookup *op) { op->tensor(kInputTensor).type = kTfLiteFloat32; }},
    {"uint8 output", [](Lookup *op) { op->tensor(kOutputTensor).type = kTfLiteUInt8; }},
    {"uint8 table", [](Lookup *op) { op->tensor(kStreamTensor).type = kTfLiteUInt8; }},
    {"no elements", [](Lookup *op) { op->dims(kInputTensor).data[0] = 0; }},
    {"other elements", [](Lookup *op) { op->dims(kOutputTensor).data[1] = 4; }},
    {"255 entries", [](Lookup *op) { op->dims(kStreamTensor).data[0] = 255; }},
    {"no constant", [](Lookup *op) { op->tensor(kStreamTensor).data.int8 = nullptr; }},
};

void Run() {
  Lookup good;
  Expect(good.Prepare() == kTfLiteOk, "Prepare refused a good operator");
  Expect(good.Invoke() == kTfLiteOk && good.OutputIsRight(), "output of the table");
  good.tensor(kInputTensor).data.int8 = nullptr;
  Expect(good.Invoke() == kTfLiteError, "an activation without data was taken");
  for (const Fault &fault : kFaults) {
    Lookup op;
    fault.apply(&op);
    Expect(op.Prepare() == kTfLiteError, fault.name);
    Expect(strstr(last_message, "INT8_LOOKUP: ") == last_message, fault.name);
  }
}

}  // namespace
}  // namespace micro
}  // namespace tflite

int main() {
  tflite::micro::Run();
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
