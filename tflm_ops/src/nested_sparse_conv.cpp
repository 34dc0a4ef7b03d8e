// For build systems that compile this folder alone, such as that of Arduino. Without TFLite Micro
// among the libraries only the kernels are built.
#if __has_include("tensorflow/lite/micro/micro_common.h")
#include "../tflm/nested_sparse_conv.cc"
#endif
