#include "nk_target.h"

/* As in nk_dsp_tile.S. */
#if defined(__arm__) && !defined(__ARM_ARCH_PROFILE) && !defined(__linux__)
#define NK_CORE_UNKNOWN 1
#else
#define NK_CORE_UNKNOWN 0
#endif

#if NK_USE_DSP || NK_CORE_UNKNOWN

#if NK_CORE_UNKNOWN
        .arch armv7e-m
#endif

@ The loop that unpacks single weights of a CODED level: nk_code.h declares nk_code_unpack_fours() and
@ the entries of its tables.
@
@ A pass decodes four gaps and four values, which are at most 32 bits each. So a window of 32 bits of
@ either sequence serves a pass. Both sequences go side by side, because each lookup waits for the one
@ before it: a lookup is LSR, LDR and LSL, and the sum of the two entries has the record in its upper
@ half. A pass takes 33 cycles by the model of benchmarks/cycle_model.md. Offsets gather the lengths of
@ codes in their lowest byte, up to 63, below other bits.

        .global nk_code_unpack_fours

        .syntax unified
        .thumb

passes  .req r1
record  .req r2
at_gap  .req r4                                 @ offset into the word at gaps
at_val  .req r5
gap_tab .req r6
val_tab .req r7
gaps    .req r8
vals    .req r9
w_gap   .req r10                                @ the window: the next bits, highest first
w_val   .req r12
gap     .req r0                                 @ entries of the tables
val     .req r3
one     .req r11
two     .req lr

        .equ    R_GAPS, 0                       @ struct nk_code_reader
        .equ    R_VALUES, 4
        .equ    R_TABLES, 8
        .equ    R_GAP_BIT, 12
        .equ    R_VALUE_BIT, 16
        .equ    VALUE_TABLE, 1024               @ struct nk_code_tables

        .section .text.nk_code_unpack_fours, "ax", %progbits
        .align  2
        .thumb_func
        .type   nk_code_unpack_fours, %function
nk_code_unpack_fours:
        push    {r0, r4-r11, lr}
        ldrd    gaps, vals, [r0, #R_GAPS]
        ldrd    at_gap, at_val, [r0, #R_GAP_BIT]
        ldr     gap_tab, [r0, #R_TABLES]
        add     val_tab, gap_tab, #VALUE_TABLE
        lsr     gap, at_gap, #5
        lsr     val, at_val, #5
        add     gaps, gaps, gap, lsl #2
        add     vals, vals, val, lsl #2
        and     at_gap, at_gap, #31
        and     at_val, at_val, #31
1:      ubfx    gap, at_gap, #5, #1
        ubfx    val, at_val, #5, #1
        and     at_gap, at_gap, #31
        and     at_val, at_val, #31
        add     gaps, gaps, gap, lsl #2
        add     vals, vals, val, lsl #2
        rsb     gap, at_gap, #32
        ldrd    w_gap, one, [gaps]
        ldrd    w_val, two, [vals]
        lsr     one, one, gap
        lsl     w_gap, w_gap, at_gap
        orr     w_gap, w_gap, one
        rsb     val, at_val, #32
        lsl     w_val, w_val, at_val
        lsr     two, two, val
        lsr     gap, w_gap, #24
        orr     w_val, w_val, two
        ldr     gap, [gap_tab, gap, lsl #2]
        lsr     val, w_val, #24
        lsl     w_gap, w_gap, gap
        subs    passes, #1
        ldr     val, [val_tab, val, lsl #2]
        lsl     w_val, w_val, val
        add     one, gap, val
        add     at_gap, gap
        lsr     gap, w_gap, #24
        add     at_val, val
        lsr     val, w_val, #24
        ldr     gap, [gap_tab, gap, lsl #2]
        lsl     w_gap, w_gap, gap
        ldr     val, [val_tab, val, lsl #2]
        add     at_gap, gap
        add     two, gap, val
        lsr     gap, w_gap, #24
        lsl     w_val, w_val, val
        pkhtb   one, two, one, asr #16
        add     at_val, val
        lsr     val, w_val, #24
        ldr     gap, [gap_tab, gap, lsl #2]
        lsl     w_gap, w_gap, gap
        ldr     val, [val_tab, val, lsl #2]
        add     at_gap, gap
        lsl     w_val, w_val, val
        add     at_val, val
        add     two, gap, val
        lsr     gap, w_gap, #24
        str     one, [record], #4
        lsr     val, w_val, #24
        ldr     gap, [gap_tab, gap, lsl #2]
        ldr     val, [val_tab, val, lsl #2]
        add     at_gap, gap
        add     gap, val
        pkhtb   two, gap, two, asr #16
        add     at_val, val
        str     two, [record], #4
        bne     1b
        @ The bits from the first word on: those of the whole words, and the offset.
        pop     {r0}
        ldrd    gap_tab, val_tab, [r0, #R_GAPS]
        uxtb    at_gap, at_gap
        uxtb    at_val, at_val
        sub     gaps, gaps, gap_tab
        sub     vals, vals, val_tab
        add     at_gap, at_gap, gaps, lsl #3
        add     at_val, at_val, vals, lsl #3
        strd    at_gap, at_val, [r0, #R_GAP_BIT]
        pop     {r4-r11, pc}
        .size   nk_code_unpack_fours, . - nk_code_unpack_fours

#endif

#if defined(__linux__) && defined(__ELF__)
        .section .note.GNU-stack, "", %progbits
#endif
