/**
 * QEMU TCG plugin that counts how often every instruction between two markers
 * (nk_bench_markers.h) runs. Every instruction carries its own counter, so the counts stay exact
 * where QEMU leaves a translation block early. The plugin also predicts every branch, and counts
 * the wrong predictions (benchmarks/cycle_model.md states the predictor).
 *
 * Argument: counts=FILE. The file receives, for each region in the order in which they end,
 *
 *     region <instructions>
 *     <address, hexadecimal> <executions> <wrong directions> <wrong targets>
 *
 * with a line for each instruction that ran, and a last line `end`, or `error <text>` where markers
 * do not pair up or code ran outside the code memory.
 *
 * Speaks plugin API version 1 (QEMU 6.0 to 8.2). Distributions ship no header for QEMU plugins, so
 * the few functions used are declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- QEMU's plugin API, version 1 --------------------------------------------------------------

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

// Values of QEMU's enumerations qemu_plugin_cb_flags and qemu_plugin_op.
enum { CALLBACK_READS_NO_REGISTERS = 0, INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t,
                                                            struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *),
                                    void *user);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*callback)(unsigned int, void *), int flags,
                                          void *user);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
                                            void (*callback)(unsigned int, void *), int flags,
                                            void *user);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation,
                                                void *counter, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

extern int qemu_plugin_version;
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

int qemu_plugin_version = 1;

// ---- counters ----------------------------------------------------------------------------------

// mps2-an500 runs code from the 4 MiB at address 0; Thumb instructions start at even addresses.
enum { CODE_BYTES = 4 << 20, SLOTS = CODE_BYTES / 2 };

static uint64_t executions[SLOTS];
static uint64_t executions_outside;
// No slot from here on was ever translated.
static size_t used_slots;

/** The prediction of the branch in a slot. An instruction that never jumps is never wrong. */
struct prediction {
  // 0: the branch has not yet run in this region. 1 and 2: not taken; 3 and 4: taken. From 1 and 4
  // the prediction changes after two wrong outcomes.
  unsigned int counter;
  uint32_t target;  // where the branch went when last taken; 0 if never
  uint64_t wrong_directions;
  uint64_t wrong_targets;
};

enum { SURELY_NOT = 1, LIKELY = 3, SURELY = 4 };

static struct prediction predictions[SLOTS];

/** A translation block: slots of its first and last instruction, and of the code behind. */
struct block {
  uint32_t first;
  uint32_t last;
  uint32_t behind;
};

static const struct block *last_block;

/** The first outcome of a region sets the prediction, as if the code had run before. */
static void record_outcome(struct prediction *branch, bool is_taken, uint32_t target) {
  if (branch->counter == 0) {
    branch->counter = is_taken ? SURELY : SURELY_NOT;
  } else if (is_taken != (branch->counter >= LIKELY)) {
    ++branch->wrong_directions;
  } else if (is_taken && branch->target != 0 && branch->target != target) {
    ++branch->wrong_targets;
  }
  if (is_taken) {
    branch->target = target;
    branch->counter += branch->counter < SURELY;
  } else {
    branch->counter -= branch->counter > SURELY_NOT;
  }
}

static bool is_counting;
static const char *error;
static FILE *output;

static void begin_region(void) {
  if (is_counting) {
    error = "a region begins inside another";
  }
  is_counting = true;
  memset(executions, 0, used_slots * sizeof executions[0]);
  memset(predictions, 0, used_slots * sizeof predictions[0]);
  executions_outside = 0;
}

static void end_region(void) {
  if (!is_counting) {
    error = "a region ends that did not begin";
    return;
  }
  is_counting = false;
  if (executions_outside != 0) {
    error = "instructions ran outside the code memory";
  }
  uint64_t total = 0;
  for (size_t i = 0; i < used_slots; ++i) {
    total += executions[i];
  }
  fprintf(output, "region %" PRIu64 "\n", total);
  for (size_t i = 0; i < used_slots; ++i) {
    if (executions[i] != 0) {
      fprintf(output, "%zx %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", i * 2, executions[i],
              predictions[i].wrong_directions, predictions[i].wrong_targets);
    }
  }
}

// ---- branches ----------------------------------------------------------------------------------

static void on_block(unsigned int cpu, void *user) {
  (void)cpu;
  const struct block *block = user;
  if (is_counting && last_block != NULL) {
    const bool is_taken = block->first != last_block->behind;
    record_outcome(&predictions[last_block->last], is_taken, block->first);
  }
  last_block = block;
}

/** A new block; NULL outside the code memory. Blocks live as long as QEMU does. */
static struct block *block_of(const struct qemu_plugin_tb *tb) {
  const struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
  const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, qemu_plugin_tb_n_insns(tb) - 1);
  // QEMU 7.2 may say 4 bytes for 2. Long instructions start with 0b11101, 0b11110 or 0b11111.
  const uint64_t bytes = ((const uint8_t *)qemu_plugin_insn_data(last))[1] >= 0xE8 ? 4 : 2;
  const uint64_t behind = qemu_plugin_insn_vaddr(last) + bytes;
  struct block *block = behind <= CODE_BYTES ? malloc(sizeof *block) : NULL;
  if (block != NULL) {
    block->first = (uint32_t)(qemu_plugin_insn_vaddr(first) / 2);
    block->last = (uint32_t)(qemu_plugin_insn_vaddr(last) / 2);
    block->behind = (uint32_t)(behind / 2);
  }
  return block;
}

// ---- instrumentation ---------------------------------------------------------------------------

typedef void (*marker_action)(void);

static marker_action const begin_action = begin_region;
static marker_action const end_action = end_region;

static void on_marker(unsigned int cpu, void *user) {
  (void)cpu;
  (*(const marker_action *)user)();
}

/** Action of a marker; NULL for any other instruction. DBG #n is F3AF 80Fn, stored AF F3 Fn 80. */
static const marker_action *marker_of(const struct qemu_plugin_insn *insn) {
  // QEMU 7.2 gives the last instructions of a page the two bytes behind them too.
  const uint8_t *code = qemu_plugin_insn_data(insn);
  if (qemu_plugin_insn_size(insn) < 4 || code[0] != 0xAF || code[1] != 0xF3 || code[3] != 0x80) {
    return NULL;
  }
  switch (code[2]) {
    case 0xFC:
      return &begin_action;
    case 0xFD:
      return &end_action;
    default:
      return NULL;
  }
}

static uint64_t *counter_of(const struct qemu_plugin_insn *insn) {
  const uint64_t slot = qemu_plugin_insn_vaddr(insn) / 2;
  if (slot >= SLOTS) {
    return &executions_outside;
  }
  if (slot >= used_slots) {
    used_slots = (size_t)slot + 1;
  }
  return &executions[slot];
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  struct block *block = block_of(tb);
  if (block != NULL) {
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, CALLBACK_READS_NO_REGISTERS, block);
  }
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    const marker_action *action = marker_of(insn);
    if (action != NULL) {
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_marker, CALLBACK_READS_NO_REGISTERS,
                                             (void *)(uintptr_t)action);
    } else {
      qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, counter_of(insn), 1);
    }
  }
}

static void on_exit(qemu_plugin_id_t id, void *user) {
  (void)id;
  (void)user;
  if (is_counting) {
    error = "a region never ends";
  }
  if (error != NULL) {
    fprintf(output, "error %s\n", error);
  } else {
    fputs("end\n", output);
  }
  fclose(output);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  (void)info;
  static const char option[] = "counts=";
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], option, sizeof option - 1) == 0) {
      output = fopen(argv[i] + sizeof option - 1, "w");
    }
  }
  if (output == NULL) {
    fputs("count_plugin: expected counts=FILE, a file that can be written\n", stderr);
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, NULL);
  return 0;
}
