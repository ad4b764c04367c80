#include "ops/positional_maps/positional_maps_cpu_kernels.h"

#include "core/simd.h"

namespace vinfer::positional_maps::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
namespace {

template <typename T>
VINFER_INLINE void fill(const Affine& position, const float* t, std::int64_t count, T* map) {
  const F32 alpha = broadcast(position.alpha);
  const F32 beta = broadcast(position.beta);
  if (count < kLanes) {
    store_first(map, alpha + beta * load_first(t, count), count);
    return;
  }
  for (std::int64_t i = 0; i < count - kLanes; i += kLanes) {
    store(map + i, alpha + beta * load(t + i));
  }
  // The last vector may write some values again.
  const std::int64_t last = count - kLanes;
  store(map + last, alpha + beta * load(t + last));
}

}  // namespace

void fill_float(const Affine& position, const float* t, std::int64_t count, float* map) {
  fill(position, t, count, map);
}

void fill_half(const Affine& position, const float* t, std::int64_t count, Half* map) {
  fill(position, t, count, map);
}

}  // namespace vinfer::positional_maps::VINFER_LEVEL
