/**
 * The declarations of TFLite Micro that the adapter (tflm_ops/tflm) uses, and nothing else of it:
 * enough to compile the adapter, to load it into the interpreter of the PyPI package tflite-micro,
 * and to test it without any TFLite Micro. Written from the binary interface; real firmware is
 * compiled against TFLite Micro's own headers instead of these.
 *
 * Without TFLM_ABI_NAMESPACED this is TFLite Micro up to September 2026: TfLiteContext is a struct
 * of many members and the C types are global. With it, what came in October 2026: TfLiteContext is
 * {impl_} and all types are in tflite::micro. test_tflm_wheel_layout.py compares the former with
 * the package.
 */
#ifndef TFLM_ABI_H_
#define TFLM_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef TFLM_ABI_NAMESPACED
#define TFLM_ABI_BEGIN_TYPES \
  namespace tflite {         \
  namespace micro {
#define TFLM_ABI_END_TYPES \
  }                        \
  }
#define TFLM_ABI_BEGIN_CLASSES \
  namespace tflite {           \
  namespace micro {
#define TFLM_ABI_END_CLASSES \
  }                          \
  }
#else
#define TFLM_ABI_BEGIN_TYPES
#define TFLM_ABI_END_TYPES
#define TFLM_ABI_BEGIN_CLASSES namespace tflite {
#define TFLM_ABI_END_CLASSES }
#endif

TFLM_ABI_BEGIN_TYPES

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteUInt8 = 3, kTfLiteInt8 = 9 };

struct TfLiteIntArray {
  int size;
  int data[];
};

union TfLitePtrUnion {
  void *data;
  int8_t *int8;
  uint8_t *uint8;
  int32_t *i32;
};

struct TfLiteEvalTensor {
  TfLitePtrUnion data;
  TfLiteIntArray *dims;
  TfLiteType type;
};

struct TfLiteQuantization {
  int type;
  void *params;
};

struct TfLiteQuantizationParams {
  float scale;
  int32_t zero_point;
};

/** The head of the real one. */
struct TfLiteTensor {
  TfLiteQuantization quantization;
  TfLiteQuantizationParams params;
};

enum TfLiteFusedActivation {
  kTfLiteActNone = 0,
  kTfLiteActRelu,
  kTfLiteActReluN1To1,
  kTfLiteActRelu6,
  kTfLiteActTanh
};

/** The head of the real one. */
struct TfLiteAddParams {
  TfLiteFusedActivation activation;
};

struct TfLiteNode {
  TfLiteIntArray *inputs;
  TfLiteIntArray *outputs;
  TfLiteIntArray *intermediates;
  void *user_data;
  void *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
};

struct TfLiteContext {
#ifndef TFLM_ABI_NAMESPACED
  size_t tensors_size;
  void *GetExecutionPlan;
  TfLiteTensor *tensors;
#endif
  void *impl_;
};

struct TFLMRegistration {
  void *(*init)(TfLiteContext *context, const char *buffer, size_t length);
  void (*free)(TfLiteContext *context, void *buffer);
  TfLiteStatus (*prepare)(TfLiteContext *context, TfLiteNode *node);
  TfLiteStatus (*invoke)(TfLiteContext *context, TfLiteNode *node);
  void (*reset)(TfLiteContext *context, void *buffer);
  int32_t builtin_code;
  const char *custom_name;
};

TFLM_ABI_END_TYPES

TFLM_ABI_BEGIN_CLASSES

/** The head of the real class; the order of the virtual functions is part of the interface. */
class MicroContext {
 public:
  virtual ~MicroContext() = default;
  virtual void *AllocatePersistentBuffer(size_t bytes) = 0;
  virtual TfLiteStatus RequestScratchBufferInArena(size_t bytes, int *buffer_index) = 0;
  virtual void *GetScratchBuffer(int buffer_index) = 0;
  virtual TfLiteTensor *AllocateTempTfLiteTensor(int tensor_index) = 0;
  virtual void DeallocateTempTfLiteTensor(TfLiteTensor *tensor) = 0;
  virtual uint8_t *AllocateTempBuffer(size_t size, size_t alignment) = 0;
  virtual void DeallocateTempBuffer(uint8_t *buffer) = 0;
  virtual TfLiteEvalTensor *GetEvalTensor(int tensor_index) = 0;
  virtual TfLiteStatus set_external_context(void *payload) = 0;
  virtual void *external_context() = 0;

  // There is no heap on the targets: as in the real class, nothing is deleted.
  void operator delete(void *) {}
};

inline MicroContext *GetMicroContext(const TfLiteContext *context) {
  return static_cast<MicroContext *>(context->impl_);
}

TFLM_ABI_END_CLASSES

namespace tflite {
namespace micro {

/** Null where the operator leaves the tensor out. */
inline TfLiteEvalTensor *FindEvalTensor(const TfLiteContext *context, const TfLiteIntArray *tensors,
                                        int index) {
  const bool is_given = index < tensors->size && tensors->data[index] >= 0;
  return is_given ? GetMicroContext(context)->GetEvalTensor(tensors->data[index]) : nullptr;
}

inline const TfLiteEvalTensor *GetEvalInput(const TfLiteContext *context, const TfLiteNode *node,
                                            int index) {
  return FindEvalTensor(context, node->inputs, index);
}

inline TfLiteEvalTensor *GetEvalOutput(const TfLiteContext *context, const TfLiteNode *node,
                                       int index) {
  return FindEvalTensor(context, node->outputs, index);
}

}  // namespace micro
}  // namespace tflite

/** Whoever uses these declarations defines it. */
void MicroPrintf(const char *format, ...);

#endif  // TFLM_ABI_H_
