/**
 * Calls Init, Prepare and Eval of the TFLite Micro adapter as its interpreter does: an operator
 * that fits its packed stream, with the faults that the head of the input asks for. Prepare must
 * refuse what Eval cannot run.
 */
#include <stdarg.h>
#include <string.h>

#include "eval_tensor.h"
#include "fake_context.h"
#include "int8_lookup.h"
#include "nested_sparse_conv.h"
#include "nk_stream.h"
#include "packed_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace {

constexpr int32_t kMaxElements = 1 << 13;
constexpr int32_t kMaxProducts = 1 << 16;
char last_message[256];

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

void Check(bool holds, const char *what) {
  if (!holds) {
    fuzz_fail(what);
  }
}

/** One operator in the fake interpreter; its tensors live in blocks of just the right size. */
class Operator {
 public:
  explicit Operator(TFLMRegistration *registration) : registration_(registration) {
    tflite_context_.impl_ = static_cast<MicroContext *>(&context);
    node_.inputs = inputs.get();
    node_.outputs = outputs.get();
  }

  ~Operator() {
    for (void *block : blocks_) {
      free(block);
    }
  }

  void SetTensor(TensorIndex index, TfLiteType type, const IntArray &shape) {
    FakeTensor &tensor = context.tensors[index];
    tensor.dims = shape;
    tensor.eval.dims = tensor.dims.get();
    tensor.eval.type = type;
  }

  int32_t Elements(TensorIndex index) const { return CountElements(&context.tensors[index].eval); }

  void Give(TensorIndex index, void *block) {
    blocks_[index] = block;
    context.tensors[index].eval.data.data = block;
  }

  TfLiteStatus Allocate() {
    if (registration_->init != nullptr) {
      node_.user_data = registration_->init(&tflite_context_, nullptr, 0);
    }
    const TfLiteStatus status = registration_->prepare(&tflite_context_, &node_);
    context.is_preparing = false;
    Check(context.misuses == 0, "Prepare called the context out of turn");
    Check(context.temporaries == 0, "Prepare left temporary tensors");
    return status;
  }

  TfLiteStatus Invoke() {
    if (context.scratch_bytes > 0) {
      context.scratch = fuzz_allocate(context.scratch_bytes);
    }
    const TfLiteStatus status = registration_->invoke(&tflite_context_, &node_);
    free(context.scratch);
    context.scratch = nullptr;
    Check(context.misuses == 0, "Eval called the context out of turn");
    return status;
  }

  FakeContext context;
  IntArray inputs = {3, {kInputTensor, kLevelTensor, kStreamTensor}};
  IntArray outputs = {1, {kOutputTensor}};
  TfLiteNode node_ = {};

 private:
  TFLMRegistration *registration_;
  TfLiteContext tflite_context_ = {};
  void *blocks_[kTensors] = {};
};

/** Tensors of the shapes and zero points that the stream's header names. */
void FitToStream(const nk_stream &s, const int32_t dims[5], Operator *op) {
  if (s.kind == NK_KIND_FULLY_CONNECTED) {
    op->SetTensor(kInputTensor, kTfLiteInt8, {2, {dims[0], s.in_channels}});
    op->SetTensor(kOutputTensor, kTfLiteInt8, {2, {dims[0], s.out_channels}});
  } else {
    op->SetTensor(kInputTensor, kTfLiteInt8, {4, {dims[0], dims[1], dims[2], s.in_channels}});
    op->SetTensor(kOutputTensor, kTfLiteInt8, {4, {dims[0], dims[3], dims[4], s.out_channels}});
  }
  op->context.tensors[kInputTensor].full.params.zero_point = -s.input_offset;
  op->context.tensors[kOutputTensor].full.params.zero_point = s.output_offset;
}

/** Spoils one thing, or nothing, as a byte of the head says. */
void Spoil(fuzz_input *head, Operator *op) {
  static const TfLiteType kTypes[] = {kTfLiteFloat32, kTfLiteInt32, kTfLiteUInt8, kTfLiteInt8};
  const auto index = static_cast<TensorIndex>(take_byte(head) % kTensors);
  FakeTensor &tensor = op->context.tensors[index];
  switch (take_byte(head) % 64) {
    case 1:
      tensor.eval.type = kTypes[take_byte(head) % 4];
      break;
    case 2:
      tensor.dims.size = take_byte(head) % (kMaxDims + 1);
      break;
    case 3:
      tensor.dims.data[take_byte(head) % kMaxDims] = take_number(head, 0, 9);
      break;
    case 4:
      op->inputs.data[take_byte(head) % 3] = kLeftOut;
      break;
    case 5:
      op->inputs.size = take_byte(head) % 4;
      break;
    case 6:
      op->outputs.size = take_byte(head) % 2;
      break;
    case 7:
      tensor.full.params.zero_point = take_int32(head);
      break;
    case 8:
      op->node_.custom_initial_data_size = take_int32(head);
      break;
    case 9:
      op->context.persistent_budget = take_byte(head);
      break;
    case 10:
      op->context.temporary_budget = take_byte(head);
      break;
    case 11:
      op->context.scratch_budget = take_byte(head);
      break;
    case 12:
      op->context.tensors[kStreamTensor].eval.data.data = nullptr;
      break;
    default:
      break;
  }
}

bool IsTooLarge(const Operator &op, int32_t products) {
  return op.Elements(kInputTensor) > kMaxElements || op.Elements(kOutputTensor) > kMaxElements ||
         static_cast<int64_t>(op.Elements(kOutputTensor)) * products > kMaxProducts;
}

/** Gives input, output and level their memory, and runs at a level that may be out of range. */
void Run(fuzz_input *head, int32_t levels, Operator *op) {
  const auto output_bytes = static_cast<size_t>(op->Elements(kOutputTensor));
  op->Give(kInputTensor, take_block(head, static_cast<size_t>(op->Elements(kInputTensor))));
  op->Give(kOutputTensor, fuzz_allocate(output_bytes));
  for (int32_t step = -1; step <= levels; ++step) {
    int32_t *level = static_cast<int32_t *>(fuzz_allocate(sizeof(int32_t)));
    *level = step;
    op->context.tensors[kLevelTensor].eval.data.i32 = level;
    const bool by_input = op->inputs.data[1] != kLeftOut;
    op->context.set_external_context(by_input ? nullptr : level);
    const bool is_a_level = 0 <= step && step < levels;
    Check((op->Invoke() == kTfLiteOk) == is_a_level, "Eval took or refused the wrong level");
    op->context.tensors[kLevelTensor].eval.data.data = nullptr;
    free(level);
  }
  if (op->inputs.data[1] == kLeftOut) {
    op->context.set_external_context(nullptr);
    Check(op->Invoke() == kTfLiteError, "Eval ran without a level");
  }
}

void RunNestedConv(packed_input *in) {
  int32_t dims[5];
  for (int32_t &dimension : dims) {
    dimension = take_dimension(&in->head);
  }
  Operator op(Register_NESTED_SPARSE_CONV());
  void *stream = fuzz_allocate(in->stream_size);
  memcpy(stream, in->stream, in->stream_size);
  nk_stream s = {};
  const bool opens = nk_stream_open(static_cast<uint8_t *>(stream), in->stream_size, &s) == NK_OK;
  op.SetTensor(kLevelTensor, kTfLiteInt32, {1, {1}});
  op.SetTensor(kStreamTensor, kTfLiteUInt8, {1, {static_cast<int>(in->stream_size)}});
  // Fields of a stream that does not open may be out of range.
  FitToStream(opens ? s : nk_stream{}, dims, &op);
  op.Give(kStreamTensor, stream);
  Spoil(&in->head, &op);
  // A dimension that was changed must not promise more bytes than there are.
  if (op.Elements(kStreamTensor) > static_cast<int32_t>(in->stream_size)) {
    return;
  }
  last_message[0] = '\0';
  if (op.Allocate() != kTfLiteOk) {
    Check(strncmp(last_message, "NESTED_SPARSE_CONV: ", 20) == 0, "Prepare refused without a line");
    return;
  }
  Check(opens, "Prepare took a stream that does not open");
  nk_stream_open(static_cast<uint8_t *>(stream), static_cast<size_t>(op.Elements(kStreamTensor)),
                 &s);
  if (!IsTooLarge(op, s.channel_weights)) {
    Run(&in->head, s.levels, &op);
  }
}

void RunLookup(packed_input *in) {
  Operator op(Register_INT8_LOOKUP());
  op.inputs = {2, {kInputTensor, kStreamTensor}};
  const IntArray shape = {2, {take_number(&in->head, 1, 9), take_number(&in->head, 1, 9)}};
  op.SetTensor(kInputTensor, kTfLiteInt8, shape);
  op.SetTensor(kOutputTensor, kTfLiteInt8, shape);
  op.SetTensor(kStreamTensor, kTfLiteInt8, {1, {256}});
  op.SetTensor(kLevelTensor, kTfLiteInt32, {1, {1}});
  void *table = fuzz_allocate(256);
  memset(table, 7, 256);
  op.Give(kStreamTensor, table);
  Spoil(&in->head, &op);
  last_message[0] = '\0';
  if (op.Allocate() != kTfLiteOk) {
    Check(strncmp(last_message, "INT8_LOOKUP: ", 13) == 0, "Prepare refused without a line");
    return;
  }
  if (!IsTooLarge(op, 1)) {
    op.Give(kInputTensor, take_block(&in->head, static_cast<size_t>(op.Elements(kInputTensor))));
    op.Give(kOutputTensor, fuzz_allocate(static_cast<size_t>(op.Elements(kOutputTensor))));
    Check(op.Invoke() == kTfLiteOk, "Eval refused what Prepare took");
  }
}

}  // namespace
}  // namespace micro
}  // namespace tflite

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  packed_input in;
  if (!split_input(data, size, &in)) {
    return 0;
  }
  // One of the two operators, by the last byte of the head.
  if (data[FUZZ_HEAD_BYTES - 1] == 1) {
    tflite::micro::RunLookup(&in);
  } else {
    tflite::micro::RunNestedConv(&in);
  }
  return 0;
}
