#include "nk_target.h"

/* A build may give the core to the C compiler alone: see nk_dsp_tile.S. */
#if defined(__arm__) && !defined(__ARM_ARCH_PROFILE) && !defined(__linux__)
#define NK_CORE_UNKNOWN 1
#else
#define NK_CORE_UNKNOWN 0
#endif

#if NK_USE_DSP || NK_CORE_UNKNOWN

#if NK_CORE_UNKNOWN
        .arch armv7e-m
#endif

@ The inner kernel of small dense convolutions: all output channels of two pixels, four channels at a
@ time. nk_dsp_dense.h declares the structures; docs/kernels.md tells why.
@
@ Registers in the loop:
@   r0-r3    sums of the first pixel, four channels
@   r4-r7    sums of the second pixel
@   xa xb    r8 r9    two inputs of the first and of the second pixel
@   wa wb    r10 r11  two weights of a channel, in turn
@   px       r12      inputs
@   pw       lr       weights
@ The top byte of r0 counts the passes of the loop; ADDS sets the carry when the byte reaches zero.

        .global nk_dsp_dense_tile, nk_dsp_dense_gather_nines, nk_dsp_dense_gather_fours

        .syntax unified
        .thumb

xa  .req r8
xb  .req r9
wa  .req r10
wb  .req r11
px  .req r12
pw  .req lr

@ struct nk_dsp_dense_pair, copied to the stack; behind it the routine's own variables.
        .equ    F_X, 0
        .equ    F_WEIGHTS, 4
        .equ    F_GROUP, 8
        .equ    F_GROUPS_END, 12
        .equ    F_OUTPUT, 16
        .equ    F_STEP, 20
        .equ    F_PAIR, 24
        .equ    F_SUMS, 28
        .equ    FRAME, 60

@ struct nk_dsp_dense_group
        .equ    G_CORRECTION, 20
        .equ    G_CHANNEL, 24
        .equ    G_EXACT, 72
        .equ    GROUP_BYTES, 76

@ Two inputs of both pixels times the weights of four channels, in two parts. A loaded word can be
@ multiplied two cycles later.
        .macro  first_part
        smlad   r0, wa, xa, r0
        ldr     wb, [pw, #4]
        smlad   r4, wa, xb, r4
        ldr     wa, [pw, #8]
        smlad   r1, wb, xa, r1
        .endm

        .macro  second_part
        smlad   r5, wb, xb, r5
        ldr     wb, [pw, #12]
        smlad   r2, wa, xa, r2
        smlad   r6, wa, xb, r6
        ldr     wa, [pw, #16]!
        smlad   r3, wb, xa, r3
        ldr     xa, [px, #8]!
        smlad   r7, wb, xb, r7
        ldr     xb, [px, #4]
        .endm

        .section .text.nk_dsp_dense_tile, "ax", %progbits
        .balign 4
        .type   nk_dsp_dense_tile, %function
        .thumb_func
nk_dsp_dense_tile:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME                  @ keeps the stack 8-byte aligned
        ldm     r0, {r1-r6}
        stm     sp, {r1-r6}
        mov     r12, r3
        str     r0, [sp, #F_PAIR]
        mov     pw, r2

.Lgroup:                                        @ r12 = group
        ldm     r12, {r0-r4}
        ldr     wa, [pw]
        ldr     r8, [sp, #F_X]
        mov     r6, r2
        mov     px, r8
        ldr     xb, [r8, #4]
        ldr     xa, [r8]
        mov     r5, r1
        mov     r7, r3
        first_part
        .balign 4
1:      second_part
        first_part
        adds    r0, r0, #(1 << 24)
        second_part
        first_part                              @ after the last pass, of inputs that are 0
        bcc     1b

        str     pw, [sp, #F_WEIGHTS]
        ldr     r12, [sp, #F_GROUP]
        ldr     r9, [r12, #G_CORRECTION]
        ldr     r8, [sp, #F_OUTPUT]
        ldr     r10, [r12, #G_EXACT]
        add     r0, r0, r9
        ldr     r11, [r12, #G_CHANNEL + 4]
        cmp     r10, #0
        ldr     r10, [r12, #G_CHANNEL]
        bne     .Lexact
@ Requantise as nk_dsp_tile.S does, in the order that takes the fewest cycles. Of each channel the second
@ pixel is stored first: if there is but one pixel, it overwrites the second.
        ldr     lr, [r12, #G_CHANNEL + 8]
        add     r9, r11, r0, asr #31
        add     r11, r11, r4, asr #31
        smmlar  r0, r0, r10, r9
        smmlar  r4, r4, r10, r11
        ldr     r9, [sp, #F_STEP]
        asr     r0, r0, lr
        add     r9, r9, r8
        ssat    r0, #8, r0
        asr     r4, r4, lr
        ssat    r4, #8, r4
        strb    r4, [r9]
        ldr     r10, [r12, #G_CHANNEL + 12]
        ldr     r11, [r12, #G_CHANNEL + 16]
        strb    r0, [r8]
        add     r0, r11, r1, asr #31
        smmlar  r1, r1, r10, r0
        add     r11, r11, r5, asr #31
        smmlar  r5, r5, r10, r11
        ldr     lr, [r12, #G_CHANNEL + 20]
        ldr     r0, [r12, #G_CHANNEL + 24]
        ldr     r11, [r12, #G_CHANNEL + 36]
        asr     r5, r5, lr
        asr     r1, r1, lr
        ssat    r5, #8, r5
        ldr     r10, [r12, #G_CHANNEL + 32]
        strb    r5, [r9, #1]
        ldr     r5, [r12, #G_CHANNEL + 40]
        ssat    r1, #8, r1
        ldr     r4, [r12, #G_CHANNEL + 28]
        strb    r1, [r8, #1]
        add     r1, r4, r2, asr #31
        smmlar  r2, r2, r0, r1
        add     r4, r4, r6, asr #31
        smmlar  r6, r6, r0, r4
        add     r0, r5, r3, asr #31
        asr     r2, r2, r10
        add     r5, r5, r7, asr #31
        smmlar  r7, r7, r11, r5
        asr     r6, r6, r10
        smmlar  r3, r3, r11, r0
        ldr     lr, [r12, #G_CHANNEL + 44]
        asr     r7, r7, lr
        ldr     r10, [sp, #F_GROUPS_END]
        ssat    r7, #8, r7
        asr     r3, r3, lr
        ssat    r6, #8, r6
        strb    r6, [r9, #2]
        ssat    r2, #8, r2
        ldr     lr, [sp, #F_WEIGHTS]
        strb    r2, [r8, #2]
        add     r12, r12, #GROUP_BYTES
        ssat    r3, #8, r3
        strb    r7, [r9, #3]
        strb    r3, [r8, #3]
        add     r8, r8, #4
        cmp     r12, r10
        str     r12, [sp, #F_GROUP]
        str     r8, [sp, #F_OUTPUT]
        bne     .Lgroup
.Lend:
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}

.Lexact:
        add     r10, sp, #F_SUMS
        stm     r10, {r0-r7}
        ldr     r0, [sp, #F_PAIR]
        mov     r1, r12
        mov     r2, r10
        mov     r3, r8
        bl      nk_dsp_dense_exact
        ldr     r12, [sp, #F_GROUP]
        ldr     r8, [sp, #F_OUTPUT]
        ldr     r10, [sp, #F_GROUPS_END]
        ldr     pw, [sp, #F_WEIGHTS]
        add     r12, r12, #GROUP_BYTES
        add     r8, r8, #4
        str     r12, [sp, #F_GROUP]
        str     r8, [sp, #F_OUTPUT]
        cmp     r12, r10
        bne     .Lgroup
        b       .Lend
        .size   nk_dsp_dense_tile, . - nk_dsp_dense_tile

@ void nk_dsp_dense_gather_nines(const int8_t *from, int32_t pitch, int16_t *to)
@ Element k of the window, three rows of nine, goes to to[k / 2 * 4 + k % 2].
        .set    loaded, 0
        .set    stored, 0
        .macro  load_element to
        .if     loaded < 9
        ldrsb   \to, [r0, #loaded]
        .elseif loaded < 18
        ldrsb   \to, [r6, #loaded - 9]
        .else
        ldrsb   \to, [r7, #loaded - 18]
        .endif
        .set    loaded, loaded + 1
        .endm

        .macro  store_element from
        strh    \from, [r2, #stored / 2 * 8 + stored % 2 * 2]
        .set    stored, stored + 1
        .endm

        .balign 4
        .type   nk_dsp_dense_gather_nines, %function
        .thumb_func
nk_dsp_dense_gather_nines:
        push    {r4-r7}
        load_element r3
        add     r6, r0, r1
        load_element r4
        add     r7, r0, r1, lsl #1
        load_element r5
        .rept   6
        load_element r12
        store_element r3
        load_element r3
        store_element r4
        load_element r4
        store_element r5
        load_element r5
        store_element r12
        .endr
        store_element r3
        store_element r4
        store_element r5
        pop     {r4-r7}
        bx      lr
        .size   nk_dsp_dense_gather_nines, . - nk_dsp_dense_gather_nines

@ void nk_dsp_dense_gather_fours(const int8_t *from, int32_t pitch, int16_t *to, int32_t rows,
@                                int32_t elements)
@ The same for any number of rows of a number of elements that four divides.
        .balign 4
        .type   nk_dsp_dense_gather_fours, %function
        .thumb_func
nk_dsp_dense_gather_fours:
        push    {r4-r9}
        ldr     r9, [sp, #24]
1:      mov     r4, r0
        add     r12, r0, r9
2:      ldrsb   r5, [r4], #4
        ldrsb   r6, [r4, #-3]
        ldrsb   r7, [r4, #-2]
        ldrsb   r8, [r4, #-1]
        cmp     r4, r12
        strh    r5, [r2], #16
        strh    r6, [r2, #-14]
        strh    r7, [r2, #-8]
        strh    r8, [r2, #-6]
        bne     2b
        subs    r3, r3, #1
        add     r0, r0, r1
        bne     1b
        pop     {r4-r9}
        bx      lr
        .size   nk_dsp_dense_gather_fours, . - nk_dsp_dense_gather_fours

#elif defined(__ELF__)
        .section .note.GNU-stack, "", %progbits
#endif
