/**
 * ADD and MEAN of TensorFlow Lite Micro with the kernels of tflm_ops, in place of TFLite Micro's:
 *
 *     resolver.AddAdd(Register_NK_ADD());
 *     resolver.AddMean(Register_NK_MEAN());
 *
 * The results are those of TFLite's reference kernels, bit for bit. Both take int8 tensors; NK_MEAN
 * takes the mean over height and width of four dimensions. A model with other ADDs or MEANs needs
 * AddAdd() or AddMean() without an argument.
 */
#ifndef NK_BUILTINS_H_
#define NK_BUILTINS_H_

#include "tensorflow/lite/micro/micro_common.h"

namespace tflite {
namespace micro {

/** For MicroMutableOpResolver::AddAdd(). Prepare takes about 3 million instructions. */
const TFLMRegistration &Register_NK_ADD();

/** For MicroMutableOpResolver::AddMean(). */
const TFLMRegistration &Register_NK_MEAN();

}  // namespace micro
}  // namespace tflite

using tflite::micro::Register_NK_ADD;
using tflite::micro::Register_NK_MEAN;

#endif  // NK_BUILTINS_H_
