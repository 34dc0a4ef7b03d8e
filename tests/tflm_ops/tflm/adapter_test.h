/** Calls the adapter's Init, Prepare and Eval as TFLite Micro does, on the host and on the M7. */
#ifndef ADAPTER_TEST_H_
#define ADAPTER_TEST_H_

#include "nested_case.h"

/** What the platform gives. */
struct TestPlatform {
  /** Memory of just this size, 16-byte aligned, that lives until release_all(). */
  void *(*allocate)(size_t bytes);
  void (*release_all)();
  /** Prints one line. */
  void (*print)(const char *text);
};

/**
 * Runs one layer at all levels, and refuses all that is wrong.
 *
 * Returns the number of failed checks, each of which has been printed.
 */
int TestAdapter(const nested_case &layer, const TestPlatform &platform);

#endif  // ADAPTER_TEST_H_
