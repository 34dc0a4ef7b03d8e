/**
 * Puts the operators of tflm_ops into the interpreter of the PyPI package tflite-micro,
 * whose `custom_op_registerers` are looked up by name among the symbols of the process. The adapter
 * is compiled into this plug-in as it is; nothing of the package is linked.
 */
#include <stdarg.h>
#include <stdio.h>

#include "int8_lookup.h"
#include "nested_sparse_conv.h"
#include "nk_builtins.h"
#include "tflm_abi.h"

#define PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr unsigned kMaxOps = 200;
constexpr unsigned kOurOps = 2;
constexpr int32_t kBuiltinAdd = 0;
constexpr int32_t kBuiltinCustom = 32;
constexpr int32_t kBuiltinMean = 40;

/** The head of MicroMutableOpResolver<200>. */
struct Resolver {
  void *virtual_table;
  TFLMRegistration registrations[kMaxOps];
  unsigned length;
};

char messages[4096];
size_t messages_length;
int32_t external_level;

/** Gives an operator without a level input something to ask: the package's Python does not. */
void *InitWithExternalLevel(TfLiteContext *context, const char *buffer, size_t length) {
  tflite::MicroContext *micro_context = tflite::GetMicroContext(context);
  if (micro_context->external_context() == nullptr) {
    micro_context->set_external_context(&external_level);
  }
  return Register_NESTED_SPARSE_CONV()->init(context, buffer, length);
}

void Add(Resolver *resolver, TFLMRegistration op, const char *name) {
  op.builtin_code = kBuiltinCustom;
  op.custom_name = name;
  resolver->registrations[resolver->length++] = op;
}

/** Puts our kernel in the place of the package's. */
void Replace(Resolver *resolver, int32_t builtin_code, const TFLMRegistration &ours) {
  for (unsigned i = 0; i < resolver->length; ++i) {
    if (resolver->registrations[i].builtin_code == builtin_code) {
      resolver->registrations[i] = ours;
      resolver->registrations[i].builtin_code = builtin_code;
    }
  }
}

bool LooksRight(const Resolver &resolver) {
  if (resolver.length < 1 || resolver.length > kMaxOps - kOurOps) {
    return false;
  }
  for (unsigned i = 0; i < resolver.length; ++i) {
    const TFLMRegistration &op = resolver.registrations[i];
    if (op.invoke == nullptr || op.builtin_code < 0 || op.builtin_code > 1000) {
      return false;
    }
  }
  return true;
}

}  // namespace

void MicroPrintf(const char *format, ...) {
  const size_t room = sizeof messages - messages_length;
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(messages + messages_length, room, format, arguments);
  va_end(arguments);
  if (length >= 0 && static_cast<size_t>(length) < room) {
    messages_length += static_cast<size_t>(length);
  }
}

/** What the adapter has printed since the last call; never null. */
PLUGIN_EXPORT const char *nested_keras_take_messages() {
  static char taken[sizeof messages];
  snprintf(taken, sizeof taken, "%.*s", static_cast<int>(messages_length), messages);
  messages_length = 0;
  return taken;
}

/** The level of operators that leave the input out. */
PLUGIN_EXPORT void nested_keras_set_level(int32_t level) { external_level = level; }

/** The registerer: false, and a message, where the package is not laid out as declared here. */
PLUGIN_EXPORT bool NestedKerasRegisterOps(Resolver *resolver) {
  if (!LooksRight(*resolver)) {
    MicroPrintf("the op resolver of this tflite-micro has another layout than the pinned version");
    return false;
  }
  TFLMRegistration nested = *Register_NESTED_SPARSE_CONV();
  nested.init = InitWithExternalLevel;
  Add(resolver, nested, "NESTED_SPARSE_CONV");
  Add(resolver, *Register_INT8_LOOKUP(), "INT8_LOOKUP");
  return true;
}

/** The second registerer, for models with operators of ours: ADD and MEAN as in firmware. */
PLUGIN_EXPORT bool NestedKerasRegisterBuiltins(Resolver *resolver) {
  if (!LooksRight(*resolver)) {
    return false;
  }
  Replace(resolver, kBuiltinAdd, Register_NK_ADD());
  Replace(resolver, kBuiltinMean, Register_NK_MEAN());
  return true;
}
