/** Calls NK_ADD and NK_MEAN as TFLite Micro does, and spoils one thing after the other. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "eval_tensor.h"
#include "fake_context.h"
#include "nk_builtins.h"

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

constexpr TensorIndex kA = kInputTensor;
constexpr TensorIndex kB = kLevelTensor;
constexpr TensorIndex kAxes = kLevelTensor;

/** One operator of two inputs, with room for 24 elements in each tensor. */
class Operator {
 public:
  explicit Operator(const TFLMRegistration &registration) : registration_(registration) {
    tflite_context_.impl_ = static_cast<MicroContext *>(&context);
    node_.inputs = inputs.get();
    node_.outputs = outputs.get();
  }

  void Set(TensorIndex index, const IntArray &shape, float scale, int zero_point) {
    FakeTensor &made = context.tensors[index];
    made.dims = shape;
    made.full.params = {scale, zero_point};
    made.eval.dims = made.dims.get();
    made.eval.type = kTfLiteInt8;
    made.eval.data.int8 = data[index];
    for (int i = 0; i < 24; ++i) {
      data[index][i] = static_cast<int8_t>(37 * i + 11 * index);
    }
  }

  void SetAxis(int at, int32_t axis) { memcpy(data[kAxes] + 4 * at, &axis, sizeof axis); }

  TfLiteStatus Prepare() {
    last_message[0] = '\0';
    node_.builtin_data = has_options ? &options : nullptr;
    if (with_data) {
      node_.user_data = registration_.init(&tflite_context_, nullptr, 0);
    }
    return registration_.prepare(&tflite_context_, &node_);
  }

  TfLiteStatus Invoke() {
    context.is_preparing = false;
    return registration_.invoke(&tflite_context_, &node_);
  }

  /** Whether an output is the formula, rounded twice: to half a step at first. */
  bool IsNear(int index, double real, float lowest) const {
    const TfLiteQuantizationParams &y = context.tensors[kOutputTensor].full.params;
    const double exact =
        fmax(real, static_cast<double>(lowest)) / static_cast<double>(y.scale) + y.zero_point;
    const double limited = fmin(fmax(exact, -128.0), 127.0);
    return fabs(limited - data[kOutputTensor][index]) <= 0.751;
  }

  double Real(TensorIndex index, int at) const {
    const TfLiteQuantizationParams &x = context.tensors[index].full.params;
    return static_cast<double>(x.scale) * (data[index][at] - x.zero_point);
  }

  TfLiteEvalTensor &tensor(TensorIndex index) { return context.tensors[index].eval; }
  IntArray &dims(TensorIndex index) { return context.tensors[index].dims; }

  FakeContext context;
  IntArray inputs = {2, {kA, kB}};
  IntArray outputs = {1, {kOutputTensor}};
  TfLiteAddParams options = {kTfLiteActNone};
  bool with_data = true;
  bool has_options = true;
  alignas(4) int8_t data[kTensors][24] = {};

 private:
  const TFLMRegistration &registration_;
  TfLiteContext tflite_context_ = {};
  TfLiteNode node_ = {};
};

/** A sum of tensors of one shape. */
class Add : public Operator {
 public:
  Add() : Operator(Register_NK_ADD()) {
    Set(kA, {3, {2, 3, 4}}, 0.031f, 5);
    Set(kB, {3, {2, 3, 4}}, 0.047f, -9);
    Set(kOutputTensor, {3, {2, 3, 4}}, 0.059f, -3);
  }
};

/** The mean over six pixels. */
class Mean : public Operator {
 public:
  Mean() : Operator(Register_NK_MEAN()) {
    Set(kA, {4, {1, 2, 3, 4}}, 0.031f, 5);
    Set(kAxes, {1, {2}}, 0.0f, 0);
    tensor(kAxes).type = kTfLiteInt32;
    SetAxis(0, 1);
    SetAxis(1, -2);
    Set(kOutputTensor, {2, {1, 4}}, 0.029f, 7);
  }
};

struct Fault {
  const char *name;
  void (*apply)(Operator *op);
};

const Fault kBothFaults[] = {
    {"no data", [](Operator *op) { op->with_data = false; }},
    {"one input", [](Operator *op) { op->inputs.size = 1; }},
    {"two outputs", [](Operator *op) { op->outputs.size = 2; }},
    {"no first input", [](Operator *op) { op->inputs.data[0] = kLeftOut; }},
    {"no second input", [](Operator *op) { op->inputs.data[1] = kLeftOut; }},
    {"no output", [](Operator *op) { op->outputs.data[0] = kLeftOut; }},
    {"float input", [](Operator *op) { op->tensor(kA).type = kTfLiteFloat32; }},
    {"float output", [](Operator *op) { op->tensor(kOutputTensor).type = kTfLiteFloat32; }},
    {"uint8 second input", [](Operator *op) { op->tensor(kB).type = kTfLiteUInt8; }},
    {"no elements", [](Operator *op) { op->dims(kA).data[1] = 0; }},
    {"five dimensions", [](Operator *op) { op->dims(kA).size = 5; }},
    {"no elements of the output", [](Operator *op) { op->dims(kOutputTensor).data[0] = 0; }},
    {"no scale", [](Operator *op) { op->context.tensors[kA].full.params.scale = 0; }},
    {"no scale of the output",
     [](Operator *op) { op->context.tensors[kOutputTensor].full.params.scale = 0; }},
    {"an infinite scale",
     [](Operator *op) { op->context.tensors[kA].full.params.scale = INFINITY; }},
    {"a zero point of 128",
     [](Operator *op) { op->context.tensors[kA].full.params.zero_point = 128; }},
    {"a zero point of -129",
     [](Operator *op) { op->context.tensors[kOutputTensor].full.params.zero_point = -129; }},
    {"an output scale of nearly nothing",
     [](Operator *op) { op->context.tensors[kOutputTensor].full.params.scale = 1e-30f; }},
    {"no room for temporary tensors", [](Operator *op) { op->context.temporary_budget = 0; }},
};

const Fault kAddFaults[] = {
    {"no scale of the second", [](Operator *op) { op->context.tensors[kB].full.params.scale = 0; }},
    {"float second input", [](Operator *op) { op->tensor(kB).type = kTfLiteFloat32; }},
    {"no elements of the second", [](Operator *op) { op->dims(kB).data[2] = 0; }},
    {"no options", [](Operator *op) { op->has_options = false; }},
    {"TANH", [](Operator *op) { op->options.activation = kTfLiteActTanh; }},
    {"an output scale beyond the shift",
     [](Operator *op) { op->context.tensors[kOutputTensor].full.params.scale = 1e-8f; }},
};

const Fault kMeanFaults[] = {
    {"three dimensions", [](Operator *op) { op->dims(kA).size = 3; }},
    {"the channels", [](Operator *op) { op->data[kAxes][0] = 3; }},
    {"an axis of 4", [](Operator *op) { op->data[kAxes][0] = 4; }},
    {"an axis of -5", [](Operator *op) { op->SetAxis(0, -5); }},
    {"one axis", [](Operator *op) { op->dims(kAxes).data[0] = 1; }},
    {"no axes", [](Operator *op) { op->tensor(kAxes).data.i32 = nullptr; }},
    {"a smaller output", [](Operator *op) { op->dims(kOutputTensor).data[1] = 3; }},
};

template <typename Op, size_t N>
void Refuses(const char *prefix, const Fault (&faults)[N]) {
  for (const Fault &fault : faults) {
    Op op;
    fault.apply(&op);
    Expect(op.Prepare() == kTfLiteError, fault.name);
    Expect(strstr(last_message, prefix) == last_message, fault.name);
    Expect(op.context.temporaries == 0 && op.context.misuses == 0, fault.name);
  }
}

void RunAdd(TfLiteFusedActivation activation, float lowest, float highest, float scale = 0.059f) {
  Add op;
  op.options.activation = activation;
  op.context.tensors[kOutputTensor].full.params.scale = scale;
  Expect(op.Prepare() == kTfLiteOk, "Prepare refused a good ADD");
  Expect(op.Invoke() == kTfLiteOk, "Invoke of a good ADD");
  for (int i = 0; i < 24; ++i) {
    const double sum = op.Real(kA, i) + op.Real(kB, i);
    Expect(op.IsNear(i, fmin(sum, static_cast<double>(highest)), lowest), "a sum");
  }
}

/** The operands may change places, the one with the larger scale in front. */
void RunTurned() {
  Add op;
  op.context.tensors[kA].full.params.scale = 0.053f;
  Expect(op.Prepare() == kTfLiteOk && op.Invoke() == kTfLiteOk, "a turned ADD");
  for (int i = 0; i < 24; ++i) {
    Expect(op.IsNear(i, op.Real(kA, i) + op.Real(kB, i), -1e9f), "a turned sum");
  }
}

void RunBroadcast() {
  Add op;
  op.dims(kB) = {1, {4}};
  Expect(op.Prepare() == kTfLiteOk && op.Invoke() == kTfLiteOk, "a broadcast ADD");
  for (int i = 0; i < 24; ++i) {
    Expect(op.IsNear(i, op.Real(kA, i) + op.Real(kB, i % 4), -1e9f), "a broadcast sum");
  }
  op.dims(kB) = {1, {3}};
  Add wrong;
  wrong.dims(kB) = {1, {3}};
  Expect(wrong.Prepare() == kTfLiteOk && wrong.Invoke() == kTfLiteError, "3 elements to 4");
}

void RunMean() {
  Mean op;
  Expect(op.Prepare() == kTfLiteOk && op.Invoke() == kTfLiteOk, "a good MEAN");
  for (int c = 0; c < 4; ++c) {
    double sum = 0;
    for (int i = c; i < 24; i += 4) {
      sum += op.Real(kA, i);
    }
    Expect(op.IsNear(c, sum / 6, -1e9f), "a mean");
  }
  op.tensor(kA).data.int8 = nullptr;
  Expect(op.Invoke() == kTfLiteError, "an activation without data was taken");
  // A multiplier of zero, and one without room for the division.
  constexpr float kScales[] = {1e-30f, 1e-11f};
  for (const float scale : kScales) {
    Mean tiny;
    tiny.context.tensors[kA].full.params.scale = scale;
    Expect(tiny.Prepare() == kTfLiteOk && tiny.Invoke() == kTfLiteOk, "a tiny scale");
    Expect(tiny.data[kOutputTensor][0] == 7, "a mean of nearly zero is the zero point");
  }
}

void Run() {
  RunAdd(kTfLiteActNone, -1e9f, 1e9f);
  RunAdd(kTfLiteActRelu, 0.0f, 1e9f);
  RunAdd(kTfLiteActRelu6, 0.0f, 6.0f);
  RunAdd(kTfLiteActReluN1To1, -1.0f, 1.0f);
  // The limits lie outside of int8.
  RunAdd(kTfLiteActRelu6, 0.0f, 6.0f, 0.031f);
  RunAdd(kTfLiteActReluN1To1, -1.0f, 1.0f, 0.007f);
  RunTurned();
  RunBroadcast();
  RunMean();
  Refuses<Add>("NK_ADD: ", kBothFaults);
  Refuses<Add>("NK_ADD: ", kAddFaults);
  Refuses<Mean>("NK_MEAN: ", kBothFaults);
  Refuses<Mean>("NK_MEAN: ", kMeanFaults);
}

}  // namespace
}  // namespace micro
}  // namespace tflite

int main() {
  tflite::micro::Run();
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
