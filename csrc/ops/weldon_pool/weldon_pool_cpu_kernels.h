#pragma once

#include <cstdint>

#include "core/cpu_level.h"
#include "core/half.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer::weldon_pool {

// Maps of up to this many values are pooled side by side, one a lane: alone, a map is too short to
// fill vectors and to hide the latency of a search.
inline constexpr std::int64_t kMaxColumnValues = 256;
inline constexpr std::int64_t kMaxLanes = 16;

// How many values of a longer map are gathered at most, for each side, before one search among
// them.
inline constexpr std::int64_t kMaxCandidates = 1024;
// The last block of values may go beyond the limit, and then there is padding.
inline constexpr std::int64_t kCandidateSpace = kMaxCandidates + 4 * kMaxLanes;
// Two sides; a float for each value and a byte for its place.
inline constexpr std::int64_t kCandidateFloats = 2 * kCandidateSpace + kCandidateSpace / 2;

// What to compute of every map. k_max and k_min are at most `size`; k_min is 0 where the lowest
// values do not count.
struct Job {
  std::int64_t size;
  std::int64_t k_max;
  std::int64_t k_min;
  double alpha;
};

// Floats that the kernels need beside the maps: a set of columns and four maps, or candidates and
// one map padded.
constexpr std::int64_t scratch_floats(std::int64_t size) {
  return size <= kMaxColumnValues ? (kMaxLanes + 4) * kMaxColumnValues
                                  : kCandidateFloats + size + 2 * kMaxLanes;
}

// Mean of the k values that come first, `count` of which lie strictly beyond the k-th, tau.
[[gnu::always_inline]] inline double mean_of_first(double sum,
                                                   std::int64_t count,
                                                   double tau,
                                                   std::int64_t k) {
  return (sum + static_cast<double>(k - count) * tau) / static_cast<double>(k);
}

}  // namespace vinfer::weldon_pool

// The kernels of one CPU level. A map with a value that is not finite is left to the caller:
// unfinished[m] says so.
#define VINFER_DECLARE(level)            \
  namespace vinfer::weldon_pool::level { \
  void pool_float(const Job& job,        \
                  const float* maps,     \
                  std::int64_t num_maps, \
                  float* scratch,        \
                  float* pooled,         \
                  bool* unfinished);     \
  void pool_half(const Job& job,         \
                 const Half* maps,       \
                 std::int64_t num_maps,  \
                 float* scratch,         \
                 Half* pooled,           \
                 bool* unfinished);      \
  }
VINFER_FOR_EACH_LEVEL(VINFER_DECLARE)
#undef VINFER_DECLARE
