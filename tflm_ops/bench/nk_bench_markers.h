/**
 * Marks the code whose instructions are counted (count_plugin.c, nested_keras/bench/counter.py).
 *
 * A marker is a DBG hint: one instruction that does nothing on QEMU and on silicon, and that is not
 * counted itself. Regions do not nest. The compiler moves no memory access across a marker, but may
 * move a few register instructions.
 */
#ifndef NK_BENCH_MARKERS_H_
#define NK_BENCH_MARKERS_H_

// As numbers, because assemblers refuse DBG for the Cortex-M0+. QEMU's Cortex-M3 runs its code.

/** Starts a region: all counts return to zero. DBG #12. */
#define NK_BENCH_BEGIN() __asm__ volatile(".inst.n 0xf3af\n.inst.n 0x80fc" ::: "memory")
/** Ends the region: its counts are written. DBG #13. */
#define NK_BENCH_END() __asm__ volatile(".inst.n 0xf3af\n.inst.n 0x80fd" ::: "memory")

#endif  // NK_BENCH_MARKERS_H_
