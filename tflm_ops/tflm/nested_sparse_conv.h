/**
 * NESTED_SPARSE_CONV as a custom operator of TensorFlow Lite Micro:
 *
 *     static tflite::MicroMutableOpResolver<5> resolver;
 *     resolver.AddCustom("NESTED_SPARSE_CONV", Register_NESTED_SPARSE_CONV());
 *
 * Inputs of the operator are the int8 activation, the level (int32[1], or left out) and the packed
 * stream (uint8, constant); docs/nested_format.md describes the stream. An operator without a level
 * input reads the level at each Invoke from MicroInterpreter::SetMicroExternalContext(), which
 * takes a pointer to an int32_t. The int32_t must live as long as the interpreter.
 *
 * Prepare checks the operator and its whole stream once; a refused operator or level gives
 * kTfLiteError and a line through MicroPrintf. Eval allocates nothing.
 *
 * Compiles against trees of TFLite Micro before and after the move of types to tflite::micro
 * (October 2026). Older trees need -DTF_LITE_STATIC_MEMORY, like all of TFLite Micro.
 */
#ifndef NESTED_SPARSE_CONV_H_
#define NESTED_SPARSE_CONV_H_

#include "tensorflow/lite/micro/micro_common.h"

namespace tflite {
namespace micro {

/** The operator, for MicroMutableOpResolver::AddCustom(). Never null; always the same. */
TFLMRegistration *Register_NESTED_SPARSE_CONV();

}  // namespace micro
}  // namespace tflite

using tflite::micro::Register_NESTED_SPARSE_CONV;

#endif  // NESTED_SPARSE_CONV_H_
