/**
 * Marks the code whose instructions are counted (count_plugin.c, nested_keras/bench/counter.py).
 *
 * A marker is a DBG hint: one instruction that does nothing on QEMU and on silicon, and that is not
 * counted itself. Regions do not nest. The compiler moves no memory access across a marker, but may
 * move a few register instructions.
 */
#ifndef NK_BENCH_MARKERS_H_
#define NK_BENCH_MARKERS_H_

/** Starts a region: all counts return to zero. */
#define NK_BENCH_BEGIN() __asm__ volatile("dbg #12" ::: "memory")
/** Ends the region: its counts are written. */
#define NK_BENCH_END() __asm__ volatile("dbg #13" ::: "memory")

#endif  // NK_BENCH_MARKERS_H_
