// As nested_sparse_conv.cpp.
#if __has_include("tensorflow/lite/micro/micro_common.h")
#include "../tflm/nk_builtins.cc"
#endif
