/* $banner$ */
#ifndef $upper$_H_
#define $upper$_H_

#include <stdint.h>

/* $includes$ */

#ifdef __cplusplus
extern "C" {
#endif

/* $macros$ */

/* Runs the model at one level: 0 is the sparsest, $upper$_LEVELS - 1 the densest.
 *
 * The buffers hold as many elements as the _SIZE macros say and must not overlap. Not reentrant:
 * there is one static arena.
 *
 * Returns NK_OK, NK_ERROR_LEVEL for a level out of range, NK_ERROR_ARGUMENT for a null pointer, or
 * what a kernel returned. */
/* $invoke$ */

/* Where in the arena an input may be put and an output be found by a caller without a buffer of its
 * own: pass the pointer. There an inference overwrites the input; nothing else is different. */
/* $places$ */

/* Verifies the checksums and every table of the packed weights. Needed once at start-up where the
 * memory that holds them may be damaged. Returns NK_OK or the first error. */
nk_status $name$_check(void);

#ifdef __cplusplus
}
#endif

#endif  // $upper$_H_
