/**
 * INT8_LOOKUP as a custom operator of TensorFlow Lite Micro:
 *
 *     resolver.AddCustom("INT8_LOOKUP", Register_INT8_LOOKUP());
 *
 * The operator applies a function of each value by a table. Inputs of the operator are the int8
 * activation and the table (int8[256], constant): output = table[input + 128]. docs/quantization.md
 * lists the Keras functions that become INT8_LOOKUP.
 */
#ifndef INT8_LOOKUP_H_
#define INT8_LOOKUP_H_

#include "tensorflow/lite/micro/micro_common.h"

namespace tflite {
namespace micro {

/** The operator, for MicroMutableOpResolver::AddCustom(). Never null; always the same. */
TFLMRegistration *Register_INT8_LOOKUP();

}  // namespace micro
}  // namespace tflite

using tflite::micro::Register_INT8_LOOKUP;

#endif  // INT8_LOOKUP_H_
