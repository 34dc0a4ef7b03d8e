/* $banner$ */
#ifndef $upper$_H_
#define $upper$_H_

#include <stddef.h>
#include <stdint.h>

/* $includes$ */

#ifdef __cplusplus
extern "C" {
#endif

/* $macros$ */

/* Runs the model at one level: 0 is the sparsest, $upper$_LEVELS - 1 the densest.
 *
 * The _SIZE macros give the elements of each buffer. The buffers must not overlap. The function is
 * not reentrant, because there is one static arena.
 *
 * Returns NK_OK, NK_ERROR_LEVEL for a level out of range, NK_ERROR_ARGUMENT for a null pointer, or
 * the error of a kernel. */
/* $invoke$ */

/* Places in the arena for inputs and outputs, for a caller without buffers of its own. Write the
 * input there and pass the pointers to the call. The call then overwrites the input. */
/* $places$ */

/* The same in an arena of the caller, of at least $upper$_ARENA_SIZE bytes at a multiple of
 * $upper$_ARENA_ALIGNMENT bytes. Calls in different arenas may run at the same time. Between
 * calls the caller may use the arena for other things.
 *
 * NK_ERROR_BUFFER means that the arena is missing, misaligned or too small. A program that calls
 * these functions alone has no static arena if its linker drops unused sections
 * (-ffunction-sections -fdata-sections -Wl,--gc-sections). */
/* $invoke_in$ */

/* Places in an arena of the caller. */
/* $places_in$ */

/* $check$ */

#ifdef __cplusplus
}
#endif

#endif  // $upper$_H_
