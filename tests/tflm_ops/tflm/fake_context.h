/** Just enough of an interpreter to call one operator: four tensors, an arena, one scratch buffer.
 */
#ifndef FAKE_CONTEXT_H_
#define FAKE_CONTEXT_H_

#include "tflm_abi.h"

namespace tflite {
namespace micro {

constexpr int kMaxDims = 4;
constexpr int kLeftOut = -1;

/** As TfLiteIntArray, with room. */
struct IntArray {
  int size;
  int data[kMaxDims];

  TfLiteIntArray *get() { return reinterpret_cast<TfLiteIntArray *>(this); }
};

/** One tensor of the fake interpreter. */
struct FakeTensor {
  TfLiteEvalTensor eval;
  TfLiteTensor full;
  IntArray dims;
};

enum TensorIndex { kInputTensor, kLevelTensor, kStreamTensor, kOutputTensor, kTensors };

/**
 * The real context's behaviour as far as the adapter can see it. Allocation fails where its budget
 * is used up, and what is called out of turn is counted as misuse.
 */
class FakeContext : public MicroContext {
 public:
  /** Bytes left for persistent and temporary buffers, and for the scratch buffer. */
  size_t persistent_budget = 1024;
  size_t temporary_budget = 1024;
  size_t scratch_budget = SIZE_MAX;

  FakeTensor tensors[kTensors] = {};
  void *external = nullptr;
  void *scratch = nullptr;
  size_t scratch_bytes = 0;
  bool is_preparing = true;
  int temporaries = 0;
  int misuses = 0;

  void *AllocatePersistentBuffer(size_t bytes) override {
    misuses += is_preparing ? 0 : 1;
    if (bytes > persistent_budget || bytes > sizeof persistent_) {
      return nullptr;
    }
    persistent_budget -= bytes;
    return persistent_;
  }

  TfLiteStatus RequestScratchBufferInArena(size_t bytes, int *buffer_index) override {
    misuses += is_preparing && scratch_bytes == 0 ? 0 : 1;
    if (bytes > scratch_budget) {
      return kTfLiteError;
    }
    scratch_bytes = bytes;
    *buffer_index = 0;
    return kTfLiteOk;
  }

  void *GetScratchBuffer(int buffer_index) override {
    misuses += is_preparing || buffer_index != 0 ? 1 : 0;
    return scratch;
  }

  TfLiteTensor *AllocateTempTfLiteTensor(int tensor_index) override {
    misuses += is_preparing ? 0 : 1;
    if (temporary_budget < sizeof(TfLiteTensor)) {
      return nullptr;
    }
    ++temporaries;
    return &tensors[tensor_index].full;
  }

  void DeallocateTempTfLiteTensor(TfLiteTensor *) override { --temporaries; }

  uint8_t *AllocateTempBuffer(size_t, size_t) override { return nullptr; }
  void DeallocateTempBuffer(uint8_t *) override {}

  TfLiteEvalTensor *GetEvalTensor(int tensor_index) override { return &tensors[tensor_index].eval; }

  TfLiteStatus set_external_context(void *payload) override {
    external = payload;
    return kTfLiteOk;
  }

  void *external_context() override { return external; }

 private:
  alignas(16) uint8_t persistent_[128];
};

}  // namespace micro
}  // namespace tflite

#endif  // FAKE_CONTEXT_H_
