#include "nested_sparse_conv.h"

#include <stddef.h>
#include <stdint.h>

#include "../include/nk_nested_conv.h"
#include "../include/nk_status.h"
#include "../include/nk_stream.h"
#include "eval_tensor.h"

namespace tflite {
namespace micro {
namespace {

constexpr int kInput = 0;
constexpr int kLevel = 1;
constexpr int kStream = 2;
constexpr int kInputs = 3;
constexpr int kOutput = 0;
constexpr int kNoScratch = -1;
constexpr uintptr_t kStreamAlignment = 4;

/** Data that Prepare keeps for Eval. Eval opens the stream each time, as an nk_stream is large. */
struct OpData {
  nk_conv_dims dims;
  int32_t scratch_bytes;
  int scratch_index;
};

TfLiteStatus Refuse(const char *reason) {
  MicroPrintf("NESTED_SPARSE_CONV: %s", reason);
  return kTfLiteError;
}

TfLiteStatus RefuseStatus(const char *what, nk_status status) {
  MicroPrintf("NESTED_SPARSE_CONV: %s: %s", what, nk_status_name(status));
  return kTfLiteError;
}

TfLiteStatus RefuseValue(const char *what, int32_t expected, int32_t found) {
  MicroPrintf("NESTED_SPARSE_CONV: %s must be %d: got %d", what, static_cast<int>(expected),
              static_cast<int>(found));
  return kTfLiteError;
}

nk_status OpenStream(const TfLiteEvalTensor *tensor, nk_stream *stream) {
  return nk_stream_open(tensor->data.uint8, static_cast<size_t>(tensor->dims->data[0]), stream);
}

/** One spatial axis of a convolution: sizes, and the window from the stream's header. */
struct Axis {
  int32_t input;
  int32_t output;
  int32_t kernel;
  int32_t stride;
  int32_t dilation;
  int32_t pad_before;
};

/**
 * Whether the window takes `input` to `output` pixels. The padding behind is between 0 (VALID) and
 * pad_before + 1 (SAME with an odd total).
 */
bool Fits(const Axis &axis) {
  const int64_t reach = static_cast<int64_t>(axis.kernel - 1) * axis.dilation + 1;
  const int64_t room = static_cast<int64_t>(axis.input) + axis.pad_before - reach;
  const int64_t wider = room + axis.pad_before + 1;
  // A window beyond the input gives one pixel or none, because division rounds towards zero.
  const int64_t fewest = room < 0 ? 1 : room / axis.stride + 1;
  const int64_t most = wider < 0 ? 0 : wider / axis.stride + 1;
  return fewest <= axis.output && axis.output <= most;
}

TfLiteStatus ReadFullyConnectedDims(const nk_stream &stream, const TfLiteEvalTensor *input,
                                    const TfLiteEvalTensor *output, nk_conv_dims *dims) {
  const int32_t features = CountElements(input);
  const int32_t results = CountElements(output);
  const int32_t rows = features / stream.in_channels;
  if (features < 1 || results < 1 || features % stream.in_channels != 0 ||
      results % stream.out_channels != 0 || results / stream.out_channels != rows) {
    MicroPrintf("NESTED_SPARSE_CONV: a stream of %d -> %d features does not take %d to %d",
                static_cast<int>(stream.in_channels), static_cast<int>(stream.out_channels),
                static_cast<int>(features), static_cast<int>(results));
    return kTfLiteError;
  }
  *dims = {rows, 1, 1, 1, 1};
  return kTfLiteOk;
}

TfLiteStatus ReadConvDims(const nk_stream &stream, const TfLiteEvalTensor *input,
                          const TfLiteEvalTensor *output, nk_conv_dims *dims) {
  if (input->dims->size != 4 || output->dims->size != 4) {
    return RefuseValue("the number of dimensions of input and output", 4,
                       input->dims->size != 4 ? input->dims->size : output->dims->size);
  }
  if (CountElements(input) < 1 || CountElements(output) < 1) {
    return Refuse("dimensions must be positive, with at most 2^31 - 1 elements in all");
  }
  const int *x = input->dims->data;
  const int *y = output->dims->data;
  if (y[0] != x[0]) {
    return RefuseValue("the batch size of the output", x[0], y[0]);
  }
  if (x[3] != stream.in_channels) {
    return RefuseValue("the number of input channels", stream.in_channels, x[3]);
  }
  if (y[3] != stream.out_channels) {
    return RefuseValue("the number of output channels", stream.out_channels, y[3]);
  }
  const Axis height = {x[1],          y[1], stream.kernel_h, stream.stride_h, stream.dilation_h,
                       stream.pad_top};
  const Axis width = {x[2],           y[2], stream.kernel_w, stream.stride_w, stream.dilation_w,
                      stream.pad_left};
  if (!Fits(height) || !Fits(width)) {
    MicroPrintf("NESTED_SPARSE_CONV: kernel, stride and padding do not take %dx%d to %dx%d pixels",
                x[1], x[2], y[1], y[2]);
    return kTfLiteError;
  }
  *dims = {x[0], x[1], x[2], y[1], y[2]};
  return kTfLiteOk;
}

/** Checks that the zero points in the stream, which the kernels use, equal the tensors'. */
TfLiteStatus CheckZeroPoints(const nk_stream &stream, MicroContext *micro_context,
                             const TfLiteNode *node) {
  const int indices[] = {node->inputs->data[kInput], node->outputs->data[kOutput]};
  const int32_t expected[] = {-stream.input_offset, stream.output_offset};
  const char *const names[] = {"the zero point of the input", "the zero point of the output"};
  for (int i = 0; i < 2; ++i) {
    TfLiteTensor *tensor = micro_context->AllocateTempTfLiteTensor(indices[i]);
    if (tensor == nullptr) {
      return Refuse("the arena is too small for Prepare");
    }
    const int32_t zero_point = tensor->params.zero_point;
    micro_context->DeallocateTempTfLiteTensor(tensor);
    if (zero_point != expected[i]) {
      return RefuseValue(names[i], expected[i], zero_point);
    }
  }
  return kTfLiteOk;
}

/** Checks types. The stream must be a constant, because only constants have data before Eval. */
TfLiteStatus CheckTensors(const TfLiteEvalTensor *input, const TfLiteEvalTensor *level,
                          const TfLiteEvalTensor *stream, const TfLiteEvalTensor *output) {
  if (input == nullptr || stream == nullptr || output == nullptr) {
    return Refuse("input, stream and output must not be left out");
  }
  if (input->type != kTfLiteInt8 || output->type != kTfLiteInt8) {
    return RefuseValue("the type of input and output", kTfLiteInt8,
                       input->type != kTfLiteInt8 ? input->type : output->type);
  }
  if (level != nullptr && (level->type != kTfLiteInt32 || CountElements(level) != 1)) {
    return Refuse("the level must be one int32");
  }
  if (stream->type != kTfLiteUInt8 || stream->dims->size != 1 || CountElements(stream) < 1 ||
      stream->data.uint8 == nullptr) {
    return Refuse("the stream must be a constant of uint8 with one dimension");
  }
  return kTfLiteOk;
}

void *Init(TfLiteContext *context, const char * /*buffer*/, size_t /*length*/) {
  // Null if the arena is too small; Prepare reports the error.
  return GetMicroContext(context)->AllocatePersistentBuffer(sizeof(OpData));
}

TfLiteStatus Prepare(TfLiteContext *context, TfLiteNode *node) {
  MicroContext *micro_context = GetMicroContext(context);
  OpData *op = static_cast<OpData *>(node->user_data);
  if (op == nullptr) {
    return Refuse("the arena is too small for Init");
  }
  if (node->inputs->size != kInputs || node->outputs->size != 1) {
    return Refuse("expected the inputs activation, level and stream, and one output");
  }
  if (node->custom_initial_data_size != 0) {
    return RefuseValue("the number of bytes of custom options", 0, node->custom_initial_data_size);
  }
  const TfLiteEvalTensor *input = GetEvalInput(context, node, kInput);
  const TfLiteEvalTensor *level = GetEvalInput(context, node, kLevel);
  const TfLiteEvalTensor *packed = GetEvalInput(context, node, kStream);
  const TfLiteEvalTensor *output = GetEvalOutput(context, node, kOutput);
  if (CheckTensors(input, level, packed, output) != kTfLiteOk) {
    return kTfLiteError;
  }
  if (reinterpret_cast<uintptr_t>(packed->data.uint8) % kStreamAlignment != 0) {
    return Refuse("the stream must be 4-byte aligned: align the model to 16 bytes");
  }
  nk_stream stream;
  nk_status status = OpenStream(packed, &stream);
  if (status == NK_OK) {
    status = nk_stream_validate(&stream);
  }
  if (status != NK_OK) {
    return RefuseStatus("the stream is not valid", status);
  }
  const bool is_fully_connected = stream.kind == NK_KIND_FULLY_CONNECTED;
  if ((is_fully_connected ? ReadFullyConnectedDims(stream, input, output, &op->dims)
                          : ReadConvDims(stream, input, output, &op->dims)) != kTfLiteOk ||
      CheckZeroPoints(stream, micro_context, node) != kTfLiteOk) {
    return kTfLiteError;
  }
  op->scratch_index = kNoScratch;
  op->scratch_bytes = nk_nested_conv_s8_get_buffer_size(&stream, &op->dims);
  if (op->scratch_bytes < 0) {
    return RefuseStatus("the kernel does not take these dimensions", NK_ERROR_SHAPE);
  }
  if (op->scratch_bytes > 0 &&
      micro_context->RequestScratchBufferInArena(static_cast<size_t>(op->scratch_bytes),
                                                 &op->scratch_index) != kTfLiteOk) {
    return Refuse("the arena is too small for the scratch buffer");
  }
  return kTfLiteOk;
}

/** The level of this inference; null without a level input and without an external context. */
const int32_t *FindLevel(TfLiteContext *context, const TfLiteNode *node) {
  const TfLiteEvalTensor *level = GetEvalInput(context, node, kLevel);
  return level != nullptr ? level->data.i32
                          : static_cast<int32_t *>(GetMicroContext(context)->external_context());
}

TfLiteStatus Eval(TfLiteContext *context, TfLiteNode *node) {
  const OpData *op = static_cast<const OpData *>(node->user_data);
  const int32_t *level = FindLevel(context, node);
  if (level == nullptr) {
    return Refuse("no level: neither an input nor an external context");
  }
  nk_stream stream;
  nk_status status = OpenStream(GetEvalInput(context, node, kStream), &stream);
  if (status != NK_OK) {
    return RefuseStatus("the stream has changed since Prepare", status);
  }
  if (*level < 0 || *level >= stream.levels) {
    MicroPrintf("NESTED_SPARSE_CONV: level must be in 0..%d: got %d",
                static_cast<int>(stream.levels - 1), static_cast<int>(*level));
    return kTfLiteError;
  }
  void *scratch = op->scratch_index == kNoScratch
                      ? nullptr
                      : GetMicroContext(context)->GetScratchBuffer(op->scratch_index);
  status =
      nk_nested_conv_s8(&stream, *level, &op->dims, GetEvalInput(context, node, kInput)->data.int8,
                        GetEvalOutput(context, node, kOutput)->data.int8, scratch,
                        static_cast<size_t>(op->scratch_bytes));
  return status == NK_OK ? kTfLiteOk : RefuseStatus("the kernel failed", status);
}

}  // namespace

TFLMRegistration *Register_NESTED_SPARSE_CONV() {
  // AddCustom() fills in the name and the code; only the functions are ours.
  static TFLMRegistration registration = {Init, nullptr, Prepare, Eval, nullptr, 0, nullptr};
  return &registration;
}

}  // namespace micro
}  // namespace tflite
