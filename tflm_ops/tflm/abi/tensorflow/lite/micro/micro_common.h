// Stands in for TFLite Micro's header of this name.
#include "tflm_abi.h"
