/* $banner$ */
#include <stddef.h>
#include <stdint.h>

/** A graph input or output in the records of the images. */
struct RecordTensor {
  size_t position;
  size_t offset;
  size_t bytes;
};

constexpr RecordTensor kInputs[] = {$inputs$};
constexpr RecordTensor kOutputs[] = {$outputs$};
/** Position of the level among the graph inputs; -1 if the external context has the level. */
constexpr int kLevelInput = $level_input$;
constexpr size_t kArenaBytes = $arena_bytes$;
constexpr unsigned kOps = $ops$;

template <typename Resolver>
void AddOps(Resolver *resolver) {
  /* $adders$ */
}
