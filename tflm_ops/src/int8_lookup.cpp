// As nested_sparse_conv.cpp.
#if __has_include("tensorflow/lite/micro/micro_common.h")
#include "../tflm/int8_lookup.cc"
#endif
