#include "nk_target.h"

#if NK_USE_M7

@ Sums of fully connected layers for Cortex-M7; nk_m7_fc.h declares what is exported here.
@ One input vector: nothing is shared between outputs, so the loads of the stream set the pace.

        .global nk_m7_fc_block4, nk_m7_fc_single, nk_m7_fc_dense4, nk_m7_fc_expand

        .syntax unified
        .thumb

        .equ    COUNTS, 0
        .equ    SUMS, 4
        .equ    SUMS_END, 8
        .equ    X, 12
        .equ    LOCALS, 20

@ r0 stream, r1 counts, r2 sums, r3 input, [sp] channels
        .macro  enter
        push    {r4-r11, lr}
        sub     sp, sp, #LOCALS
        ldr     r4, [sp, #LOCALS + 36]
        str     r3, [sp, #X]
        add     r4, r2, r4, lsl #2
        str     r4, [sp, #SUMS_END]
        .endm

@ The next channel: r4 sum, r5 entries, r6 input, r7 first delta.
        .macro  next_channel
        ldrh    r5, [r1], #2
        ldr     r6, [sp, #X]
        ldr     r4, [r2]
        str     r1, [sp, #COUNTS]
        str     r2, [sp, #SUMS]
        ldrb    r7, [r0]
        cmp     r5, #0
        .endm

        .macro  end_channel
        ldr     r2, [sp, #SUMS]
        ldr     r3, [sp, #SUMS_END]
        ldr     r1, [sp, #COUNTS]
        str     r4, [r2], #4
        cmp     r2, r3
        .endm

@ ---- 1x4 blocks ----------------------------------------------------------------------------------
@ The input is a pair of words per block, as SXTB16 makes them of four bytes.
        .section .text.nk_m7_fc_block4, "ax", %progbits
        .balign 4
        .type   nk_m7_fc_block4, %function
        .thumb_func
nk_m7_fc_block4:
        enter
.Lblock4_channel:
        next_channel
        beq     .Lblock4_end
        lsls    r12, r5, #31
        beq     1f
        ldr     r8, [r0, #1]
        add     r6, r6, r7, lsl #3
        ldrb    r7, [r0, #5]!
        ldr     r9, [r6]
        ldr     r10, [r6, #4]
        sxtb16  r1, r8
        sxtb16  r8, r8, ror #8
        smlad   r4, r1, r9, r4
        subs    r5, r5, #1
        smlad   r4, r8, r10, r4
        beq     .Lblock4_end
        .balign 4
1:      add     r6, r6, r7, lsl #3
        ldrb    r7, [r0, #5]
        ldr     r11, [r0, #6]
        ldr     r8, [r0, #1]
        sxtb16  r1, r8
        ldr     r9, [r6]
        ldr     r10, [r6, #4]
        add     r6, r6, r7, lsl #3
        sxtb16  r8, r8, ror #8
        smlad   r4, r1, r9, r4
        sxtb16  r2, r11
        subs    r5, r5, #2
        ldr     r12, [r6]
        ldr     lr, [r6, #4]
        smlad   r4, r8, r10, r4
        ldrb    r7, [r0, #10]!
        sxtb16  r11, r11, ror #8
        smlad   r4, r2, r12, r4
        smlad   r4, r11, lr, r4
        bne     1b
.Lblock4_end:
        end_channel
        bne     .Lblock4_channel
        add     sp, sp, #LOCALS
        pop     {r4-r11, pc}
        .size   nk_m7_fc_block4, . - nk_m7_fc_block4

@ ---- single weights ------------------------------------------------------------------------------
@ The input is the int8 vector.
        .section .text.nk_m7_fc_single, "ax", %progbits
        .balign 4
        .type   nk_m7_fc_single, %function
        .thumb_func
nk_m7_fc_single:
        enter
.Lsingle_channel:
        next_channel
        beq     .Lsingle_end
        ands    r8, r5, #3
        beq     2f
1:      add     r6, r6, r7
        ldrsb   r10, [r0, #1]
        ldrb    r7, [r0, #2]!
        ldrsb   r9, [r6]
        subs    r8, r8, #1
        smlabb  r4, r9, r10, r4
        bne     1b
        bics    r5, r5, #3
        beq     .Lsingle_end
        .balign 4
2:      add     r6, r6, r7
        ldrb    r8, [r0, #2]
        ldrb    r7, [r0, #4]
        ldrsb   r10, [r0, #1]
        ldrsb   r9, [r6]
        add     r6, r6, r8
        ldrsb   r11, [r6]
        add     r6, r6, r7
        ldrsb   r12, [r0, #3]
        ldrb    r8, [r0, #6]
        smlabb  r4, r9, r10, r4
        ldrsb   r10, [r0, #5]
        ldrsb   r9, [r6]
        add     r6, r6, r8
        smlabb  r4, r11, r12, r4
        ldrsb   r12, [r0, #7]
        ldrsb   r11, [r6]
        ldrb    r7, [r0, #8]
        smlabb  r4, r9, r10, r4
        subs    r5, r5, #4
        add     r0, r0, #8
        smlabb  r4, r11, r12, r4
        bne     2b
.Lsingle_end:
        end_channel
        bne     .Lsingle_channel
        add     sp, sp, #LOCALS
        pop     {r4-r11, pc}
        .size   nk_m7_fc_single, . - nk_m7_fc_single

@ ---- four dense channels -------------------------------------------------------------------------
@ void nk_m7_fc_dense4(const int8_t *weights, int32_t *sums, const int16_t *x, int32_t count)
        .section .text.nk_m7_fc_dense4, "ax", %progbits
        .balign 4
        .type   nk_m7_fc_dense4, %function
        .thumb_func
nk_m7_fc_dense4:
        push    {r1, r4-r11, lr}
        mov     r4, r0
        mov     r8, r2
        add     r5, r4, r3
        add     r6, r5, r3
        add     r7, r6, r3
        add     r9, r8, r3, lsl #1
        ldm     r1, {r0-r3}
        .balign 4
1:      ldr     r10, [r8], #4
        ldr     r12, [r4], #4
        sxtb16  lr, r12
        ldr     r11, [r8], #4
        sxtb16  r12, r12, ror #8
        smlad   r0, lr, r10, r0
        smlad   r0, r12, r11, r0
        ldr     r12, [r5], #4
        sxtb16  lr, r12
        cmp     r8, r9
        sxtb16  r12, r12, ror #8
        smlad   r1, lr, r10, r1
        smlad   r1, r12, r11, r1
        ldr     r12, [r6], #4
        sxtb16  lr, r12
        sxtb16  r12, r12, ror #8
        smlad   r2, lr, r10, r2
        smlad   r2, r12, r11, r2
        ldr     r12, [r7], #4
        sxtb16  lr, r12
        sxtb16  r12, r12, ror #8
        smlad   r3, lr, r10, r3
        smlad   r3, r12, r11, r3
        bne     1b
        pop     {r12}
        stm     r12, {r0-r3}
        pop     {r4-r11, pc}
        .size   nk_m7_fc_dense4, . - nk_m7_fc_dense4

@ ---- void nk_m7_fc_expand(const int8_t *x, int16_t *words, int32_t count) ------------------------
@ Four bytes to two words, SXTB16's order; count a multiple of 4 above 0.
        .section .text.nk_m7_fc_expand, "ax", %progbits
        .balign 4
        .type   nk_m7_fc_expand, %function
        .thumb_func
nk_m7_fc_expand:
        push    {r4, lr}
        lsls    r3, r2, #29
        beq     1f
        ldr     r3, [r0], #4
        subs    r2, r2, #4
        sxtb16  r4, r3
        str     r4, [r1], #4
        sxtb16  r3, r3, ror #8
        str     r3, [r1], #4
        beq     2f
1:      ldr     r3, [r0]
        ldr     r4, [r0, #4]
        subs    r2, r2, #8
        sxtb16  r12, r3
        add     r0, r0, #8
        sxtb16  r3, r3, ror #8
        str     r12, [r1]
        sxtb16  lr, r4
        str     r3, [r1, #4]
        sxtb16  r4, r4, ror #8
        str     lr, [r1, #8]
        str     r4, [r1, #12]
        add     r1, r1, #16
        bne     1b
2:      pop     {r4, pc}
        .size   nk_m7_fc_expand, . - nk_m7_fc_expand

#elif defined(__ELF__)
        .section .note.GNU-stack, "", %progbits
#endif
