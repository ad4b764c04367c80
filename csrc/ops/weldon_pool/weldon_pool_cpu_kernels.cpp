#include "ops/weldon_pool/weldon_pool_cpu_search.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
namespace {

// Half a vector's lanes in float64.
constexpr int kWideLanes = kLanes / 2;
using F64 = double __attribute__((vector_size(8 * kWideLanes)));
using F32x4 = float __attribute__((vector_size(16)));
using I32x4 = std::int32_t __attribute__((vector_size(16)));

// Fewer maps are faster one by one.
constexpr std::int64_t kMinColumns = kLanes / 4 + 1;
// With k = 1 only shorter maps are faster side by side.
constexpr std::int64_t kMaxExtremeColumns = 64;

VINFER_INLINE F64 widen_low(F32 value) {
#if defined(__AVX512F__)
  const auto v = reinterpret_cast<__m512>(value);
  return reinterpret_cast<F64>(_mm512_cvtps_pd(_mm512_castps512_ps256(v)));
#elif defined(__AVX2__)
  const auto v = reinterpret_cast<__m256>(value);
  return reinterpret_cast<F64>(_mm256_cvtps_pd(_mm256_castps256_ps128(v)));
#elif defined(__x86_64__)
  return reinterpret_cast<F64>(_mm_cvtps_pd(reinterpret_cast<__m128>(value)));
#else
  return F64{value[0], value[1]};
#endif
}

VINFER_INLINE F64 widen_high(F32 value) {
#if defined(__AVX512F__)
  const auto v = reinterpret_cast<__m512>(value);
  return reinterpret_cast<F64>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
#elif defined(__AVX2__)
  const auto v = reinterpret_cast<__m256>(value);
  return reinterpret_cast<F64>(_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
#elif defined(__x86_64__)
  const auto v = reinterpret_cast<__m128>(value);
  return reinterpret_cast<F64>(_mm_cvtps_pd(_mm_movehl_ps(v, v)));
#else
  return F64{value[2], value[3]};
#endif
}

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

VINFER_INLINE double mean_of_sums(double (&sums)[kNumPartialSums],
                                  std::int64_t count,
                                  float tau,
                                  std::int64_t k) {
  for (int half = kNumPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return mean_of_first(sums[0], count, static_cast<double>(tau), k);
}

template <bool kLowest>
VINFER_INLINE double row_mean(const Row& row, std::int64_t size, std::int64_t k, float tau_value) {
  if (k == 1) return mean_of_first(0.0, 0, static_cast<double>(tau_value), 1);
  const F32 tau = broadcast(tau_value);
  using S = Side<kLowest>;
  constexpr int kParts = kBlock / kWideLanes;
  const bool sparse = k * kLanes < size / 4;  // then most vectors hold no value of the sum
  F64 partial[kParts] = {};
  I32 count{};
  Row::each_block(row, [&](const float* block) __attribute__((always_inline)) {
    for (int i = 0; i < kBlock / kLanes; ++i) {
      const F32 value = load(block + i * kLanes);
      if (sparse && !S::any_beyond(value, tau)) continue;
      const F32 kept = keep(value, S::beyond(value, tau));
      partial[2 * i] += widen_low(kept);
      partial[2 * i + 1] += widen_high(kept);
      count = S::add_beyond(count, value, tau);
    }
  });
  double sums[kNumPartialSums];
  std::memcpy(sums, partial, sizeof(sums));
  return mean_of_sums(sums, Row::total(count)[0], tau_value, k);
}

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
