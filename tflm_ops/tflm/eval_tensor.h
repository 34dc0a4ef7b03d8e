/** Parts of TensorFlow Lite Micro that the adapters share: its kernel headers and tensor sizes. */
#ifndef EVAL_TENSOR_H_
#define EVAL_TENSOR_H_

#include <stdint.h>

#if defined(__GNUC__)
#pragma GCC diagnostic push
// TFLite Micro's own headers name parameters that they do not use.
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
#include "tensorflow/lite/micro/kernels/kernel_util.h"
#include "tensorflow/lite/micro/micro_context.h"
#include "tensorflow/lite/micro/micro_log.h"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// Code inside tflite::micro finds the names TfLiteContext, TfLiteNode, MicroContext, ... in every
// tree: in tflite::micro, in tflite, or in the global namespace.
namespace tflite {
namespace micro {

/** Number of elements; -1 if a dimension is not positive or the number exceeds INT32_MAX. */
inline int32_t CountElements(const TfLiteEvalTensor *tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->dims->size; ++i) {
    const int32_t size = tensor->dims->data[i];
    if (size < 1 || count * size > INT32_MAX) {
      return -1;
    }
    count *= size;
  }
  return static_cast<int32_t>(count);
}

}  // namespace micro
}  // namespace tflite

#endif  // EVAL_TENSOR_H_
