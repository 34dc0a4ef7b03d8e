#include "int8_lookup.h"

#include <stdint.h>

#include "../include/nk_ops.h"
#include "../include/nk_status.h"
#include "eval_tensor.h"

namespace tflite {
namespace micro {
namespace {

constexpr int kInput = 0;
constexpr int kTable = 1;
constexpr int kInputs = 2;
constexpr int kOutput = 0;
constexpr int32_t kEntries = 256;

TfLiteStatus Refuse(const char *reason) {
  MicroPrintf("INT8_LOOKUP: %s", reason);
  return kTfLiteError;
}

TfLiteStatus Prepare(TfLiteContext *context, TfLiteNode *node) {
  if (node->inputs->size != kInputs || node->outputs->size != 1) {
    return Refuse("expected the inputs activation and table, and one output");
  }
  const TfLiteEvalTensor *input = GetEvalInput(context, node, kInput);
  const TfLiteEvalTensor *table = GetEvalInput(context, node, kTable);
  const TfLiteEvalTensor *output = GetEvalOutput(context, node, kOutput);
  if (input == nullptr || table == nullptr || output == nullptr) {
    return Refuse("activation, table and output must not be left out");
  }
  if (input->type != kTfLiteInt8 || output->type != kTfLiteInt8) {
    return Refuse("activation and output must be int8");
  }
  if (CountElements(input) < 1 || CountElements(input) != CountElements(output)) {
    return Refuse("activation and output must have as many elements");
  }
  if (table->type != kTfLiteInt8 || CountElements(table) != kEntries ||
      table->data.int8 == nullptr) {
    return Refuse("the table must be a constant of int8 with 256 entries");
  }
  return kTfLiteOk;
}

TfLiteStatus Eval(TfLiteContext *context, TfLiteNode *node) {
  const TfLiteEvalTensor *input = GetEvalInput(context, node, kInput);
  const nk_lookup_params params = {GetEvalInput(context, node, kTable)->data.int8};
  const nk_status status = nk_lookup_s8(&params, CountElements(input), input->data.int8,
                                        GetEvalOutput(context, node, kOutput)->data.int8);
  return status == NK_OK ? kTfLiteOk : Refuse(nk_status_name(status));
}

}  // namespace

TFLMRegistration *Register_INT8_LOOKUP() {
  // AddCustom() fills in the name and the code; only the functions are ours.
  static TFLMRegistration registration = {nullptr, nullptr, Prepare, Eval, nullptr, 0, nullptr};
  return &registration;
}

}  // namespace micro
}  // namespace tflite
