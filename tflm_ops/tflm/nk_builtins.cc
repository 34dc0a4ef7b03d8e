#include "nk_builtins.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/nk_ops.h"
#include "../include/nk_status.h"
#include "eval_tensor.h"

namespace tflite {
namespace micro {
namespace {

constexpr int kFirst = 0;
constexpr int kSecond = 1;
constexpr int kInputs = 2;
constexpr int kOutput = 0;
constexpr int kMaxRank = 4;
constexpr int kAddLeftShift = 20;
constexpr const char *kNotQuantized =
    "a tensor has no scale or a zero point out of -128..127, or the arena is too small for Prepare";

/** Data that Prepare keeps for Eval. */
struct AddData {
  nk_add_params params;
  nk_dims4 input1;
  nk_dims4 input2;
  nk_dims4 output;
};

struct MeanData {
  nk_mean_params params;
  nk_dims4 input;
};

TfLiteStatus Refuse(const char *op, const char *reason) {
  MicroPrintf("%s: %s", op, reason);
  return kTfLiteError;
}

/** Scale and zero point of a tensor. */
struct Quantization {
  double scale;
  int32_t zero_point;
};

/** Returns false if the arena is too small, or if the tensor is not quantised to int8. */
bool ReadQuantization(TfLiteContext *context, int tensor_index, Quantization *quantization) {
  MicroContext *micro_context = GetMicroContext(context);
  TfLiteTensor *tensor = micro_context->AllocateTempTfLiteTensor(tensor_index);
  if (tensor == nullptr) {
    return false;
  }
  *quantization = {static_cast<double>(tensor->params.scale), tensor->params.zero_point};
  micro_context->DeallocateTempTfLiteTensor(tensor);
  return quantization->scale > 0 && quantization->scale < INFINITY &&
         INT8_MIN <= quantization->zero_point && quantization->zero_point <= INT8_MAX;
}

/** The dimensions with leading ones; false for more than four, or for no elements. */
bool ReadDims(const TfLiteEvalTensor *tensor, nk_dims4 *dims) {
  const int rank = tensor->dims->size;
  if (rank > kMaxRank || CountElements(tensor) < 1) {
    return false;
  }
  int32_t sizes[kMaxRank] = {1, 1, 1, 1};
  for (int i = 0; i < rank; ++i) {
    sizes[kMaxRank - rank + i] = tensor->dims->data[i];
  }
  *dims = {sizes[0], sizes[1], sizes[2], sizes[3]};
  return true;
}

/**
 * `real` as multiplier * 2^(shift - 31) by TFLite's rule; false where the shift exceeds 30. The
 * quotient of two floats, which `real` is, has no mantissa that is rounded up to 1.
 */
bool QuantizeMultiplier(double real, int32_t *multiplier, int32_t *shift) {
  int exponent;
  const double mantissa = frexp(real, &exponent);
  *multiplier = static_cast<int32_t>(floor(mantissa * 2147483648.0 + 0.5));
  if (exponent < -31) {
    *multiplier = 0;
    exponent = 0;
  }
  *shift = exponent;
  return exponent <= 30;
}

/** The int8 value of a real limit of an activation function. */
int32_t QuantizedLimit(float real, const Quantization &output) {
  const double steps = static_cast<double>(real / static_cast<float>(output.scale));
  const double rounded = steps < 0 ? -floor(0.5 - steps) : floor(steps + 0.5);
  const double limit = output.zero_point + rounded;
  return static_cast<int32_t>(limit < -128 ? -128 : limit > 127 ? 127 : limit);
}

bool SetActivation(TfLiteFusedActivation activation, const Quantization &output,
                   nk_add_params *params) {
  params->activation_min = INT8_MIN;
  params->activation_max = INT8_MAX;
  switch (activation) {
    case kTfLiteActNone:
      return true;
    case kTfLiteActRelu:
      params->activation_min = QuantizedLimit(0.0f, output);
      return true;
    case kTfLiteActRelu6:
      params->activation_min = QuantizedLimit(0.0f, output);
      params->activation_max = QuantizedLimit(6.0f, output);
      return true;
    case kTfLiteActReluN1To1:
      params->activation_min = QuantizedLimit(-1.0f, output);
      params->activation_max = QuantizedLimit(1.0f, output);
      return true;
    default:
      return false;
  }
}

bool IsInt8(const TfLiteEvalTensor *tensor) {
  return tensor != nullptr && tensor->type == kTfLiteInt8;
}

void *InitAdd(TfLiteContext *context, const char * /*buffer*/, size_t /*length*/) {
  // Null if the arena is too small; Prepare reports the error.
  return GetMicroContext(context)->AllocatePersistentBuffer(sizeof(AddData));
}

/** Both operands are converted to twice the larger scale (docs/quantization.md, "Add"). */
TfLiteStatus SetAddParams(TfLiteContext *context, const TfLiteNode *node, nk_add_params *params) {
  Quantization a;
  Quantization b;
  Quantization y;
  if (!ReadQuantization(context, node->inputs->data[kFirst], &a) ||
      !ReadQuantization(context, node->inputs->data[kSecond], &b) ||
      !ReadQuantization(context, node->outputs->data[kOutput], &y)) {
    return Refuse("NK_ADD", kNotQuantized);
  }
  const double common = 2 * (a.scale > b.scale ? a.scale : b.scale);
  *params = {};
  params->left_shift = kAddLeftShift;
  params->input1_offset = -a.zero_point;
  params->input2_offset = -b.zero_point;
  params->output_offset = y.zero_point;
  // The factors of the operands are at most 1/2, so their shifts fit.
  QuantizeMultiplier(a.scale / common, &params->input1_multiplier, &params->input1_shift);
  QuantizeMultiplier(b.scale / common, &params->input2_multiplier, &params->input2_shift);
  const bool fits = QuantizeMultiplier(common / ((1 << kAddLeftShift) * y.scale),
                                       &params->output_multiplier, &params->output_shift);
  if (!fits || params->output_shift > 0) {
    return Refuse("NK_ADD", "the scale of the output is too small");
  }
  const TfLiteAddParams *options = static_cast<const TfLiteAddParams *>(node->builtin_data);
  if (options == nullptr || !SetActivation(options->activation, y, params)) {
    return Refuse("NK_ADD", "the fused activation must be none, RELU, RELU6 or RELU_N1_TO_1");
  }
  const nk_status status = nk_add_s8_shorten(params);
  return status == NK_OK ? kTfLiteOk : Refuse("NK_ADD", nk_status_name(status));
}

TfLiteStatus PrepareAdd(TfLiteContext *context, TfLiteNode *node) {
  AddData *data = static_cast<AddData *>(node->user_data);
  if (data == nullptr) {
    return Refuse("NK_ADD", "the arena is too small for Init");
  }
  if (node->inputs->size != kInputs || node->outputs->size != 1) {
    return Refuse("NK_ADD", "expected two inputs and one output");
  }
  const TfLiteEvalTensor *a = GetEvalInput(context, node, kFirst);
  const TfLiteEvalTensor *b = GetEvalInput(context, node, kSecond);
  const TfLiteEvalTensor *y = GetEvalOutput(context, node, kOutput);
  if (!IsInt8(a) || !IsInt8(b) || !IsInt8(y)) {
    return Refuse("NK_ADD", "both inputs and the output must be int8; else use AddAdd()");
  }
  if (!ReadDims(a, &data->input1) || !ReadDims(b, &data->input2) || !ReadDims(y, &data->output)) {
    return Refuse("NK_ADD", "a tensor must have elements and at most four dimensions");
  }
  return SetAddParams(context, node, &data->params);
}

TfLiteStatus EvalAdd(TfLiteContext *context, TfLiteNode *node) {
  const AddData *data = static_cast<const AddData *>(node->user_data);
  const nk_status status =
      nk_add_s8(&data->params, &data->input1, GetEvalInput(context, node, kFirst)->data.int8,
                &data->input2, GetEvalInput(context, node, kSecond)->data.int8, &data->output,
                GetEvalOutput(context, node, kOutput)->data.int8);
  return status == NK_OK ? kTfLiteOk : Refuse("NK_ADD", nk_status_name(status));
}

void *InitMean(TfLiteContext *context, const char * /*buffer*/, size_t /*length*/) {
  return GetMicroContext(context)->AllocatePersistentBuffer(sizeof(MeanData));
}

/** Whether the axes are height and width of four dimensions, counted from either end. */
bool AreHeightAndWidth(const TfLiteEvalTensor *axes) {
  if (axes == nullptr || axes->type != kTfLiteInt32 || axes->data.i32 == nullptr) {
    return false;
  }
  uint32_t seen = 0;
  const int32_t count = CountElements(axes);
  for (int32_t i = 0; i < count; ++i) {
    const int32_t axis = axes->data.i32[i];
    if (axis < -kMaxRank || axis >= kMaxRank) {
      return false;
    }
    seen |= 1u << ((axis + kMaxRank) % kMaxRank);
  }
  return seen == (1u << 1 | 1u << 2);
}

/** The division by height * width joins the multiplier (docs/quantization.md, "Mean"). */
TfLiteStatus SetMeanParams(TfLiteContext *context, const TfLiteNode *node, int32_t pixels,
                           nk_mean_params *params) {
  Quantization x;
  Quantization y;
  if (!ReadQuantization(context, node->inputs->data[kFirst], &x) ||
      !ReadQuantization(context, node->outputs->data[kOutput], &y)) {
    return Refuse("NK_MEAN", kNotQuantized);
  }
  int32_t multiplier;
  int32_t shift;
  if (!QuantizeMultiplier(x.scale / y.scale, &multiplier, &shift)) {
    return Refuse("NK_MEAN", "the scale of the output is too small");
  }
  int32_t more = 0;
  while (more < 31 + shift && pixels >> more > 1) {
    ++more;
  }
  *params = {};
  params->input_offset = -x.zero_point;
  params->output_offset = y.zero_point;
  params->multiplier = static_cast<int32_t>((static_cast<int64_t>(multiplier) << more) / pixels);
  params->shift = shift - more;
  return kTfLiteOk;
}

TfLiteStatus PrepareMean(TfLiteContext *context, TfLiteNode *node) {
  MeanData *data = static_cast<MeanData *>(node->user_data);
  if (data == nullptr) {
    return Refuse("NK_MEAN", "the arena is too small for Init");
  }
  if (node->inputs->size != kInputs || node->outputs->size != 1) {
    return Refuse("NK_MEAN", "expected the inputs activation and axes, and one output");
  }
  const TfLiteEvalTensor *x = GetEvalInput(context, node, kFirst);
  const TfLiteEvalTensor *y = GetEvalOutput(context, node, kOutput);
  if (!IsInt8(x) || !IsInt8(y) || x->dims->size != kMaxRank ||
      !AreHeightAndWidth(GetEvalInput(context, node, kSecond))) {
    return Refuse("NK_MEAN",
                  "expected int8 and the axes 1 and 2 of four dimensions; else use AddMean()");
  }
  if (!ReadDims(x, &data->input) || CountElements(y) != data->input.n * data->input.c) {
    return Refuse("NK_MEAN", "the output must have one element for each channel");
  }
  return SetMeanParams(context, node, data->input.h * data->input.w, &data->params);
}

TfLiteStatus EvalMean(TfLiteContext *context, TfLiteNode *node) {
  const MeanData *data = static_cast<const MeanData *>(node->user_data);
  const nk_status status =
      nk_mean_s8(&data->params, &data->input, GetEvalInput(context, node, kFirst)->data.int8,
                 GetEvalOutput(context, node, kOutput)->data.int8);
  return status == NK_OK ? kTfLiteOk : Refuse("NK_MEAN", nk_status_name(status));
}

}  // namespace

const TFLMRegistration &Register_NK_ADD() {
  // The resolver fills in the code; only the functions are ours.
  static const TFLMRegistration registration = {InitAdd, nullptr, PrepareAdd, EvalAdd,
                                                nullptr, 0,       nullptr};
  return registration;
}

const TFLMRegistration &Register_NK_MEAN() {
  static const TFLMRegistration registration = {InitMean, nullptr, PrepareMean, EvalMean,
                                                nullptr,  0,       nullptr};
  return registration;
}

}  // namespace micro
}  // namespace tflite
