/**
 * QEMU TCG plugin that counts how often every instruction between two markers
 * (nk_bench_markers.h) runs. Every instruction carries its own counter, so the counts stay exact
 * where QEMU leaves a translation block early. The plugin also predicts every branch and simulates
 * caches, and counts wrong predictions and misses (benchmarks/cycle_model.md states both models).
 *
 * Arguments:
 *     counts=FILE   for the result
 *     code=ADDRESS  where the code memory of 4 MiB begins, hexadecimal; 0 by default
 *     cache=BYTES   the size of each of the two caches; 0 (the default) for none, and no misses
 *     tcm=1         RAM is tightly coupled: its data pass by the caches
 *     cold=1        the caches are empty when a region begins
 *
 * The file receives, for each region in the order in which they end,
 *
 *     region <instructions> <missed lines: code> <constants> <reads of RAM> <writes of RAM>
 *     <address, hexadecimal> <executions> <wrong directions> <wrong targets> <jumps>
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

#include "count_caches.h"

// ---- QEMU's plugin API, version 1 --------------------------------------------------------------

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

// Values of QEMU's enumerations qemu_plugin_cb_flags and qemu_plugin_op.
enum { CALLBACK_READS_NO_REGISTERS = 0, INLINE_ADD_U64 = 0, READS_AND_WRITES = 3 };

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
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
                                      void (*callback)(unsigned int, qemu_plugin_meminfo_t,
                                                       uint64_t, void *),
                                      int flags, int accesses, void *user);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

extern int qemu_plugin_version;
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

int qemu_plugin_version = 1;

// ---- counters ----------------------------------------------------------------------------------

// Thumb instructions start at even addresses. The slot of an instruction counts from `code`.
enum { CODE_BYTES = 4 << 20, SLOTS = CODE_BYTES / 2 };

static uint64_t code;

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
  uint64_t jumps;
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
    ++branch->jumps;
    branch->target = target;
    branch->counter += branch->counter < SURELY;
  } else {
    branch->counter -= branch->counter > SURELY_NOT;
  }
}

// ---- caches ------------------------------------------------------------------------------------

// The RAM of the boards; all other data are constants.
enum { RAM_BEGIN = 0x20000000, RAM_END = 0x40000000 };

static uint32_t cache_bytes;
static bool ram_is_tightly_coupled;
static bool begins_cold;
static cache instructions;
static cache data;

enum { CODE, CONSTANTS, READS, WRITES, KINDS };
// Lines that had to be fetched in the present region.
static uint64_t misses[KINDS];

static void touch(cache *c, uint64_t first_byte, uint64_t last_byte, int kind) {
  for (uint64_t line = first_byte / LINE_BYTES; line <= last_byte / LINE_BYTES; ++line) {
    misses[kind] += cache_misses(c, line);
  }
}

static void on_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *user) {
  (void)cpu;
  (void)user;
  const bool is_ram = address >= RAM_BEGIN && address < RAM_END;
  if (!(is_ram && ram_is_tightly_coupled)) {
    const uint64_t last = address + (1u << qemu_plugin_mem_size_shift(info)) - 1;
    touch(&data, address, last,
          !is_ram                          ? CONSTANTS
          : qemu_plugin_mem_is_store(info) ? WRITES
                                           : READS);
  }
}

// ---- regions -----------------------------------------------------------------------------------

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
  memset(misses, 0, sizeof misses);
  if (begins_cold) {
    cache_empty(&instructions);
    cache_empty(&data);
  }
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
  fprintf(output, "region %" PRIu64, total);
  for (int kind = 0; kind < KINDS; ++kind) {
    fprintf(output, " %" PRIu64, misses[kind]);
  }
  fputc('\n', output);
  for (size_t i = 0; i < used_slots; ++i) {
    if (executions[i] != 0) {
      fprintf(output, "%" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", code + i * 2,
              executions[i], predictions[i].wrong_directions, predictions[i].wrong_targets,
              predictions[i].jumps);
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
  if (cache_bytes != 0) {
    touch(&instructions, 2 * (uint64_t)block->first, 2 * (uint64_t)block->behind - 1, CODE);
  }
}

/** A new block; NULL outside the code memory. Blocks live as long as QEMU does. */
static struct block *block_of(const struct qemu_plugin_tb *tb) {
  const struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
  const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, qemu_plugin_tb_n_insns(tb) - 1);
  // QEMU 7.2 may say 4 bytes for 2. Long instructions start with 0b11101, 0b11110 or 0b11111.
  const uint64_t bytes = ((const uint8_t *)qemu_plugin_insn_data(last))[1] >= 0xE8 ? 4 : 2;
  const uint64_t behind = qemu_plugin_insn_vaddr(last) + bytes - code;
  struct block *block = behind <= CODE_BYTES ? malloc(sizeof *block) : NULL;
  if (block != NULL) {
    block->first = (uint32_t)((qemu_plugin_insn_vaddr(first) - code) / 2);
    block->last = (uint32_t)((qemu_plugin_insn_vaddr(last) - code) / 2);
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
  const uint64_t slot = (qemu_plugin_insn_vaddr(insn) - code) / 2;
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
      if (cache_bytes != 0) {
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, CALLBACK_READS_NO_REGISTERS,
                                         READS_AND_WRITES, NULL);
      }
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

/** The value of an argument NAME=VALUE; NULL for another argument. */
static const char *value_of(const char *argument, const char *name) {
  const size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1
                                                                         : NULL;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; ++i) {
    const char *value;
    if ((value = value_of(argv[i], "counts")) != NULL) {
      output = fopen(value, "w");
    } else if ((value = value_of(argv[i], "code")) != NULL) {
      code = strtoull(value, NULL, 16);
    } else if ((value = value_of(argv[i], "cache")) != NULL) {
      cache_bytes = (uint32_t)strtoul(value, NULL, 10);
    } else if ((value = value_of(argv[i], "tcm")) != NULL) {
      ram_is_tightly_coupled = *value == '1';
    } else if ((value = value_of(argv[i], "cold")) != NULL) {
      begins_cold = *value == '1';
    }
  }
  if (output == NULL) {
    fputs("count_plugin: expected counts=FILE, a file that can be written\n", stderr);
    return -1;
  }
  if (cache_bytes != 0) {
    cache_resize(&instructions, cache_bytes, INSTRUCTION_WAYS);
    cache_resize(&data, cache_bytes, DATA_WAYS);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, NULL);
  return 0;
}
