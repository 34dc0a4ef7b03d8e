// For build systems whose include path is this folder alone, such as that of Arduino.
#include "../tflm/nk_builtins.h"
