// The few values of one map among which its k-th ones are. Included by the kernel file only, which
// is compiled once a CPU level.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/weldon_pool/weldon_pool_cpu_sums.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
namespace {

// Up to this many values, each is compared with each.
constexpr std::int64_t kMaxRanked = 64;

// The k-th of few values, in vectors padded with NaN: the last one that less than k are beyond.
template <bool kLowest>
VINFER_INLINE float rank(const float* values, std::int64_t count, std::int64_t k) {
  using S = Side<kLowest>;
  constexpr int kAtOnce = 4;
  const I32 wanted = broadcast(static_cast<std::int32_t>(k));
  F32 last = broadcast(S::kBest);
  for (std::int64_t first = 0; first < count; first += kAtOnce * kLanes) {
    F32 own[kAtOnce];
    I32 counts[kAtOnce] = {};
    for (int v = 0; v < kAtOnce; ++v) own[v] = load(values + first + v * kLanes);
    for (std::int64_t i = 0; i < count; ++i) {
      const F32 other = broadcast(values[i]);
      for (int v = 0; v < kAtOnce; ++v) counts[v] = S::add_beyond(counts[v], other, own[v]);
    }
    for (int v = 0; v < kAtOnce; ++v) {
      last = S::worst(select(counts[v] < wanted, own[v], broadcast(S::kBest)), last);
    }
  }
  return Row::fold(last, S::worst)[0];
}

// Which rows to compare and exchange, in order, to sort them (Batcher's odd-even merge sort).
template <int kRows>
struct SortingNetwork {
  int count = 0;
  std::uint8_t first[kRows * kRows / 2] = {};
  std::uint8_t second[kRows * kRows / 2] = {};

  constexpr SortingNetwork() {
    for (int merged = 1; merged < kRows; merged *= 2) {
      for (int step = merged; step >= 1; step /= 2) {
        const int offset = step % merged;
        for (int i = offset; i + step < kRows; ++i) {
          if ((i - offset) / step % 2 != 0) continue;
          if (i / (2 * merged) != (i + step) / (2 * merged)) continue;
          first[count] = static_cast<std::uint8_t>(i);
          second[count++] = static_cast<std::uint8_t>(i + step);
        }
      }
    }
  }
};

// Sorts every lane, the first of all in rows[0].
template <bool kLowest, int kRows>
VINFER_INLINE void sort_lanes(F32 (&rows)[kRows]) {
  static constexpr SortingNetwork<kRows> kNetwork;
  for (int i = 0; i < kNetwork.count; ++i) {
    F32& first = rows[kNetwork.first[i]];
    F32& second = rows[kNetwork.second[i]];
    const F32 worst = Side<kLowest>::worst(first, second);
    first = Side<kLowest>::best(first, second);
    second = worst;
  }
}

// The highest and lowest values of groups that part a map among them, a lane of a vector each.
// Which group a value is in does not matter, but that neighbours are in different ones.
template <int kVectors>
struct Groups {
  static constexpr int kCount = kVectors * kLanes;
  // The more of the groups k takes, the more values reach the bound that they give.
  static constexpr std::int64_t kMaxK = kCount / 2;

  F32 highest[kVectors];
  F32 lowest[kVectors];

  VINFER_INLINE void add(Groups& groups, int v, F32 value) {
    groups.highest[v] = greater(value, groups.highest[v]);
    groups.lowest[v] = lesser(value, groups.lowest[v]);
  }

  // False where a value is NaN; there must be a value for each group. Padding is no value.
  VINFER_INLINE bool find(const Row& row, Groups& groups) {
    static_assert(kVectors % 2 == 0 && kVectors * kLanes >= kBlock);
    const std::int64_t num_vectors = row.num_blocks * (kBlock / kLanes);
    I32 missing{};
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      groups.highest[v] = groups.lowest[v] = load(row.values + v * kLanes);
      missing |= unordered(groups.highest[v], groups.highest[v]);
    }
    std::int64_t i = kVectors;
    for (; i + kVectors <= num_vectors; i += kVectors) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v += 2) {
        const F32 first = load(row.values + (i + v) * kLanes);
        const F32 second = load(row.values + (i + v + 1) * kLanes);
        missing |= unordered(first, second);
        add(groups, v, first);
        add(groups, v + 1, second);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      if (i + v >= num_vectors) break;
      const F32 value = load(row.values + (i + v) * kLanes);
      missing |= unordered(value, value);
      add(groups, v, value);
    }
    if (row.tail != nullptr) {
#pragma GCC unroll 16
      for (int v = 0; v < kBlock / kLanes; ++v) add(groups, v, load(row.tail + v * kLanes));
    }
    return !any(missing);
  }

  VINFER_INLINE F32 highest_of_all(const Groups& groups) {
    F32 result = groups.highest[0];
#pragma GCC unroll 16
    for (int v = 1; v < kVectors; ++v) result = greater(result, groups.highest[v]);
    return Row::fold(result, greater);
  }

  VINFER_INLINE F32 lowest_of_all(const Groups& groups) {
    F32 result = groups.lowest[0];
#pragma GCC unroll 16
    for (int v = 1; v < kVectors; ++v) result = lesser(result, groups.lowest[v]);
    return Row::fold(result, lesser);
  }

  // A value that k of the groups reach on the side.
  template <bool kLowest>
  VINFER_INLINE F32 bound(F32 (&rows)[kVectors], std::int64_t k) {
    if constexpr (kCount <= kMaxRanked) {
      float values[kCount];
      for (int v = 0; v < kVectors; ++v) store(values + v * kLanes, rows[v]);
      return broadcast(rank<kLowest>(values, kCount, k));
    }
    // Every lane has so many of them in its first rows.
    sort_lanes<kLowest>(rows);
    return Row::fold(rows[(k + kLanes - 1) / kLanes - 1], Side<kLowest>::worst);
  }
};

constexpr int kFewVectors = 4;
constexpr int kManyVectors = 16;  // more than there are registers for
using FewGroups = Groups<kFewVectors>;
using ManyGroups = Groups<kManyVectors>;
// Values a group from which it is worth while to find the candidates first.
constexpr std::int64_t kMinGroupSize = 8;

#if defined(__AVX2__)
// Of every byte the places of its bits that are set, the lowest first, a byte each.
struct SetBits {
  std::uint64_t of[256];

  constexpr SetBits() : of{} {
    for (int byte = 0; byte < 256; ++byte) {
      int count = 0;
      for (std::uint64_t bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) of[byte] |= bit << (8 * count++);
      }
    }
  }
};
constexpr SetBits kSetBits;
#endif

// The values of a map that reach a bound, in the map's order, and the partial sums they belong to.
template <bool kLowest>
struct Candidates {
  using S = Side<kLowest>;

  float* values;
  std::uint8_t* partials;
  std::int64_t count = 0;

  VINFER_INLINE I32 reach(F32 value, F32 bound) {
    return kLowest ? value <= bound : value >= bound;
  }

  // Of a vector of values; the first belongs to `partial`.
  VINFER_INLINE void add(Candidates& found, const float* vector, int partial, F32 bound) {
    std::uint32_t reached = bits(reach(load(vector), bound));
#if defined(__AVX2__)
    for (int i = 0; i < kLanes; i += 8) {
      const std::uint32_t byte = reached >> i & 0xff;
      const std::uint64_t places = kSetBits.of[byte];
      const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(places)));
      _mm256_storeu_ps(found.values + found.count,
                       _mm256_permutevar8x32_ps(_mm256_loadu_ps(vector + i), order));
      const std::uint64_t partials =
          places + 0x0101010101010101u * static_cast<std::uint64_t>(partial + i);
      std::memcpy(found.partials + found.count, &partials, sizeof(partials));
      found.count += __builtin_popcount(byte);
    }
#else
    for (; reached != 0; reached &= reached - 1) {
      const int lane = __builtin_ctz(reached);
      found.values[found.count] = vector[lane];
      found.partials[found.count++] = static_cast<std::uint8_t>(partial + lane);
    }
#endif
  }

  // Pads with NaN, which is beyond nothing.
  VINFER_INLINE void pad(const Candidates& found) {
    for (int i = 0; i < kBlock; i += kLanes) {
      store(found.values + found.count + i, broadcast(__builtin_nanf("")));
    }
  }

  // Leaves in `found` only the values that are beyond tau, and zeros.
  VINFER_INLINE double mean(const Candidates& found, std::int64_t k, float tau) {
    I32 count{};
    for (std::int64_t i = 0; i < found.count; i += kLanes) {
      const F32 value = load(found.values + i);
      count = S::add_beyond(count, value, broadcast(tau));
      store(found.values + i, keep(value, S::beyond(value, broadcast(tau))));
    }
    double sums[kNumPartialSums] = {};
    for (std::int64_t i = 0; i < found.count; ++i) {
      sums[found.partials[i]] += static_cast<double>(found.values[i]);
    }
    return mean_of_sums(sums, Row::total(count)[0], tau, k);
  }
};

VINFER_INLINE std::int64_t greater_of_ks(const Job& job) {
  return job.k_max > job.k_min ? job.k_max : job.k_min;
}

VINFER_INLINE double pooled_value(const Job& job, double high, double low) {
  return job.k_min > 0 ? high + job.alpha * low : high;
}

// False where there are too many. First all vectors are looked at, and then those with candidates,
// without a branch for each that nobody could predict.
VINFER_INLINE bool gather(
    const Row& row, F32 high_bound, F32 low_bound, Candidates<false>& high, Candidates<true>& low) {
  using High = Candidates<false>;
  using Low = Candidates<true>;
  constexpr int kAtOnce = 256;
  constexpr int kVectorsABlock = kBlock / kLanes;
  const std::int64_t num_vectors = row.num_blocks * kVectorsABlock;
  for (std::int64_t first = 0; first < num_vectors; first += kAtOnce) {
    const float* const values = row.values + first * kLanes;
    const int count =
        static_cast<int>(num_vectors - first < kAtOnce ? num_vectors - first : kAtOnce);
    std::uint8_t high_hits[kAtOnce];
    std::uint8_t low_hits[kAtOnce];
    int num_high = 0;
    int num_low = 0;
    for (int i = 0; i < count; ++i) {
      const F32 value = load(values + i * kLanes);
      high_hits[num_high] = static_cast<std::uint8_t>(i);
      low_hits[num_low] = static_cast<std::uint8_t>(i);
      num_high += any(High::reach(value, high_bound));
      num_low += any(Low::reach(value, low_bound));
    }
    const std::int64_t most = kMaxCandidates - kBlock;
    if (high.count + num_high * kLanes > most || low.count + num_low * kLanes > most) return false;
    for (int i = 0; i < num_high; ++i) {
      const int vector = high_hits[i];
      High::add(high, values + vector * kLanes, vector % kVectorsABlock * kLanes, high_bound);
    }
    for (int i = 0; i < num_low; ++i) {
      const int vector = low_hits[i];
      Low::add(low, values + vector * kLanes, vector % kVectorsABlock * kLanes, low_bound);
    }
  }
  if (row.tail != nullptr) {
    for (int i = 0; i < kBlock; i += kLanes) {
      High::add(high, row.tail + i, i, high_bound);
      Low::add(low, row.tail + i, i, low_bound);
    }
  }
  return true;
}

// The values that can count are gathered, and the search is among them. False where there is no
// room for them.
template <int kVectors>
VINFER_INLINE bool pool_candidates(const Job& job,
                                   const Row& row,
                                   Groups<kVectors>& groups,
                                   F32 highest,
                                   F32 lowest,
                                   float* scratch,
                                   double* pooled) {
  using High = Candidates<false>;
  using Low = Candidates<true>;
  using G = Groups<kVectors>;
  const F32 high_bound = G::template bound<false>(groups.highest, job.k_max);
  F32 low_bound = broadcast(-kInfinity);
  if (job.k_min > 0) low_bound = G::template bound<true>(groups.lowest, job.k_min);
  auto* const partials = reinterpret_cast<std::uint8_t*>(scratch + 2 * kCandidateSpace);
  High high{scratch, partials};
  Low low{scratch + kCandidateSpace, partials + kCandidateSpace};
  if (!gather(row, high_bound, low_bound, high, low)) return false;
  High::pad(high);
  Low::pad(low);
  float high_tau;
  float low_tau = 0.0f;
  if (high.count <= kMaxRanked && low.count <= kMaxRanked) {
    high_tau = rank<false>(high.values, high.count, job.k_max);
    if (job.k_min > 0) low_tau = rank<true>(low.values, low.count, job.k_min);
  } else {
    const auto row_of = [](const auto& found) {
      return Row{found.values, (found.count + kBlock - 1) / kBlock, nullptr};
    };
    const Taus taus = find_taus(Sides{row_of(high), row_of(low)},
                                job,
                                Range{highest, high_bound, high.count},
                                Range{lowest, low_bound, low.count},
                                broadcast(-1));
    high_tau = taus.high[0];
    low_tau = taus.low[0];
  }
  *pooled = pooled_value(job,
                         High::mean(high, job.k_max, high_tau),
                         job.k_min > 0 ? Low::mean(low, job.k_min, low_tau) : 0.0);
  return true;
}

}  // namespace
}  // namespace vinfer::weldon_pool::VINFER_LEVEL
