/* $banner$ */
/* Constants of $name$.c, the only file that includes this header. */
#ifndef $upper$_DATA_H_
#define $upper$_DATA_H_

#include <stdint.h>

// clang-format off
/* $arrays$ */
// clang-format on

#endif  // $upper$_DATA_H_
