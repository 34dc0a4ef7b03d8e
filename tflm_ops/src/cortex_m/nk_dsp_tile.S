#include "nk_target.h"

/* A build may give the core to the C compiler alone. The assembler then cannot know whether the C
 * calls the routines, so the routines are here, for Armv7E-M. */
#if defined(__arm__) && !defined(__ARM_ARCH_PROFILE) && !defined(__linux__)
#define NK_CORE_UNKNOWN 1
#else
#define NK_CORE_UNKNOWN 0
#endif

#if NK_USE_DSP || NK_CORE_UNKNOWN

#if NK_CORE_UNKNOWN
        .arch armv7e-m
#endif

@ Inner kernels of the sparse convolution for Cortex-M7: one tile of output pixels, all channels.
@ docs/kernels.md derives the arithmetic; nk_dsp_tile.h declares the exported names.
@
@ A tile is P pairs of neighbouring output pixels, P = 1..4. Its packed input holds, for every filter
@ position, P words x0 + x1 * 2^23, so that one SMLAL multiplies both pixels of a pair by a weight.
@
@ The routines here are threaded: an entry of a channel's list (nk_dsp_list.h) begins with the address of
@ the routine that runs it, and the routine ends with a jump to the next entry's.
@
@ Registers in the loops:
@   lo0 hi0 .. lo3 hi3  r0-r7   64-bit accumulators, one a pair
@   xa xb               r8 r9   words of packed input (xc = r6 where P = 3)
@   wa wb               r10 r11 weights and position deltas in turn
@   px                  r12     packed input at the present filter position
@   ps                  lr      stream of weights
@ An accumulator starts at 2^46 + 2^22, so that both its fields stay positive. The upper 17 bits of hi
@ are then idle, and the top byte of the last hi counts the passes of the loop: the byte starts at
@ -passes, and ADDS sets the carry when the byte reaches zero.

        .global nk_dsp_tile_1, nk_dsp_tile_2, nk_dsp_tile_3, nk_dsp_tile_4
        .global nk_dsp_pack_1, nk_dsp_pack_2, nk_dsp_pack_3, nk_dsp_pack_4
        .global nk_dsp_pack_4_shifted, nk_dsp_pack_threes
        .global nk_dsp_move_up
        .global nk_dsp_routines, nk_dsp_chain_routines

        .syntax unified
        .thumb

lo0 .req r0
hi0 .req r1
lo1 .req r2
hi1 .req r3
lo2 .req r4
hi2 .req r5
lo3 .req r6
hi3 .req r7
xa  .req r8
xb  .req r9
xc  .req r6
wa  .req r10
wb  .req r11
px  .req r12
ps  .req lr

@ The head of struct nk_dsp_tile, copied to the stack; behind it the routine's own variables.
        .equ    F_INPUT, 0
        .equ    F_LIST, 4
        .equ    F_OUTPUT, 8
        .equ    F_STEP, 12
        .equ    F_LAST, 16
        .equ    F_BLOCK, 20
        .equ    F_SHIFT, 24
        .equ    F_TILE, 28
        .equ    F_ENTRY, 32                     @ the next entry of the list
        .equ    F_MASK, 36
        .equ    F_SUMS, 40                      @ 0 between two channels
        .equ    F_HALF, F_SUMS                  @ of a chain list: 2 * output_offset + 1
        .equ    FRAME, 76

@ struct nk_dsp_tile, beyond its head
        .equ    T_OFFSET, 28                    @ stage.offset

@ struct nk_dsp_channel, which lies in the list
        .equ    CHANNEL_BYTES, 20
        .equ    C_MULTIPLIER, 8

        .equ    LO_START, 1 << 22
        .equ    HI_START, 1 << 14
        .equ    ONE_PASS, 1 << 24
@ In a chain the accumulators start at 2^45 + 2^22, so that even and odd pixels have the same bias.
        .equ    CHAIN_HI_START, 1 << 13
        .equ    CHAIN_STEPS, 16                @ NK_DSP_CHAIN_STEPS

@ Accumulate weight w times word x into pair i.
        .macro  mac i, w, x
        smlal   lo\i, hi\i, \w, \x
        .endm

@ Words of packed input from position to position, as a shift.
        .macro  set_stride P
        .if     \P >= 3
        .set    LOG2_STRIDE, 4
        .elseif \P == 2
        .set    LOG2_STRIDE, 3
        .else
        .set    LOG2_STRIDE, 2
        .endif
        .endm

        .macro  count_pass P
        .if     \P == 4
        adds    hi3, hi3, #ONE_PASS
        .elseif \P == 3
        adds    hi2, hi2, #ONE_PASS
        .elseif \P == 2
        adds    hi1, hi1, #ONE_PASS
        .else
        adds    hi0, hi0, #ONE_PASS
        .endif
        .endm

@ Take n off the accumulator that counts; n may be shifted.
        .macro  set_passes P, n:vararg
        .if     \P == 4
        sub     hi3, hi3, \n
        .elseif \P == 3
        sub     hi2, hi2, \n
        .elseif \P == 2
        sub     hi1, hi1, \n
        .else
        sub     hi0, hi0, \n
        .endif
        .endm

        .macro  clear_accumulators P, hi_start=HI_START
        mov     lo0, #LO_START
        mov     hi0, #\hi_start
        .if     \P >= 2
        mov     lo1, lo0
        mov     hi1, hi0
        .endif
        .if     \P >= 3
        mov     lo2, lo0
        mov     hi2, hi0
        .endif
        .if     \P >= 4
        mov     lo3, lo0
        mov     hi3, hi0
        .endif
        .endm

@ ---- from entry to entry -------------------------------------------------------------------------
@ Run the entry at r11. r8 = its routine; a loop also finds r9 = passes + position * 2^16, ps = stream
@ and r11 = the entry that follows.

        .macro  run_entry
        ldm     r11!, {r8, r9, ps}
        bx      r8
        .endm

@ The head of a loop. Entered at <name>, the loop starts at the entry's position of the packed input;
@ entered at <name>_on, at the place where the entry before has left px.
        .macro  enter name, P
        set_stride \P
.L\name\()_\P:
        ldr     px, [sp, #F_INPUT]
        add     px, px, r9, lsr #(16 - LOG2_STRIDE)
.L\name\()_on_\P:
        str     r11, [sp, #F_ENTRY]
        .endm

@ ---- single weights, 8-bit deltas: two weights a pass --------------------------------------------
@ Loops are entered with at least 1 entry. A loop leaves px at the position of the entry after its last
@ entry. The wide loop, and this loop if P >= 3, leave px at the position of the last entry.
@ A step multiplies weight i while it loads the input words of weight i + 1; the last weight is peeled
@ off, so that nothing is read at a position that may not exist.
@ P >= 3: px is at the position of weight i when step i starts, wa = weight i, wb = delta i + 1.
@ P <= 2: px is one further, wb = delta i + 2.

        .macro  single_step P, weight, delta, advance
        .if     \P == 4
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     2, wa, xa
        add     px, px, wb, lsl #4
        mac     3, wa, xb
        ldrsb   wa, [ps, #\weight]
        ldr     xa, [px]
        ldr     xb, [px, #4]
        .elseif \P == 3
        mac     0, wa, xa
        add     px, px, wb, lsl #4
        mac     1, wa, xb
        .if     \advance
        ldrb    wb, [ps, #\delta]!
        .else
        ldrb    wb, [ps, #\delta]
        .endif
        mac     2, wa, xc
        ldrsb   wa, [ps, #\weight - \advance]
        ldr     xa, [px]
        ldr     xb, [px, #4]
        ldr     xc, [px, #8]
        .elseif \P == 2
        mac     0, wa, xa
        mac     1, wa, xb
        ldrsb   wa, [ps, #\weight]
        ldr     xa, [px]
        ldr     xb, [px, #4]
        add     px, px, wb, lsl #3
        .else
        mac     0, wa, xa
        ldrsb   wa, [ps, #\weight]
        ldr     xa, [px]
        add     px, px, wb, lsl #2
        .endif
        .if     \P != 3
        .if     \advance
        ldrb    wb, [ps, #\delta]!
        .else
        ldrb    wb, [ps, #\delta]
        .endif
        .endif
        .endm

@ The first weight and its inputs; wa is loaded, r9 = passes.
        .macro  single_start P
        str     r11, [sp, #F_ENTRY]
        ldrb    wb, [ps, #2]
        set_passes \P, r9, lsl #24
        ldr     xa, [px]
        .if     \P >= 2
        ldr     xb, [px, #4]
        .endif
        .if     \P == 3
        ldr     xc, [px, #8]
        .endif
        .if     \P <= 2
        add     px, px, wb, lsl #LOG2_STRIDE
        ldrb    wb, [ps, #4]
        add     ps, ps, #4
        .endif
        .endm

@ As single_any and single_start, in the order that takes the fewest cycles.
        .macro  single_head name, copy
.L\name\()_4\copy:
        ldr     px, [sp, #F_INPUT]
        ldrsb   wa, [ps, #1]
        add     px, px, r9, lsr #(16 - LOG2_STRIDE)
        single_start 4
        .endm

@ The last weight is outside the loop, so that the first pass is entered in its middle where the weights
@ are even in number. `single_odd` is for an odd number of weights from 3 on, `single_even` for an even
@ one, `single_any` for any; tiles of fewer pairs have but the last.
@ `copy` makes the labels of the copies for P = 4 differ: of the first entry of a channel, of those between
@ (_between) and of the last (_last), so that the jump at the end of a copy goes where it went before. The
@ copies have the same length. The last one goes on with the entry that requantises.
        .macro  single_loop P, copy
        set_stride \P
.Lsingle_any_\P\copy:
        ldr     px, [sp, #F_INPUT]
.Lsingle_on_\P\copy:
        add     px, px, r9, lsr #(16 - LOG2_STRIDE)
        ldrsb   wa, [ps, #1]
        lsls    r8, r9, #24                     @ carry: an odd number of weights
        single_start \P
        beq     3f
        .if     \P == 4
        bcc     4f
        b       1f
        single_head single_even, \copy
        .else
        bcs     1f
        .endif
4:
        .if     \P <= 2
        sub     ps, ps, #2
        .else
        add     ps, ps, #2
        .endif
        count_pass \P
        b       2f
        .balign 4
        .if     \P == 4
        single_head single_odd, \copy
        .endif
        .if     \P >= 3
1:      single_step \P, 3, 4, 4
        count_pass \P
2:      single_step \P, 1, 2, 0
        .else
1:      single_step \P, -1, 2, 0
        count_pass \P
2:      single_step \P, 1, 4, 4
        .endif
        bcc     1b
3:      mac     0, wa, xa
        .if     \P == 4
        ldr     xa, [px, #8]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     2, wa, xa
        .elseif \P == 3
        ldr     r11, [sp, #F_ENTRY]
        mac     1, wa, xb
        .endif
        .if     \P != 3
        ldr     r11, [sp, #F_ENTRY]
        .endif
        .if     \P == 4
        mac     3, wa, xb
        .elseif \P == 3
        mac     2, wa, xc
        .elseif \P == 2
        mac     1, wa, xb
        .endif
        .ifc    \copy, _last
        ldm     r11!, {r8, r9, ps}
        b.w     .Lrequantize_\P
        .else
        run_entry
        nop
        .endif
        .balign 4
        .endm

@ ---- blocks of 2 or 4 weights, 8-bit deltas: one block a pass ------------------------------------
@ wa starts with the first weight; the delta of the next block passes through wa.

        .macro  enter_block name, P
        enter   \name, \P
        set_passes \P, r9, lsl #24
        ldrsb   wa, [ps, #1]
        .balign 4
        .endm

        .macro  block2_loop P
        enter_block block2, \P
1:
        .if     \P == 4
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #2]
        ldr     xa, [px]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     3, wa, xb
        ldr     xb, [px, #20]
        mac     2, wa, xa
        ldr     xa, [px, #16]
        ldrb    wa, [ps, #3]!
        mac     1, wb, xb
        mac     0, wb, xa
        ldr     xb, [px, #28]
        ldr     xa, [px, #24]
        mac     3, wb, xb
        add     px, px, wa, lsl #5
        mac     2, wb, xa
        .elseif \P == 3
        ldr     xc, [px, #8]
        ldr     xb, [px, #4]
        ldr     xa, [px]
        ldrsb   wb, [ps, #2]
        mac     2, wa, xc
        ldr     xc, [px, #24]
        mac     1, wa, xb
        ldr     xb, [px, #20]
        mac     0, wa, xa
        ldrb    wa, [ps, #3]!
        mac     2, wb, xc
        mac     1, wb, xb
        ldr     xa, [px, #16]
        add     px, px, wa, lsl #5
        mac     0, wb, xa
        .elseif \P == 2
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #2]
        ldr     xa, [px]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldrb    wa, [ps, #3]!
        ldr     xa, [px, #8]
        mac     1, wb, xb
        add     px, px, wa, lsl #4
        mac     0, wb, xa
        .else
        ldr     xa, [px]
        ldrsb   wb, [ps, #2]
        ldr     xb, [px, #4]
        mac     0, wa, xa
        ldrb    wa, [ps, #3]!
        mac     0, wb, xb
        add     px, px, wa, lsl #3
        .endif
        count_pass \P
        ldrsb   wa, [ps, #1]
        bcc     1b
        ldr     r11, [sp, #F_ENTRY]
        run_entry
        .endm

        .macro  block4_loop P
        enter_block block4, \P
1:
        .if     \P == 4
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #2]
        ldr     xa, [px]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     3, wa, xb
        ldr     xb, [px, #20]
        mac     2, wa, xa
        ldr     xa, [px, #16]
        mac     1, wb, xb
        ldrsb   wa, [ps, #3]
        mac     0, wb, xa
        ldr     xb, [px, #28]
        ldr     xa, [px, #24]
        count_pass \P
        mac     3, wb, xb
        ldr     xb, [px, #36]
        mac     2, wb, xa
        ldr     xa, [px, #32]
        mac     1, wa, xb
        ldr     xb, [px, #44]
        mac     0, wa, xa
        ldr     xa, [px, #40]
        ldrsb   wb, [ps, #4]
        mac     3, wa, xb
        mac     2, wa, xa
        ldr     xa, [px, #48]
        ldrb    wa, [ps, #5]!
        ldr     xb, [px, #52]
        mac     0, wb, xa
        ldr     xa, [px, #56]
        mac     1, wb, xb
        ldr     xb, [px, #60]
        add     px, px, wa, lsl #6
        mac     2, wb, xa
        mac     3, wb, xb
        ldrsb   wa, [ps, #1]
        .elseif \P == 3
        ldr     xa, [px]
        ldr     xb, [px, #4]
        ldr     xc, [px, #8]
        ldrsb   wb, [ps, #2]
        mac     1, wa, xb
        mac     2, wa, xc
        ldr     xc, [px, #24]
        mac     0, wa, xa
        ldrsb   wa, [ps, #3]
        ldr     xb, [px, #20]
        ldr     xa, [px, #16]
        mac     2, wb, xc
        ldr     xc, [px, #40]
        mac     0, wb, xa
        ldr     xa, [px, #32]
        mac     1, wb, xb
        ldrsb   wb, [ps, #4]
        ldr     xb, [px, #36]
        mac     2, wa, xc
        ldr     xc, [px, #56]
        mac     0, wa, xa
        mac     1, wa, xb
        ldrb    wa, [ps, #5]!
        mac     2, wb, xc
        ldr     xa, [px, #48]
        ldr     xb, [px, #52]
        add     px, px, wa, lsl #6
        mac     0, wb, xa
        mac     1, wb, xb
        .elseif \P == 2
        ldr     xa, [px]
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #2]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wb, xa
        ldrsb   wa, [ps, #3]
        mac     1, wb, xb
        ldr     xb, [px, #20]
        ldrsb   wb, [ps, #4]
        ldr     xa, [px, #16]
        mac     1, wa, xb
        ldr     xb, [px, #28]
        mac     0, wa, xa
        ldrb    wa, [ps, #5]!
        ldr     xa, [px, #24]
        mac     1, wb, xb
        add     px, px, wa, lsl #5
        mac     0, wb, xa
        .else
        ldr     xa, [px]
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #2]
        mac     0, wa, xa
        ldrsb   wa, [ps, #3]
        ldr     xa, [px, #8]
        mac     0, wb, xb
        ldrsb   wb, [ps, #4]
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldrb    wa, [ps, #5]!
        mac     0, wb, xb
        add     px, px, wa, lsl #4
        .endif
        .if     \P < 4
        count_pass \P
        ldrsb   wa, [ps, #1]
        .endif
        bcc     1b
        ldr     r11, [sp, #F_ENTRY]
        run_entry
        .endm

@ ---- dense channels: two weights a pass, positions one after the other -------------------------------

        .macro  dense_loop P
        enter   dense, \P
        lsls    wa, r9, #24                     @ passes; carry: an even number of weights
        set_passes \P, wa
        ldr     xa, [px]
        .if     \P != 1
        ldr     xb, [px, #4]
        .endif
        .if     \P == 3
        ldr     xc, [px, #8]
        .endif
        ldrsb   wb, [ps, #1]
        ldrsb   wa, [ps]
        .if     \P == 1
        bcs     0f
        mov     xb, xa
        b       3f
0:      ldr     xb, [px, #4]
        b       1f
3:
        .else
        bcs     1f
        .endif
        mov     wb, wa                          @ odd: enter at the second weight of a pass
        sub     ps, ps, #1
        sub     px, px, #(1 << LOG2_STRIDE)
        b       2f
        .balign 4
1:
        .if     \P == 4
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     3, wa, xb
        ldr     xb, [px, #20]
        mac     2, wa, xa
        ldr     xa, [px, #16]
2:      mac     1, wb, xb
        ldr     xb, [px, #28]
        mac     0, wb, xa
        ldr     xa, [px, #24]
        mac     3, wb, xb
        ldrsb   wa, [ps, #2]!
        mac     2, wb, xa
        ldr     xa, [px, #32]!
        count_pass \P
        ldr     xb, [px, #4]
        .elseif \P == 3
        mac     2, wa, xc
        ldr     xc, [px, #24]
        mac     0, wa, xa
        ldr     xa, [px, #16]
        mac     1, wa, xb
        ldr     xb, [px, #20]
2:      mac     2, wb, xc                       @ first: its high word counts the passes
        ldr     xc, [px, #40]
        mac     0, wb, xa
        ldr     xa, [px, #32]!
        mac     1, wb, xb
        ldrsb   wa, [ps, #2]!
        ldr     xb, [px, #4]
        count_pass \P
        .elseif \P == 2
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
2:      mac     1, wb, xb
        ldr     xb, [px, #20]
        mac     0, wb, xa
        ldrsb   wa, [ps, #2]!
        ldr     xa, [px, #16]!
        count_pass \P
        .else
        mac     0, wa, xa
2:      ldr     xa, [px, #8]!
        mac     0, wb, xb
        ldr     xb, [px, #4]
        ldrsb   wa, [ps, #2]!
        count_pass \P
        .endif
        ldrsb   wb, [ps, #1]
        bcc     1b
        b.w     .Lnext_\P
        .endm

@ ---- 16-bit deltas, any block size: rare, so plain -----------------------------------------------

        .macro  wide_loop P
        enter   wide, \P
        set_passes \P, r9, lsl #24
1:
        .if     NK_USE_UNALIGNED
        ldrh    wb, [ps], #2
        .else
        ldrb    wb, [ps], #1
        ldrb    wa, [ps], #1
        orr     wb, wb, wa, lsl #8
        .endif
        ldr     wa, [sp, #F_SHIFT]
        lsl     wb, wb, wa
        add     px, px, wb
        ldr     wb, [sp, #F_BLOCK]
2:      ldrsb   wa, [ps], #1
        ldr     xa, [px]
        mac     0, wa, xa
        .if     \P >= 2
        ldr     xb, [px, #4]
        mac     1, wa, xb
        .endif
        .if     \P >= 3
        ldr     xa, [px, #8]
        mac     2, wa, xa
        .endif
        .if     \P >= 4
        ldr     xb, [px, #12]
        mac     3, wa, xb
        .endif
        add     px, px, #(1 << LOG2_STRIDE)
        subs    wb, wb, #1
        bne     2b
        ldr     wa, [sp, #F_BLOCK]
        sub     px, px, wa, lsl #LOG2_STRIDE
        count_pass \P
        bcc     1b
        b.w     .Lnext_\P
        .endm

@ ---- channels that need more than one accumulator span, or the exact long form -----------------------
@ Add pair i to F_SUMS. r8 = LO_START, r9 = 2^23.
        .macro  fold_pair i
        ubfx    r10, lo\i, #0, #23
        lsr     r11, lo\i, #23
        orr     r11, r11, hi\i, lsl #9
        sub     r10, r10, r8
        ldr     lo\i, [sp, #F_SUMS + 8 * \i]
        ldr     hi\i, [sp, #F_SUMS + 8 * \i + 4]
        sub     r11, r11, r9
        add     lo\i, lo\i, r10
        add     hi\i, hi\i, r11
        str     lo\i, [sp, #F_SUMS + 8 * \i]
        str     hi\i, [sp, #F_SUMS + 8 * \i + 4]
        .endm

@ Pair i of F_SUMS, then cleared, as the split leaves it; r8 = twice the bias, r10 = 0.
        .macro  load_sums i
        ldr     lo\i, [sp, #F_SUMS + 8 * \i]
        ldr     hi\i, [sp, #F_SUMS + 8 * \i + 4]
        strd    r10, r10, [sp, #F_SUMS + 8 * \i]
        add     lo\i, r8, lo\i, lsl #1
        add     hi\i, r8, hi\i, lsl #1
        .endm

@ ---- requantisation ------------------------------------------------------------------------------
@ The entry is the address of the routine and a struct nk_dsp_channel. It holds twice the biases minus the
@ start values of the accumulators: r9 even, lr odd pixels; r11 = its multiplier.
@ For each pair, with the mask 2^23 - 1:
@       and     t, lo, mask
@       bic     lo, lo, mask
@       add     hi, odd, hi, lsl #10
@       add     hi, hi, lo, lsr #22
@       add     lo, even, t, lsl #1
@ leaves 2 * (acc + bias) of the even pixel in lo and of the odd pixel in hi. Then for each pixel
@       add     t, half, acc, asr #31
@       smmlar  acc, acc, multiplier, t         @ round(acc * multiplier / 2^32) + half - (acc < 0)
@       asr     acc, acc, shift
@       ssat    acc, #8, acc
@       strb    acc, [output, ...]
@ The last pixel is stored first. If the tile has an odd number of pixels, F_LAST makes the pixel before
@ overwrite the last pixel. At last the accumulators start anew and the next entry runs. All this in the
@ order that takes the fewest cycles.

        .macro  split_4
        ldr     r10, [sp, #F_MASK]
        add     hi3, lr, hi3, lsl #10
        add     hi0, lr, hi0, lsl #10
        and     r8, lo0, r10
        bic     lo0, lo0, r10
        add     hi1, lr, hi1, lsl #10
        and     r12, lo1, r10
        add     hi2, lr, hi2, lsl #10
        bic     lo1, lo1, r10
        add     hi0, hi0, lo0, lsr #22
        add     lo0, r9, r8, lsl #1
        and     r8, lo2, r10
        bic     lo2, lo2, r10
        add     hi1, hi1, lo1, lsr #22
        add     lo1, r9, r12, lsl #1
        and     r12, lo3, r10
        bic     lo3, lo3, r10
        add     hi2, hi2, lo2, lsr #22
        add     lo2, r9, r8, lsl #1
        add     hi3, hi3, lo3, lsr #22
        add     lo3, r9, r12, lsl #1
        .endm

        .macro  scale_4
        ldr     lr, [r11, #8]
        ldr     r9, [r11, #4]
        add     r8, r9, lo0, asr #31
        ldr     r10, [r11], #12
        add     r12, r9, hi0, asr #31
        smmlar  lo0, lo0, r10, r8
        add     r8, r9, lo1, asr #31
        smmlar  hi0, hi0, r10, r12
        add     r12, r9, hi1, asr #31
        smmlar  lo1, lo1, r10, r8
        add     r8, r9, lo2, asr #31
        asr     hi0, hi0, lr
        smmlar  hi1, hi1, r10, r12
        add     r12, r9, hi2, asr #31
        smmlar  lo2, lo2, r10, r8
        asr     hi1, hi1, lr
        add     r8, r9, lo3, asr #31
        ssat    hi0, #8, hi0
        smmlar  lo3, lo3, r10, r8
        smmlar  hi2, hi2, r10, r12
        asr     lo2, lo2, lr
        add     r12, r9, hi3, asr #31
        ldr     r8, [sp, #F_OUTPUT]
        asr     hi2, hi2, lr
        asr     lo3, lo3, lr
        ssat    lo2, #8, lo2
        smmlar  hi3, hi3, r10, r12
        ssat    hi1, #8, hi1
        asr     lo1, lo1, lr
        asr     hi3, hi3, lr
        asr     lo0, lo0, lr
        ssat    lo3, #8, lo3
        ldr     lr, [sp, #F_LAST]
        ssat    lo0, #8, lo0
        ldr     r9, [sp, #F_STEP]
        ssat    hi3, #8, hi3
        strb    hi3, [r8, lr]
        add     r10, r9, r9, lsl #1
        strb    lo2, [r8, r9, lsl #2]
        ssat    hi2, #8, hi2
        strb    hi0, [r8, r9]
        add     r12, r9, r9, lsl #2
        strb    lo3, [r8, r10, lsl #1]
        strb    lo0, [r8]
        mov     lo3, #LO_START
        ssat    lo1, #8, lo1
        strb    lo1, [r8, r9, lsl #1]
        strb    hi2, [r8, r12]
        mov     hi2, #HI_START
        strb    hi1, [r8, r10]
        mov     lo0, #LO_START
        add     r8, r8, #1
        str     r8, [sp, #F_OUTPUT]
        mov     lo2, #LO_START
        mov     hi1, #HI_START
        mov     hi3, #HI_START
        mov     hi0, #HI_START
        ldm     r11!, {r8, r9, lr}
        mov     lo1, #LO_START
        bx      r8
        .endm

        .macro  split_3
        add     hi2, lr, hi2, lsl #10
        ldr     r10, [sp, #F_MASK]
        and     r8, lo0, r10
        bic     lo0, lo0, r10
        and     r12, lo1, r10
        add     hi0, lr, hi0, lsl #10
        add     hi0, hi0, lo0, lsr #22
        add     lo0, r9, r8, lsl #1
        bic     lo1, lo1, r10
        add     hi1, lr, hi1, lsl #10
        and     r8, lo2, r10
        add     hi1, hi1, lo1, lsr #22
        bic     lo2, lo2, r10
        add     lo1, r9, r12, lsl #1
        add     hi2, hi2, lo2, lsr #22
        add     lo2, r9, r8, lsl #1
        .endm

        .macro  scale_3
        ldr     lr, [r11, #8]
        ldr     r9, [r11, #4]
        add     r8, r9, lo0, asr #31
        ldr     r10, [r11], #12
        add     r12, r9, hi0, asr #31
        smmlar  lo0, lo0, r10, r8
        add     r8, r9, lo1, asr #31
        smmlar  hi0, hi0, r10, r12
        add     r12, r9, hi1, asr #31
        smmlar  lo1, lo1, r10, r8
        add     r8, r9, lo2, asr #31
        smmlar  hi1, hi1, r10, r12
        asr     hi0, hi0, lr
        asr     lo0, lo0, lr
        add     r12, r9, hi2, asr #31
        asr     hi1, hi1, lr
        asr     lo1, lo1, lr
        ssat    hi0, #8, hi0
        smmlar  lo2, lo2, r10, r8
        ldr     r9, [sp, #F_STEP]
        smmlar  hi2, hi2, r10, r12
        asr     lo2, lo2, lr
        ldr     r8, [sp, #F_OUTPUT]
        add     r10, r9, r9, lsl #1
        asr     hi2, hi2, lr
        ssat    hi2, #8, hi2
        ldr     lr, [sp, #F_LAST]
        ssat    hi1, #8, hi1
        ssat    lo2, #8, lo2
        strb    hi2, [r8, lr]
        ssat    lo1, #8, lo1
        strb    hi1, [r8, r10]
        strb    lo1, [r8, r9, lsl #1]
        mov     hi2, #HI_START
        ssat    lo0, #8, lo0
        strb    lo0, [r8]
        mov     lo1, #LO_START
        mov     lo0, #LO_START
        strb    lo2, [r8, r9, lsl #2]
        mov     lo2, #LO_START
        mov     hi1, #HI_START
        strb    hi0, [r8, r9]
        add     r8, r8, #1
        str     r8, [sp, #F_OUTPUT]
        ldm     r11!, {r8, r9, lr}
        mov     hi0, #HI_START
        bx      r8
        .endm

        .macro  split_2
        add     hi1, lr, hi1, lsl #10
        ldr     r10, [sp, #F_MASK]
        and     r12, lo1, r10
        bic     lo1, lo1, r10
        add     hi0, lr, hi0, lsl #10
        and     r8, lo0, r10
        add     hi1, hi1, lo1, lsr #22
        bic     lo0, lo0, r10
        add     lo1, r9, r12, lsl #1
        add     hi0, hi0, lo0, lsr #22
        add     lo0, r9, r8, lsl #1
        .endm

        .macro  scale_2
        ldr     r9, [r11, #4]
        ldr     lr, [r11, #8]
        ldr     r10, [r11], #12
        add     r12, r9, hi0, asr #31
        add     r8, r9, lo0, asr #31
        smmlar  lo0, lo0, r10, r8
        add     r8, r9, lo1, asr #31
        smmlar  hi0, hi0, r10, r12
        add     r12, r9, hi1, asr #31
        asr     lo0, lo0, lr
        smmlar  lo1, lo1, r10, r8
        asr     hi0, hi0, lr
        smmlar  hi1, hi1, r10, r12
        ldr     r8, [sp, #F_OUTPUT]
        asr     lo1, lo1, lr
        asr     hi1, hi1, lr
        ldr     lr, [sp, #F_LAST]
        ssat    hi1, #8, hi1
        ldr     r9, [sp, #F_STEP]
        ssat    lo0, #8, lo0
        strb    hi1, [r8, lr]
        ssat    hi0, #8, hi0
        strb    hi0, [r8, r9]
        ssat    lo1, #8, lo1
        strb    lo0, [r8]
        strb    lo1, [r8, r9, lsl #1]
        add     r8, r8, #1
        str     r8, [sp, #F_OUTPUT]
        mov     hi1, #HI_START
        mov     lo0, #LO_START
        mov     lo1, #LO_START
        ldm     r11!, {r8, r9, lr}
        mov     hi0, #HI_START
        bx      r8
        .endm

        .macro  split_1
        ldr     r10, [sp, #F_MASK]
        and     r8, lo0, r10
        bic     lo0, lo0, r10
        add     hi0, lr, hi0, lsl #10
        add     hi0, hi0, lo0, lsr #22
        add     lo0, r9, r8, lsl #1
        .endm

        .macro  scale_1
        ldr     lr, [r11, #8]
        ldr     r9, [r11, #4]
        ldr     r10, [r11], #12
        add     r12, r9, hi0, asr #31
        smmlar  hi0, hi0, r10, r12
        add     r8, r9, lo0, asr #31
        smmlar  lo0, lo0, r10, r8
        asr     hi0, hi0, lr
        ldr     r8, [sp, #F_OUTPUT]
        asr     lo0, lo0, lr
        ldr     lr, [sp, #F_LAST]
        ssat    lo0, #8, lo0
        ssat    hi0, #8, hi0
        strb    hi0, [r8, lr]
        strb    lo0, [r8]
        add     r8, r8, #1
        str     r8, [sp, #F_OUTPUT]
        mov     lo0, #LO_START
        ldm     r11!, {r8, r9, lr}
        mov     hi0, #HI_START
        bx      r8
        .endm

@ ---- void nk_dsp_tile_<P>(const nk_dsp_tile *tile) -------------------------------------------------

        .macro  tile P
        .section .text.nk_dsp_tile_\P, "ax", %progbits
        .balign 4
        .type   nk_dsp_tile_\P, %function
        .thumb_func
nk_dsp_tile_\P:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME                  @ keeps the stack 8-byte aligned
        ldm     r0, {r1-r7}
        stm     sp, {r1-r7}
        mov     r11, r2
        mov     r1, #0
        ldr     r2, =(1 << 23) - 1
        str     r0, [sp, #F_TILE]
        str     r2, [sp, #F_MASK]
        .set    offset, F_SUMS
        .rept   2 * \P
        str     r1, [sp, #offset]
        .set    offset, offset + 4
        .endr
        clear_accumulators \P
        run_entry

.Lstop_\P:
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .ltorg

.Lrequantize_\P:
        split_\P
.Lscale_\P:                                     @ r11 = multiplier
        scale_\P

        .balign 4
        single_loop \P
        .if     \P == 4
        single_loop \P, _between
        single_loop \P, _last
        .endif
        block2_loop \P
        block4_loop \P
        dense_loop \P
        wide_loop \P

.Lnext_\P:
        ldr     r11, [sp, #F_ENTRY]
        run_entry

.Lfold_\P:
        str     r11, [sp, #F_ENTRY]
        mov     r8, #LO_START
        mov     r9, #(1 << 23)
        fold_pair 0
        .if     \P >= 2
        fold_pair 1
        .endif
        .if     \P >= 3
        fold_pair 2
        .endif
        .if     \P >= 4
        fold_pair 3
        .endif
        ldr     r11, [sp, #F_ENTRY]
        clear_accumulators \P
        sub     r11, r11, #8                    @ of this entry there is but the first word
        run_entry

.Lsums_\P:
        mov     r10, #0
        add     r8, r9, #(1 << 23)
        load_sums 0
        .if     \P >= 2
        load_sums 1
        .endif
        .if     \P >= 3
        load_sums 2
        .endif
        .if     \P >= 4
        load_sums 3
        .endif
        b       .Lscale_\P

.Lconstant_\P:                                  @ r9 = the output; the accumulators are untouched
        ldr     r8, [sp, #F_OUTPUT]
        ldr     lr, [sp, #F_LAST]
        ldr     r10, [sp, #F_STEP]
        strb    r9, [r8]
        strb    r9, [r8, lr]
        .if     \P >= 2
        strb    r9, [r8, r10]
        strb    r9, [r8, r10, lsl #1]
        .endif
        .if     \P >= 3
        add     r12, r10, r10, lsl #1
        strb    r9, [r8, r12]
        strb    r9, [r8, r10, lsl #2]
        .endif
        .if     \P >= 4
        strb    r9, [r8, r12, lsl #1]
        add     r12, r10, r10, lsl #2
        strb    r9, [r8, r12]
        .endif
        add     r8, r8, #1
        add     r11, r11, #(CHANNEL_BYTES - C_MULTIPLIER)
        str     r8, [sp, #F_OUTPUT]
        run_entry

.Lexact_\P:
        ldr     r0, [sp, #F_TILE]
        sub     r1, r11, #C_MULTIPLIER
        add     r2, sp, #F_SUMS
        ldr     r3, [sp, #F_OUTPUT]
        bl      nk_dsp_requantize_exact
        ldr     r8, [sp, #F_OUTPUT]
        add     r11, r11, #(CHANNEL_BYTES - C_MULTIPLIER)
        add     r8, r8, #1
        str     r8, [sp, #F_OUTPUT]
        clear_accumulators \P
        run_entry
        .size   nk_dsp_tile_\P, . - nk_dsp_tile_\P
        .endm

        tile    4
        tile    3
        tile    2
        tile    1

@ ---- packing: words of 2 * P pixels, channel after channel ---------------------------------------
@ void nk_dsp_pack_<P>(const int8_t *const *pixels, int32_t *words, int32_t channels, int32_t step)
@ The words of a channel are `step` bytes from the words of the channel before.

        .section .text.nk_dsp_pack, "ax", %progbits
        .macro  pack P
        .balign 4
        .type   nk_dsp_pack_\P, %function
        .thumb_func
nk_dsp_pack_\P:
        push    {r3-r11, lr}
        mov     r8, r1
        mov     r9, r2
        .if     \P == 4
        ldm     r0, {r0-r7}
        add     r9, r9, r0                      @ end of the first pixel
        ldrsb   r10, [r0], #1
        ldrsb   r11, [r1], #1
        ldrsb   r12, [r2], #1
        ldrsb   lr, [r3], #1
        cmp     r0, r9
        beq     2f
        .balign 4
1:      add     r10, r10, r11, lsl #23
        ldrsb   r11, [r5], #1
        str     r10, [r8]
        ldrsb   r10, [r4], #1
        add     r12, r12, lr, lsl #23
        ldrsb   lr, [r7], #1
        str     r12, [r8, #4]
        ldrsb   r12, [r6], #1
        add     r10, r10, r11, lsl #23
        ldrsb   r11, [r1], #1
        str     r10, [r8, #8]
        ldrsb   r10, [r0], #1
        add     r12, r12, lr, lsl #23
        ldr     lr, [sp]
        str     r12, [r8, #12]
        add     r8, r8, lr
        ldrsb   lr, [r3], #1
        ldrsb   r12, [r2], #1
        cmp     r0, r9
        bne     1b
2:      ldrsb   r0, [r4]
        ldrsb   r1, [r5]
        ldrsb   r2, [r6]
        ldrsb   r3, [r7]
        add     r10, r10, r11, lsl #23
        str     r10, [r8]
        add     r12, r12, lr, lsl #23
        str     r12, [r8, #4]
        add     r0, r0, r1, lsl #23
        str     r0, [r8, #8]
        add     r2, r2, r3, lsl #23
        str     r2, [r8, #12]
        .elseif \P == 3
        ldm     r0, {r0-r5}
1:      ldrsb   r10, [r0], #1
        ldrsb   r11, [r1], #1
        ldrsb   r12, [r2], #1
        ldrsb   lr, [r3], #1
        add     r10, r10, r11, lsl #23
        ldrsb   r6, [r4], #1
        ldrsb   r7, [r5], #1
        add     r12, r12, lr, lsl #23
        str     r10, [r8]
        ldr     r10, [sp]
        add     r6, r6, r7, lsl #23
        str     r12, [r8, #4]
        subs    r9, r9, #1
        str     r6, [r8, #8]
        add     r8, r8, r10
        bne     1b
        .elseif \P == 2
        mov     r4, r3
        ldm     r0, {r0-r3}
1:      ldrsb   r10, [r0], #1
        ldrsb   r11, [r1], #1
        ldrsb   r12, [r2], #1
        ldrsb   lr, [r3], #1
        subs    r9, r9, #1
        add     r10, r10, r11, lsl #23
        str     r10, [r8]
        add     r12, r12, lr, lsl #23
        str     r12, [r8, #4]
        add     r8, r8, r4
        bne     1b
        .else
        ldm     r0, {r0-r1}
1:      ldrsb   r10, [r0], #1
        ldrsb   r11, [r1], #1
        subs    r9, r9, #1
        add     r10, r10, r11, lsl #23
        str     r10, [r8]
        add     r8, r8, r3
        bne     1b
        .endif
        pop     {r3-r11, pc}
        .size   nk_dsp_pack_\P, . - nk_dsp_pack_\P
        .endm

        pack    4
        pack    3
        pack    2
        pack    1

@ void nk_dsp_pack_4_shifted(const int8_t *const pixels[2], int32_t *words, int32_t channels,
@                           int32_t step, const int32_t *from)
@ The words of 8 pixels of which `from` has the first 6 as its last 6.
        .balign 4
        .type   nk_dsp_pack_4_shifted, %function
        .thumb_func
nk_dsp_pack_4_shifted:
        push    {r4-r9, lr}
        ldr     r4, [sp, #28]
        ldm     r0, {r0, r5}
        add     r2, r2, r0
1:      ldrsb   r7, [r5], #1
        ldr     r12, [r4, #12]
        ldr     r9, [r4, #8]
        ldr     r8, [r4, #4]
        add     r4, r4, r3
        ldrsb   r6, [r0], #1
        str     r8, [r1]
        str     r9, [r1, #4]
        cmp     r0, r2
        add     r6, r6, r7, lsl #23
        str     r12, [r1, #8]
        str     r6, [r1, #12]
        add     r1, r1, r3
        bne     1b
        pop     {r4-r9, pc}
        .size   nk_dsp_pack_4_shifted, . - nk_dsp_pack_4_shifted

@ void nk_dsp_pack_threes(const int8_t *const pixels[3], int32_t *words, int32_t channels, int32_t distance)
@ The words of 8 pixels in three filter columns at once, `channels` * 16 bytes apart. pixels: the first of
@ the 10 pixels under the filter; the second, from where 8 pixels are `distance` bytes apart; the last.
@ From the last pixel to the first, each pair of neighbours makes a word of one or two filter columns.
        .balign 4
        .type   nk_dsp_pack_threes, %function
        .thumb_func
nk_dsp_pack_threes:
        push    {r4-r11, lr}
        mov     r4, r3
        mov     r9, r2
        mov     r3, r1
        ldm     r0, {r0-r2}
        add     r5, r4, r4, lsl #1
        add     r7, r3, r9, lsl #4
        add     r8, r7, r9, lsl #4
        add     r9, r9, r0                      @ end of the first pixel
        .balign 4
1:      add     r6, r1, r4, lsl #2
        ldrsb   r11, [r2], #1
        ldrsb   r10, [r6, r5]
        ldrsb   lr, [r6, r4, lsl #1]
        ldrsb   r12, [r6, r4]
        add     r11, r10, r11, lsl #23
        str     r11, [r8, #12]
        add     r10, lr, r10, lsl #23
        ldrsb   r11, [r6]
        str     r10, [r7, #12]
        add     lr, r12, lr, lsl #23
        str     lr, [r3, #12]
        ldrsb   r10, [r1, r5]
        str     lr, [r8, #8]
        ldrsb   lr, [r1, r4, lsl #1]
        add     r12, r11, r12, lsl #23
        str     r12, [r7, #8]
        add     r11, r10, r11, lsl #23
        ldrsb   r12, [r1, r4]
        add     r10, lr, r10, lsl #23
        str     r11, [r3, #8]
        str     r11, [r8, #4]
        add     lr, r12, lr, lsl #23
        str     r10, [r7, #4]
        ldrsb   r11, [r1], #1
        str     lr, [r3, #4]
        ldrsb   r10, [r0], #1
        str     lr, [r8], #16
        add     r12, r11, r12, lsl #23
        add     r11, r10, r11, lsl #23
        str     r12, [r7], #16
        str     r11, [r3], #16
        cmp     r0, r9
        bne     1b
        pop     {r4-r11, pc}
        .size   nk_dsp_pack_threes, . - nk_dsp_pack_threes

@ void nk_dsp_move_up(void *to, uint32_t by, uint32_t bytes, int32_t count, int32_t step)
@ Moves `bytes` (rounded up to 16) up by `by`, `count` times, `step` bytes apart.
        .macro  move_words registers:vararg
        ldm     r8!, {\registers}
        stm     r9!, {\registers}
        .endm

        .balign 4
        .type   nk_dsp_move_up, %function
        .thumb_func
nk_dsp_move_up:
        push    {r0, r3-r11, lr}
        sub     sp, sp, #4
1:      ldr     r9, [sp, #4]
        add     r8, r9, r1
        sub     r10, r2, #48
        cmp     r10, #0
        ble     3f
2:      move_words r0, r3-r7, r11, r12
        move_words r4-r7
        subs    r10, r10, #48
        bgt     2b
3:      adds    r10, r10, #48
        ble     5f
4:      move_words r4-r7
        subs    r10, r10, #16
        bgt     4b
5:      ldr     r9, [sp, #4]
        ldr     r10, [sp, #48]
        ldr     r3, [sp, #8]
        add     r9, r9, r10
        subs    r3, r3, #1
        str     r9, [sp, #4]
        str     r3, [sp, #8]
        bne     1b
        add     sp, sp, #4
        pop     {r0, r3-r11, pc}
        .size   nk_dsp_move_up, . - nk_dsp_move_up

@ ---- the routines of the entries: [P - 1][NK_DSP_*] ------------------------------------------------
        .section .rodata.nk_dsp_routines, "a", %progbits
        .balign 4
nk_dsp_routines:
        .irp    P, 1, 2, 3, 4
        .word   .Lrequantize_\P + 1
        .word   .Lsingle_any_\P + 1, .Lblock2_\P + 1, .Lblock4_\P + 1, .Ldense_\P + 1, .Lwide_\P + 1
        .word   .Lsingle_on_\P + 1, .Lblock2_on_\P + 1, .Lblock4_on_\P + 1, .Ldense_on_\P + 1
        .word   .Lwide_on_\P + 1
        .word   .Lfold_\P + 1, .Lsums_\P + 1, .Lexact_\P + 1
        .if     \P == 4
        .word   .Lsingle_even_\P + 1, .Lsingle_odd_\P + 1
        .else
        .word   .Lsingle_any_\P + 1, .Lsingle_any_\P + 1
        .endif
        .word   .Lconstant_\P + 1
        .word   .Lstop_\P + 1
        .if     \P == 4
        .word   .Lsingle_any_4_between - .Lsingle_any_4
        .else
        .word   0
        .endif
        .endr

@ ---- chains: single weights of a channel, without a loop, and its requantisation ---------------------
@ A chain list (nk_dsp_chain.h) has one entry a channel. The steps of two weights each stand one after the
@ other, and an entry begins at the step from which on its weights are left, so that there is no end of a
@ loop. Channels of equal length stand together in the list, so that most entries begin where the entry
@ before did. Both are for the sake of the branch predictor.
@ An entry holds its first weight, the delta to its second, and the byte offset of its first input:
@ xb = weight + delta * 2^8 + offset * 2^16. At the first step wa = weight, wb = delta, px = first input,
@ xb = its second word and ps = stream; the weights and the deltas take turns in wa and wb.
@ Other registers than in the loops: a load with low registers is 2 bytes shorter.

        .unreq  lo0
        .unreq  hi0
        .unreq  lo1
        .unreq  hi1
        .unreq  lo2
        .unreq  hi2
        .unreq  lo3
        .unreq  hi3
        .unreq  xa
        .unreq  xb
        .unreq  wa
        .unreq  wb
        .unreq  px
        .unreq  ps
xa  .req r0
xb  .req r1
wa  .req r2
wb  .req r3
px  .req r4
ps  .req r5
lo0 .req r6
lo1 .req r7
hi0 .req r8
hi1 .req r9
lo2 .req r10
hi2 .req r11
lo3 .req r12
hi3 .req lr

@ Run the entry at wb.
        .macro  run_chain_entry
        ldm     wb!, {xa, xb, ps}
        str     wb, [sp, #F_ENTRY]
        ldr     px, [sp, #F_INPUT]
        sxtb    wa, xb
        add     px, px, xb, lsr #16
        sbfx    wb, xb, #8, #8
        ldr     xb, [px, #4]
        bx      xa
        .endm

@ A step: the order takes 12 cycles, of which px, its loads and two words of input at a time need as many.
        .macro  chain_step weight
        ldr     xa, [px]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        add     px, px, wb, lsl #4
        mac     3, wa, xb
        ldrsb   wb, [ps, #\weight]
        mac     2, wa, xa
        ldr     xb, [px, #4]
        ldr     xa, [px]
        ldrsb   wa, [ps, #\weight + 1]
        mac     1, wb, xb
        ldr     xb, [px, #12]
        mac     0, wb, xa
        ldr     xa, [px, #8]
        add     px, px, wa, lsl #4
        mac     3, wb, xb
        ldrsb   wa, [ps, #\weight + 2]
        mac     2, wb, xa
        ldr     xb, [px, #4]
        ldrsb   wb, [ps, #\weight + 3]
        .endm

        .section .text.nk_dsp_chain, "ax", %progbits
        .balign 4
.Lchain_again:
        add     hi3, hi3, #ONE_PASS
        add     ps, ps, #(4 * CHAIN_STEPS)
        .balign 4
.Lchain:
        .set    weight, 1
        .rept   CHAIN_STEPS
        chain_step weight
        .set    weight, weight + 4
        .endr
.Lchain_end:
        cmp     hi3, #0                         @ its top byte: minus the passes that are left
        bmi     .Lchain_again
.Lchain_last:                                   @ the last weight, requantisation, the next entry
        ldr     xa, [px]
        ldr     wb, [sp, #F_ENTRY]
        mac     1, wa, xb
        ldr     xb, [px, #12]
        mac     0, wa, xa
        ldr     xa, [px, #8]
        mac     3, wa, xb
        ldr     xb, [wb]
        mac     2, wa, xa
        ldr     wa, [sp, #F_MASK]
        add     hi1, xb, hi1, lsl #10
        and     px, lo1, wa
        add     hi3, xb, hi3, lsl #10
        bics    lo1, lo1, wa
        add     hi2, xb, hi2, lsl #10
        add     hi0, xb, hi0, lsl #10
        and     xa, lo0, wa
        add     hi1, hi1, lo1, lsr #22
        bics    lo0, lo0, wa
        add     lo1, xb, px, lsl #1
        and     px, lo3, wa
        bic     lo3, lo3, wa
        add     hi0, hi0, lo0, lsr #22
        add     lo0, xb, xa, lsl #1
        and     xa, lo2, wa
        add     hi3, hi3, lo3, lsr #22
        bic     lo2, lo2, wa
        add     lo3, xb, px, lsl #1
        ldr     ps, [wb, #8]
        add     hi2, hi2, lo2, lsr #22
        add     lo2, xb, xa, lsl #1
        ldr     xb, [sp, #F_HALF]
        lsls    xb, xb, ps
        asrs    xb, xb, #1
        ldr     wa, [wb, #4]
        add     xa, xb, lo0, asr #31
        smmlar  lo0, lo0, wa, xa
        add     px, xb, hi0, asr #31
        smmlar  hi0, hi0, wa, px
        add     xa, xb, lo1, asr #31
        smmlar  lo1, lo1, wa, xa
        add     px, xb, hi1, asr #31
        add     xa, xb, lo2, asr #31
        smmlar  hi1, hi1, wa, px
        smmlar  lo2, lo2, wa, xa
        asrs    lo0, lo0, ps
        asr     hi1, hi1, ps
        add     xa, xb, lo3, asr #31
        add     px, xb, hi2, asr #31
        asr     lo2, lo2, ps
        asrs    lo1, lo1, ps
        asr     hi0, hi0, ps
        ssat    lo0, #8, lo0
        smmlar  hi2, hi2, wa, px
        ssat    hi0, #8, hi0
        smmlar  lo3, lo3, wa, xa
        ldr     xa, [sp, #F_OUTPUT]
        add     px, xb, hi3, asr #31
        add     xa, xa, ps, lsr #16
        smmlar  hi3, hi3, wa, px
        ssat    lo2, #8, lo2
        asr     hi2, hi2, ps
        asr     hi3, hi3, ps
        ldr     xb, [sp, #F_STEP]
        ssat    hi3, #8, hi3
        asr     lo3, lo3, ps
        ldr     ps, [sp, #F_LAST]
        add     wa, xb, xb, lsl #1
        strb    hi0, [xa, xb]
        add     px, xb, xb, lsl #2
        ssat    lo3, #8, lo3
        strb    lo2, [xa, xb, lsl #2]
        ssat    hi2, #8, hi2
        strb    lo0, [xa]
        ssat    lo1, #8, lo1
        strb    lo1, [xa, xb, lsl #1]
        ssat    hi1, #8, hi1
        strb    hi3, [xa, ps]
        strb    hi2, [xa, px]
        mov     hi0, #CHAIN_HI_START
        strb    hi1, [xa, wa]
        mov     lo2, #LO_START
        mov     hi2, #CHAIN_HI_START
        mov     lo1, #LO_START
        strb    lo3, [xa, wa, lsl #1]
        ldr     px, [sp, #F_INPUT]
        ldr     xb, [wb, #16]
        ldr     xa, [wb, #12]
        sxtb    wa, xb
        mov     lo0, #LO_START
        ldr     ps, [wb, #20]
        mov     hi3, #CHAIN_HI_START
        adds    wb, wb, #24
        mov     hi1, #CHAIN_HI_START
        add     px, px, xb, lsr #16
        str     wb, [sp, #F_ENTRY]
        sbfx    wb, xb, #8, #8
        mov     lo3, #LO_START
        ldr     xb, [px, #4]
        bx      xa

@ An entry of more passes: two more words, the start of hi3 with the passes, and the first step.
.Lchain_long:
        ldr     xa, [sp, #F_ENTRY]
        ldr     hi3, [xa], #8
        str     xa, [sp, #F_ENTRY]
        ldr     xa, [xa, #-4]
        bx      xa

@ r9 = channels without weights, and the first of their words stands before r11.
.Lchain_start:
        sub     wb, r11, #4
        ldr     r0, [sp, #F_TILE]
        ldr     r0, [r0, #T_OFFSET]
        adds    r0, r0, r0
        adds    r0, r0, #1
        str     r0, [sp, #F_HALF]
        cmp     r9, #0
        beq     2f
        ldr     r7, [sp, #F_OUTPUT]
        ldr     r1, [sp, #F_STEP]
        ldr     r4, [sp, #F_LAST]
        add     r2, r1, r1, lsl #1
        add     r6, r1, r1, lsl #2
        .balign 4
1:      ldr     r5, [wb], #4
        subs    r9, r9, #1
        add     r0, r7, r5, lsr #8
        strb    r5, [r0]
        strb    r5, [r0, r4]
        strb    r5, [r0, r1]
        strb    r5, [r0, r1, lsl #1]
        strb    r5, [r0, r2]
        strb    r5, [r0, r1, lsl #2]
        strb    r5, [r0, r6]
        strb    r5, [r0, r2, lsl #1]
        bne     1b
2:      clear_accumulators 4, CHAIN_HI_START
        run_chain_entry

@ The routines of a chain list: NK_DSP_CHAIN_*.
        .section .rodata.nk_dsp_chain_routines, "a", %progbits
        .balign 4
nk_dsp_chain_routines:
        .word   .Lchain_start + 1, .Lchain_last + 1, .Lchain_end + 1, .Lchain_long + 1
        .word   .Lstop_4 + 1
        .word   (.Lchain_end - .Lchain) / CHAIN_STEPS

#elif defined(__ELF__)
        .section .note.GNU-stack, "", %progbits
#endif
