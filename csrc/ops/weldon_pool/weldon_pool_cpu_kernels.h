#pragma once

#include <cstdint>

#include "core/cpu_level.h"
#include "core/half.h"

namespace vinfer::weldon_pool {

// Maps of up to this many values are pooled side by side, one a lane: alone, a map is too short to
// fill vectors and to hide the latency of a search.
inline constexpr std::int64_t kMaxColumnValues = 256;
inline constexpr std::int64_t kMaxLanes = 16;

// What to compute of every map. k_max and k_min are at most `size`; k_min is 0 where the lowest
// values do not count.
struct Job {
  std::int64_t size;
  std::int64_t k_max;
  std::int64_t k_min;
  double alpha;
};

// Floats that the kernels need beside the maps.
constexpr std::int64_t scratch_floats(std::int64_t size) {
  return size <= kMaxColumnValues ? kMaxLanes * kMaxColumnValues : size + 2 * kMaxLanes;
}

// The kernels of one CPU level. They leave a map that holds an infinity to the caller:
// unfinished[m] says so.
template <typename T>
using PoolMaps = void (*)(const Job& job,
                          const T* maps,
                          std::int64_t num_maps,
                          float* scratch,
                          T* pooled,
                          bool* unfinished);

}  // namespace vinfer::weldon_pool

#define VINFER_DECLARE(level)                \
  namespace vinfer::weldon_pool::level {     \
  void pool_maps(const Job& job,             \
                 const float* maps,          \
                 std::int64_t num_maps,      \
                 float* scratch,             \
                 float* pooled,              \
                 bool* unfinished);          \
  void pool_maps(const Job& job,             \
                 const Half* maps,           \
                 std::int64_t num_maps,      \
                 float* scratch,             \
                 Half* pooled,               \
                 bool* unfinished);          \
  }
VINFER_FOR_EACH_LEVEL(VINFER_DECLARE)
#undef VINFER_DECLARE
