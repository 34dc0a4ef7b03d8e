/**
 * QEMU TCG plugin that counts how often every instruction between two markers
 * (nk_bench_markers.h) runs. Every instruction carries its own counter, so the counts stay exact
 * where QEMU leaves a translation block early.
 *
 * Argument: counts=FILE. The file receives, for each region in the order in which they end,
 *
 *     region <instructions>
 *     <address, hexadecimal> <executions>     one line for each instruction that ran
 *
 * and a last line `end`, or `error <text>` where markers do not pair up or code ran outside the
 * code memory.
 *
 * Speaks plugin API version 1 (QEMU 6.0 to 8.2). Distributions ship no header for QEMU plugins, so
 * the few functions used are declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

static bool is_counting;
static const char *error;
static FILE *output;

static void begin_region(void) {
  if (is_counting) {
    error = "a region begins inside another";
  }
  is_counting = true;
  memset(executions, 0, used_slots * sizeof executions[0]);
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
      fprintf(output, "%zx %" PRIu64 "\n", i * 2, executions[i]);
    }
  }
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
