#include "nk_geometry.h"

int32_t nk_dims4_size(const nk_dims4 *dims) {
  const int32_t sizes[4] = {dims->n, dims->h, dims->w, dims->c};
  int64_t product = 1;
  for (int32_t i = 0; i < 4; ++i) {
    if (sizes[i] < 1) {
      return 0;
    }
    product *= sizes[i];
    if (product > INT32_MAX) {
      return 0;
    }
  }
  return (int32_t)product;
}
