#include <cstring>

#include "ops/weldon_pool/weldon_pool_cpu_candidates.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
namespace {

using F32x4 = float __attribute__((vector_size(16)));
using I32x4 = std::int32_t __attribute__((vector_size(16)));

// Fewer maps are faster one by one.
constexpr std::int64_t kMinColumns = kLanes / 4 + 1;
// With k = 1 only shorter maps are faster side by side.
constexpr std::int64_t kMaxExtremeColumns = 64;

// ---- one map a lane ----

VINFER_INLINE void transpose(const float* const* rows, std::int64_t i, float* to) {
  const F32x4 a = load_as<F32x4>(rows[0] + i);
  const F32x4 b = load_as<F32x4>(rows[1] + i);
  const F32x4 c = load_as<F32x4>(rows[2] + i);
  const F32x4 d = load_as<F32x4>(rows[3] + i);
  const F32x4 ab_low = __builtin_shuffle(a, b, I32x4{0, 4, 1, 5});
  const F32x4 ab_high = __builtin_shuffle(a, b, I32x4{2, 6, 3, 7});
  const F32x4 cd_low = __builtin_shuffle(c, d, I32x4{0, 4, 1, 5});
  const F32x4 cd_high = __builtin_shuffle(c, d, I32x4{2, 6, 3, 7});
  const F32x4 columns[4] = {__builtin_shuffle(ab_low, cd_low, I32x4{0, 1, 4, 5}),
                            __builtin_shuffle(ab_low, cd_low, I32x4{2, 3, 6, 7}),
                            __builtin_shuffle(ab_high, cd_high, I32x4{0, 1, 4, 5}),
                            __builtin_shuffle(ab_high, cd_high, I32x4{2, 3, 6, 7})};
  for (int j = 0; j < 4; ++j) std::memcpy(to + j * kLanes, &columns[j], sizeof(F32x4));
}

// Where the values of a map lie as float32; Half's are put into `space`.
VINFER_INLINE const float* as_floats(const float* map, std::int64_t, float*) { return map; }
VINFER_INLINE const float* as_floats(const Half* map, std::int64_t size, float* space) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) store(space + i, load(map + i));
  store_first(space + i, load_first(map + i, size - i), size - i);
  return space;
}

// Maps beyond the last are copies of it.
template <typename T>
VINFER_INLINE void fill_columns(
    const T* maps, std::int64_t num_maps, std::int64_t size, float* space, float* columns) {
  for (std::int64_t lane = 0; lane < kLanes; lane += 4) {
    const float* rows[4];
    for (std::int64_t j = 0; j < 4; ++j) {
      const std::int64_t map = lane + j < num_maps ? lane + j : num_maps - 1;
      rows[j] = as_floats(maps + map * size, size, space + j * kMaxColumnValues);
    }
    std::int64_t i = 0;
    for (; i + 4 <= size; i += 4) transpose(rows, i, columns + i * kLanes + lane);
    for (; i < size; ++i) {
      for (std::int64_t j = 0; j < 4; ++j) columns[i * kLanes + lane + j] = rows[j][i];
    }
  }
}

// Of every lane: the sum of the values beyond `tau`, and their number.
template <bool kLowest>
VINFER_INLINE void sum_beyond(const Columns& columns, F32 tau, double* sums, std::int32_t* counts) {
  F64 partial[kNumPartialSums][2];
  I32 count{};
  for (std::int64_t first = 0; first < kNumPartialSums; ++first) {
    F64 low{};
    F64 high{};
    for (std::int64_t i = first; i < columns.size; i += kNumPartialSums) {
      const F32 value = load(columns.values + i * kLanes);
      const I32 mask = Side<kLowest>::beyond(value, tau);
      const F32 kept = keep(value, mask);
      low += widen_low(kept);
      high += widen_high(kept);
      count = Side<kLowest>::add_beyond(count, value, tau);
    }
    partial[first][0] = low;
    partial[first][1] = high;
  }
  for (int half = kNumPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      partial[i][0] += partial[i + half][0];
      partial[i][1] += partial[i + half][1];
    }
  }
  std::memcpy(sums, partial[0], sizeof(partial[0]));
  store(counts, count);
}

template <bool kLowest>
VINFER_INLINE void column_means(const Columns& columns, std::int64_t k, F32 tau, double* means) {
  float taus[kLanes];
  store(taus, tau);
  double sums[kLanes] = {};
  std::int32_t counts[kLanes] = {};
  if (k > 1) sum_beyond<kLowest>(columns, tau, sums, counts);
  for (int lane = 0; lane < kLanes; ++lane) {
    means[lane] = mean_of_first(sums[lane], counts[lane], static_cast<double>(taus[lane]), k);
  }
}

template <typename T>
VINFER_INLINE void pool_columns(const Job& job,
                                const T* maps,
                                std::int64_t num_maps,
                                float* scratch,
                                T* pooled,
                                bool* unfinished) {
  const Columns columns{scratch, job.size};
  fill_columns(maps, num_maps, job.size, scratch + kLanes * kMaxColumnValues, scratch);
  F32 highest = load(scratch);
  F32 lowest = highest;
  I32 defect{};  // not 0 where a value is not finite
  for (std::int64_t i = 0; i < job.size; ++i) {
    const F32 value = load(scratch + i * kLanes);
    highest = greater(value, highest);
    lowest = lesser(value, lowest);
    defect |= as_bits(value - value);
  }
  const I32 finite = defect == 0;
  double high[kLanes];
  double low[kLanes];
  const Taus taus = find_taus(
      columns, job, Range{highest, lowest, job.size}, Range{lowest, highest, job.size}, finite);
  column_means<false>(columns, job.k_max, taus.high, high);
  if (job.k_min > 0) column_means<true>(columns, job.k_min, taus.low, low);
  for (std::int64_t lane = 0; lane < num_maps; ++lane) {
    unfinished[lane] = finite[lane] == 0;
    if (finite[lane] == 0) continue;
    const double value = job.k_min > 0 ? high[lane] + job.alpha * low[lane] : high[lane];
    pooled[lane] = T(static_cast<float>(value));
  }
}

// ---- one map alone ----

VINFER_INLINE void pool_all(
    const Job& job, const Row& row, F32 highest, F32 lowest, double* pooled) {
  const Taus taus = find_taus(
      row, job, Range{highest, lowest, job.size}, Range{lowest, highest, job.size}, broadcast(-1));
  *pooled = pooled_value(job,
                         row_mean<false>(row, job.size, job.k_max, taus.high[0]),
                         job.k_min > 0 ? row_mean<true>(row, job.size, job.k_min, taus.low[0]) : 0);
}

// For maps with a value a group; false where one is not finite.
template <int kVectors>
VINFER_INLINE bool pool_groups(const Job& job, const Row& row, float* scratch, double* pooled) {
  using G = Groups<kVectors>;
  G groups;
  if (!G::find(row, groups)) return false;
  const F32 highest = G::highest_of_all(groups);
  const F32 lowest = G::lowest_of_all(groups);
  if (any((highest == kInfinity) | (lowest == -kInfinity))) return false;
  const bool gathers = greater_of_ks(job) <= G::kMaxK;
  if (!gathers || !pool_candidates(job, row, groups, highest, lowest, scratch, pooled)) {
    pool_all(job, row, highest, lowest, pooled);
  }
  return true;
}

// The same for maps of any size.
VINFER_INLINE bool pool_short(const Job& job, const Row& row, float first, double* pooled) {
  F32 highest = broadcast(first);
  F32 lowest = highest;
  I32 missing{};
  Row::each_block(row, [&](const float* block) __attribute__((always_inline)) {
    for (int i = 0; i < kBlock; i += kLanes) {
      const F32 value = load(block + i);
      highest = greater(value, highest);
      lowest = lesser(value, lowest);
      if (block != row.tail) missing |= unordered(value, value);
    }
  });
  highest = Row::fold(highest, greater);
  lowest = Row::fold(lowest, lesser);
  if (any(missing | (highest == kInfinity) | (lowest == -kInfinity))) return false;
  pool_all(job, row, highest, lowest, pooled);
  return true;
}

// With k = 1 nothing has to be put in order; for maps of a vector at least.
VINFER_INLINE bool pool_extremes(const Job& job, const float* values, double* pooled) {
  constexpr int kAtOnce = 4;
  F32 highest[kAtOnce];
  F32 lowest[kAtOnce];
  for (int v = 0; v < kAtOnce; ++v) highest[v] = lowest[v] = load(values);
  I32 missing{};
  const auto add = [&](int v, F32 value) __attribute__((always_inline)) {
    highest[v] = greater(value, highest[v]);
    lowest[v] = lesser(value, lowest[v]);
  };
  std::int64_t i = 0;
  for (; i + kAtOnce * kLanes <= job.size; i += kAtOnce * kLanes) {
    for (int v = 0; v < kAtOnce; v += 2) {
      const F32 first = load(values + i + v * kLanes);
      const F32 second = load(values + i + (v + 1) * kLanes);
      missing |= unordered(first, second);
      add(v, first);
      add(v + 1, second);
    }
  }
  // The last vector may repeat values of the one before.
  for (; i < job.size; i += kLanes) {
    const F32 value = load(values + (i + kLanes <= job.size ? i : job.size - kLanes));
    missing |= unordered(value, value);
    add(0, value);
  }
  if (any(missing)) return false;
  const F32 high = greater(greater(highest[0], highest[1]), greater(highest[2], highest[3]));
  const F32 low = lesser(lesser(lowest[0], lowest[1]), lesser(lowest[2], lowest[3]));
  const auto mean = [](F32 tau) { return mean_of_first(0.0, 0, static_cast<double>(tau[0]), 1); };
  *pooled = pooled_value(job, mean(Row::fold(high, greater)), mean(Row::fold(low, lesser)));
  return true;
}

// With k > 1, or for a map shorter than a vector.
VINFER_INLINE bool pool_sums(
    const Job& job, const float* values, float* padded, float* scratch, double* pooled) {
  const std::int64_t num_blocks = job.size / kBlock;
  const std::int64_t rest = job.size % kBlock;
  if (rest > 0) {
    bool missing = false;
    for (std::int64_t i = 0; i < kBlock; ++i) {
      padded[i] = i < rest ? values[num_blocks * kBlock + i] : __builtin_nanf("");
      missing |= i < rest && padded[i] != padded[i];
    }
    if (missing) return false;
  }
  const Row row{values, num_blocks, rest > 0 ? padded : nullptr};
  const std::int64_t k = greater_of_ks(job);
  if (k > FewGroups::kMaxK && k <= ManyGroups::kMaxK &&
      job.size >= kMinGroupSize * ManyGroups::kCount) {
    return pool_groups<kManyVectors>(job, row, scratch, pooled);
  }
  if (num_blocks * kBlock >= FewGroups::kCount) {
    return pool_groups<kFewVectors>(job, row, scratch, pooled);
  }
  return pool_short(job, row, values[0], pooled);
}

template <typename T>
VINFER_INLINE bool pool_row(const Job& job, const T* map, float* scratch, T* pooled) {
  float* const padded = scratch + kCandidateFloats;
  const float* const values = as_floats(map, job.size, padded + kBlock);
  double value = 0.0;
  const bool finite = greater_of_ks(job) == 1 && job.size >= kLanes
                          ? pool_extremes(job, values, &value)
                          : pool_sums(job, values, padded, scratch, &value);
  if (finite) *pooled = T(static_cast<float>(value));
  return finite;
}

template <typename T>
VINFER_INLINE void pool_each(const Job& job,
                             const T* maps,
                             std::int64_t num_maps,
                             float* scratch,
                             T* pooled,
                             bool* unfinished) {
  std::int64_t m = 0;
  if (job.size <= (greater_of_ks(job) > 1 ? kMaxColumnValues : kMaxExtremeColumns)) {
    for (; num_maps - m >= kMinColumns; m += kLanes) {
      const std::int64_t left = num_maps - m < kLanes ? num_maps - m : kLanes;
      pool_columns(job, maps + m * job.size, left, scratch, pooled + m, unfinished + m);
    }
  }
  for (; m < num_maps; ++m) {
    unfinished[m] = !pool_row(job, maps + m * job.size, scratch, pooled + m);
  }
}

}  // namespace

void pool_float(const Job& job,
                const float* maps,
                std::int64_t num_maps,
                float* scratch,
                float* pooled,
                bool* unfinished) {
  pool_each(job, maps, num_maps, scratch, pooled, unfinished);
}

void pool_half(const Job& job,
               const Half* maps,
               std::int64_t num_maps,
               float* scratch,
               Half* pooled,
               bool* unfinished) {
  pool_each(job, maps, num_maps, scratch, pooled, unfinished);
}

}  // namespace vinfer::weldon_pool::VINFER_LEVEL
