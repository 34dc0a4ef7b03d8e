/* $banner$ */
/* Constants of $name$.c, the only file that includes this header. */
#ifndef $upper$_DATA_H_
#define $upper$_DATA_H_

#include <stdint.h>

/* Places the weights, for example as __attribute__((section(".qspi"))). */
#ifndef $upper$_WEIGHTS_ATTRIBUTE
#define $upper$_WEIGHTS_ATTRIBUTE
#endif

// clang-format off
/* $arrays$ */
// clang-format on

#endif  // $upper$_DATA_H_
