/* Included ahead of the generated model (-include profile.h), to report each operator. */
#ifndef NK_PROFILE_H_
#define NK_PROFILE_H_

#ifndef __ASSEMBLER__  // build systems may give the flag to the assembly, too
#include <stdint.h>

void firmware_on_op(int32_t index);
#define MODEL_ON_OP(index) firmware_on_op(index)
#endif

#endif  // NK_PROFILE_H_
