#include "adapter_test.h"

#include <stdarg.h>
#include <string.h>

#include "fake_context.h"
#include "nested_sparse_conv.h"
#include "nk_format.h"
#include "nk_stream.h"

namespace {

char last_message[256];

void Append(const char *text, size_t length) {
  const size_t used = strlen(last_message);
  const size_t room = sizeof last_message - 1 - used;
  const size_t taken = length < room ? length : room;
  memcpy(last_message + used, text, taken);
  last_message[used + taken] = '\0';
}

void AppendNumber(int value) {
  char digits[16];
  size_t at = sizeof digits;
  unsigned rest = value < 0 ? 0u - static_cast<unsigned>(value) : static_cast<unsigned>(value);
  do {
    digits[--at] = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0) {
    digits[--at] = '-';
  }
  Append(digits + at, sizeof digits - at);
}

}  // namespace

/** Takes %s and %d, all that the adapter uses; printf() would need a heap on the M7. */
void MicroPrintf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  last_message[0] = '\0';
  for (const char *c = format; *c != '\0'; ++c) {
    if (*c != '%') {
      Append(c, 1);
    } else if (*++c == 's') {
      const char *text = va_arg(arguments, const char *);
      Append(text, strlen(text));
    } else {
      AppendNumber(va_arg(arguments, int));
    }
  }
  va_end(arguments);
}

namespace tflite {
namespace micro {
namespace {

uint32_t Crc32(const uint8_t *data, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
  }
  return ~crc;
}

/** One operator in a fake interpreter, with copies of the case's data of just the right size. */
class Operator {
 public:
  Operator(const nested_case &layer, const TestPlatform &platform)
      : layer_(layer), platform_(platform) {
    input_ = Copy(layer.input, layer.input_size);
    stream_ = Copy(layer.stream, layer.stream_size);
    output_ = platform.allocate(static_cast<size_t>(layer.output_size));
    nk_stream header;
    nk_stream_open(static_cast<uint8_t *>(stream_), static_cast<size_t>(layer.stream_size),
                   &header);
    const bool is_row = header.kind == NK_KIND_FULLY_CONNECTED;
    const nk_conv_dims &d = layer.dims;
    if (is_row) {
      SetTensor(kInputTensor, kTfLiteInt8, {2, {d.batches, header.in_channels}});
      SetTensor(kOutputTensor, kTfLiteInt8, {2, {d.batches, header.out_channels}});
    } else {
      SetTensor(kInputTensor, kTfLiteInt8,
                {4, {d.batches, d.input_h, d.input_w, header.in_channels}});
      SetTensor(kOutputTensor, kTfLiteInt8,
                {4, {d.batches, d.output_h, d.output_w, header.out_channels}});
    }
    SetTensor(kLevelTensor, kTfLiteInt32, {1, {1}});
    SetTensor(kStreamTensor, kTfLiteUInt8, {1, {layer.stream_size}});
    context.tensors[kInputTensor].full.params.zero_point = -header.input_offset;
    context.tensors[kOutputTensor].full.params.zero_point = header.output_offset;
    context.tensors[kStreamTensor].eval.data.data = stream_;
    node_.inputs = inputs.get();
    node_.outputs = outputs.get();
  }

  uint8_t *stream() { return static_cast<uint8_t *>(stream_); }
  TfLiteEvalTensor &tensor(TensorIndex index) { return context.tensors[index].eval; }
  IntArray &dims(TensorIndex index) { return context.tensors[index].dims; }

  /** Init and Prepare. */
  TfLiteStatus Allocate() {
    tflite_context_.impl_ = static_cast<MicroContext *>(&context);
    node_.custom_initial_data_size = custom_options_bytes;
    last_message[0] = '\0';
    node_.user_data = Register_NESTED_SPARSE_CONV()->init(&tflite_context_, nullptr, 0);
    const TfLiteStatus status = Register_NESTED_SPARSE_CONV()->prepare(&tflite_context_, &node_);
    context.is_preparing = false;
    if (status == kTfLiteOk) {
      if (context.scratch_bytes > 0) {
        context.scratch = platform_.allocate(context.scratch_bytes);
      }
      tensor(kInputTensor).data.data = input_;
      tensor(kOutputTensor).data.data = output_;
      tensor(kLevelTensor).data.i32 = &level_;
    }
    return status;
  }

  TfLiteStatus Invoke(int32_t level) {
    level_ = level;
    last_message[0] = '\0';
    memset(output_, 0x55, static_cast<size_t>(layer_.output_size));
    return Register_NESTED_SPARSE_CONV()->invoke(&tflite_context_, &node_);
  }

  bool OutputIsThatOf(int32_t level) const {
    const size_t size = static_cast<size_t>(layer_.output_size);
    return memcmp(output_, layer_.outputs + static_cast<size_t>(level) * size, size) == 0;
  }

  FakeContext context;
  IntArray inputs = {3, {kInputTensor, kLevelTensor, kStreamTensor}};
  IntArray outputs = {1, {kOutputTensor}};
  int custom_options_bytes = 0;

 private:
  void *Copy(const void *data, int32_t size) {
    void *memory = platform_.allocate(static_cast<size_t>(size));
    memcpy(memory, data, static_cast<size_t>(size));
    return memory;
  }

  void SetTensor(TensorIndex index, TfLiteType type, IntArray shape) {
    FakeTensor &tensor = context.tensors[index];
    tensor.dims = shape;
    tensor.eval.dims = tensor.dims.get();
    tensor.eval.type = type;
  }

  const nested_case &layer_;
  const TestPlatform &platform_;
  TfLiteContext tflite_context_ = {};
  TfLiteNode node_ = {};
  void *input_;
  void *stream_;
  void *output_;
  int32_t level_ = 0;
};

/** Counts and prints what does not hold. */
class Checker {
 public:
  explicit Checker(const TestPlatform &platform) : platform_(platform) {}

  void Expect(bool holds, const char *what) {
    if (!holds) {
      ++failures;
      platform_.print(what);
      platform_.print(last_message);
    }
  }

  int failures = 0;

 private:
  const TestPlatform &platform_;
};

void ExpectAllLevels(Operator *op, int32_t levels, Checker *check, const char *what) {
  for (int32_t i = 0; i < 2 * levels; ++i) {
    const int32_t level = i < levels ? i : 2 * levels - 1 - i;  // up, then down again
    check->Expect(op->Invoke(level) == kTfLiteOk && op->OutputIsThatOf(level), what);
  }
}

void TestLevels(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  check->Expect(op.Allocate() == kTfLiteOk, "Prepare refused a good operator");
  ExpectAllLevels(&op, layer.levels, check, "output by the level input");
  check->Expect(op.Invoke(layer.levels) == kTfLiteError, "level N taken");
  check->Expect(strstr(last_message, "level must be in 0..") != nullptr, "message of level N");
  check->Expect(op.Invoke(-1) == kTfLiteError, "level -1 taken");
  check->Expect(op.Invoke(INT32_MIN) == kTfLiteError, "level INT32_MIN taken");
  ExpectAllLevels(&op, layer.levels, check, "output after refused levels");
  check->Expect(op.context.misuses == 0, "calls out of turn");
  check->Expect(op.context.temporaries == 0, "temporary tensors left");
}

void TestExternalLevel(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  op.inputs.data[1] = kLeftOut;
  check->Expect(op.Allocate() == kTfLiteOk, "Prepare refused a level left out");
  check->Expect(op.Invoke(0) == kTfLiteError, "no level, and no error");
  int32_t level = 0;
  op.context.set_external_context(&level);
  for (level = 0; level < layer.levels; ++level) {
    check->Expect(op.Invoke(-5) == kTfLiteOk && op.OutputIsThatOf(level),
                  "output by the external context");
  }
  check->Expect(op.Invoke(0) == kTfLiteError, "external level N taken");
}

/** What is wrong with an operator: a change to a good one. */
struct Fault {
  const char *name;
  void (*apply)(Operator *op);
  /** What the message must contain. */
  const char *message;
};

void RewriteHeaderChecksum(Operator *op) {
  const uint32_t crc = Crc32(op->stream(), NK_OFFSET_CRC32);
  for (int i = 0; i < 4; ++i) {
    op->stream()[NK_OFFSET_CRC32 + i] = static_cast<uint8_t>(crc >> (8 * i));
  }
}

const Fault kFaults[] = {
    {"magic", [](Operator *op) { op->stream()[0] ^= 1; }, "NK_ERROR_FOREIGN"},
    {"version", [](Operator *op) { op->stream()[NK_OFFSET_VERSION] += 1; }, "NK_ERROR_VERSION"},
    {"kind",
     [](Operator *op) {
       op->stream()[NK_OFFSET_KIND] = 9;
       RewriteHeaderChecksum(op);
     },
     "NK_ERROR_MALFORMED"},
    {"header checksum", [](Operator *op) { op->stream()[NK_OFFSET_CRC32] ^= 1; },
     "NK_ERROR_CHECKSUM"},
    {"level checksum",
     [](Operator *op) { op->stream()[NK_STREAM_HEADER_BYTES + NK_LEVEL_OFFSET_CRC32] ^= 1; },
     "NK_ERROR_CHECKSUM"},
    {"last byte", [](Operator *op) { op->stream()[op->dims(kStreamTensor).data[0] - 1] ^= 1; },
     "the stream is not valid"},
    {"first bias",
     [](Operator *op) { op->stream()[NK_STREAM_HEADER_BYTES + NK_LEVEL_HEADER_BYTES] ^= 1; },
     "NK_ERROR_CHECKSUM"},
    {"tables of another size",
     [](Operator *op) {
       op->stream()[NK_OFFSET_OUT_CHANNELS + 1] += 1;  // 256 channels more
       RewriteHeaderChecksum(op);
     },
     "the stream is not valid"},
    {"more levels than 16",
     [](Operator *op) {
       op->stream()[NK_OFFSET_LEVELS] = 17;
       RewriteHeaderChecksum(op);
     },
     "NK_ERROR_MALFORMED"},
    {"cut by 16 bytes", [](Operator *op) { op->dims(kStreamTensor).data[0] -= 16; },
     "the stream is not valid"},
    {"cut by a byte", [](Operator *op) { op->dims(kStreamTensor).data[0] -= 1; },
     "the stream is not valid"},
    {"header alone", [](Operator *op) { op->dims(kStreamTensor).data[0] = NK_STREAM_HEADER_BYTES; },
     "the stream is not valid"},
    {"half a header", [](Operator *op) { op->dims(kStreamTensor).data[0] = 32; },
     "NK_ERROR_TRUNCATED"},
    {"misaligned", [](Operator *op) { op->tensor(kStreamTensor).data.uint8 += 1; }, "aligned"},
    {"stream not constant", [](Operator *op) { op->tensor(kStreamTensor).data.data = nullptr; },
     "constant"},
    {"stream of int8", [](Operator *op) { op->tensor(kStreamTensor).type = kTfLiteInt8; }, "uint8"},
    {"stream of no size", [](Operator *op) { op->dims(kStreamTensor).data[0] = 0; }, "constant"},
    {"stream of two dimensions",
     [](Operator *op) { op->dims(kStreamTensor) = {2, {1, op->dims(kStreamTensor).data[0]}}; },
     "one dimension"},
    {"no stream", [](Operator *op) { op->inputs.data[2] = kLeftOut; }, "left out"},
    {"no input", [](Operator *op) { op->inputs.data[0] = kLeftOut; }, "left out"},
    {"output left out", [](Operator *op) { op->outputs.data[0] = kLeftOut; }, "left out"},
    {"two inputs", [](Operator *op) { op->inputs.size = 2; }, "expected the inputs"},
    {"no output", [](Operator *op) { op->outputs.size = 0; }, "one output"},
    {"options", [](Operator *op) { op->custom_options_bytes = 3; }, "custom options"},
    {"float input", [](Operator *op) { op->tensor(kInputTensor).type = kTfLiteFloat32; }, "type"},
    {"uint8 output", [](Operator *op) { op->tensor(kOutputTensor).type = kTfLiteUInt8; }, "type"},
    {"level of int8", [](Operator *op) { op->tensor(kLevelTensor).type = kTfLiteInt8; },
     "one int32"},
    {"two levels", [](Operator *op) { op->dims(kLevelTensor).data[0] = 2; }, "one int32"},
    {"zero point of the input",
     [](Operator *op) { op->context.tensors[kInputTensor].full.params.zero_point += 1; },
     "the zero point of the input"},
    {"zero point of the output",
     [](Operator *op) { op->context.tensors[kOutputTensor].full.params.zero_point -= 1; },
     "the zero point of the output"},
    {"output channels",
     [](Operator *op) {
       IntArray &dims = op->dims(kOutputTensor);
       dims.data[dims.size - 1] += 1;
     },
     ""},
    {"input channels",
     [](Operator *op) {
       IntArray &dims = op->dims(kInputTensor);
       dims.data[dims.size - 1] += 1;
     },
     ""},
    {"batches", [](Operator *op) { op->dims(kOutputTensor).data[0] += 1; }, ""},
    {"output without pixels", [](Operator *op) { op->dims(kOutputTensor).data[1] = 0; }, ""},
    {"input too large",
     [](Operator *op) { op->dims(kInputTensor).data[0] = op->dims(kInputTensor).data[1] = 65536; },
     ""},
    {"three dimensions",
     [](Operator *op) {
       op->dims(kInputTensor).size = op->dims(kInputTensor).size == 4 ? 3 : 1;
       op->dims(kInputTensor).data[0] += 1;
     },
     ""},
    {"output of fewer dimensions",
     [](Operator *op) {
       op->dims(kOutputTensor).size = op->dims(kOutputTensor).size == 4 ? 3 : 1;
       op->dims(kOutputTensor).data[0] += 1;
     },
     ""},
    {"output too wide",
     [](Operator *op) {
       IntArray &dims = op->dims(kOutputTensor);
       dims.data[dims.size == 4 ? 2 : 1] += 3;
     },
     ""},
    {"input of one row",
     [](Operator *op) {
       op->dims(kInputTensor).data[op->dims(kInputTensor).size == 4 ? 1 : 0] = 1;
       op->dims(kOutputTensor).data[op->dims(kOutputTensor).size == 4 ? 1 : 0] = 50;
     },
     ""},
    {"output too high", [](Operator *op) { op->dims(kOutputTensor).data[1] += 3; }, ""},
    {"no arena for Init", [](Operator *op) { op->context.persistent_budget = 8; },
     "too small for Init"},
    {"no arena for Prepare", [](Operator *op) { op->context.temporary_budget = 8; },
     "too small for Prepare"},
};

void TestFaults(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  for (const Fault &fault : kFaults) {
    Operator op(layer, platform);
    fault.apply(&op);
    check->Expect(op.Allocate() == kTfLiteError, fault.name);
    check->Expect(strstr(last_message, "NESTED_SPARSE_CONV: ") == last_message, fault.name);
    check->Expect(strstr(last_message, fault.message) != nullptr, fault.name);
    check->Expect(op.context.temporaries == 0, fault.name);
    platform.release_all();
  }
}

void TestScratch(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  check->Expect(op.Allocate() == kTfLiteOk, "Prepare refused a good operator");
  if (op.context.scratch_bytes == 0) {
    return;
  }
  Operator small(layer, platform);
  small.context.scratch_budget = op.context.scratch_bytes - 1;
  check->Expect(small.Allocate() == kTfLiteError, "no room for the scratch buffer, and no error");
  check->Expect(strstr(last_message, "scratch") != nullptr, "message of the scratch buffer");
}

/** An image whose rows fit the window, but are more than the kernels take; or too few. */
void TestTallImage(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  Operator low(layer, platform);
  if (op.dims(kInputTensor).size != 4) {
    return;
  }
  low.dims(kInputTensor).data[1] = 4000;
  check->Expect(low.Allocate() == kTfLiteError, "an output of too few rows was taken");
  nk_stream s;
  nk_stream_open(op.stream(), static_cast<size_t>(layer.stream_size), &s);
  const int32_t input = 65536;
  const int32_t room = input + s.pad_top - (s.kernel_h - 1) * s.dilation_h - 1;
  op.dims(kInputTensor).data[1] = input;
  op.dims(kOutputTensor).data[1] = room / s.stride_h + 1;
  check->Expect(op.Allocate() == kTfLiteError, "an image of 65536 rows was taken");
  check->Expect(strstr(last_message, "does not take these dimensions") != nullptr,
                "message of an image of 65536 rows");
}

/** Eval checks again what a stream that has changed since Prepare could break. */
void TestChangedStream(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  check->Expect(op.Allocate() == kTfLiteOk, "Prepare refused a good operator");
  op.stream()[0] ^= 1;
  check->Expect(op.Invoke(0) == kTfLiteError, "a stream without its magic was run");
  check->Expect(strstr(last_message, "changed since Prepare") != nullptr, "message of the change");
  op.stream()[0] ^= 1;
  if (layer.dims.output_h > 1) {
    op.stream()[NK_OFFSET_STRIDE_H] = 255;
    check->Expect(op.Invoke(0) == kTfLiteError, "a stream with another stride was run");
    check->Expect(strstr(last_message, "the kernel failed") != nullptr, "message of the kernel");
  }
}

/** A stream cut after a level is a model with fewer levels. */
void TestCutStream(const nested_case &layer, const TestPlatform &platform, Checker *check) {
  Operator op(layer, platform);
  uint32_t first_block;
  memcpy(&first_block, op.stream() + NK_STREAM_HEADER_BYTES, sizeof first_block);
  op.dims(kStreamTensor).data[0] = static_cast<int>(NK_STREAM_HEADER_BYTES + first_block);
  check->Expect(op.Allocate() == kTfLiteOk, "Prepare refused a stream cut after level 0");
  check->Expect(op.Invoke(0) == kTfLiteOk && op.OutputIsThatOf(0), "output of a cut stream");
  check->Expect(op.Invoke(1) == kTfLiteError, "level beyond a cut stream taken");
}

}  // namespace
}  // namespace micro
}  // namespace tflite

int TestAdapter(const nested_case &layer, const TestPlatform &platform) {
  tflite::micro::Checker check(platform);
  constexpr void (*kTests[])(const nested_case &, const TestPlatform &,
                             tflite::micro::Checker *) = {
      tflite::micro::TestLevels, tflite::micro::TestExternalLevel, tflite::micro::TestFaults,
      tflite::micro::TestScratch, tflite::micro::TestTallImage, tflite::micro::TestChangedStream,
      tflite::micro::TestCutStream,
      // Refused operators leave nothing behind.
      tflite::micro::TestLevels};
  for (const auto test : kTests) {
    test(layer, platform, &check);
    platform.release_all();
  }
  return check.failures;
}
