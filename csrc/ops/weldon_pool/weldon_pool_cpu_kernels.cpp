#include "ops/weldon_pool/weldon_pool_cpu_kernels.h"

#include "core/simd.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
namespace {

// Half a vector's lanes in float64.
constexpr int kWideLanes = kLanes / 2;
using F64 = double __attribute__((vector_size(8 * kWideLanes)));
using F32x4 = float __attribute__((vector_size(16)));
using I32x4 = std::int32_t __attribute__((vector_size(16)));

constexpr int kBlock = kNumPartialSums;  // values a step of `Row`: one of every partial sum
// Fewer maps are faster one by one.
constexpr std::int64_t kMinColumns = kLanes / 4 + 1;
constexpr float kInfinity = __builtin_inff();

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

VINFER_INLINE bool any(I32 mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(mask)) != 0;
#else
  return vmaxvq_u32(reinterpret_cast<uint32x4_t>(mask)) != 0;
#endif
}

VINFER_INLINE F32 to_float(I32 value) { return __builtin_convertvector(value, F32); }
VINFER_INLINE F32 lesser(F32 a, F32 b) { return a < b ? a : b; }
VINFER_INLINE F32 greater(F32 a, F32 b) { return a > b ? a : b; }

// The highest or the lowest values of a map: which come first, and what follows from it.
template <bool kLowest>
struct Side {
  VINFER_INLINE I32 beyond(F32 value, F32 threshold) {
    return kLowest ? value < threshold : value > threshold;
  }
  // count + (beyond ? 1 : 0)
  VINFER_INLINE I32 add_beyond(I32 count, F32 value, F32 threshold) {
#if defined(__AVX512F__)  // GCC would make a vector of the comparison's bits first
    const auto v = reinterpret_cast<__m512>(value);
    const auto t = reinterpret_cast<__m512>(threshold);
    const auto c = reinterpret_cast<__m512i>(count);
    const __mmask16 lanes = _mm512_cmp_ps_mask(v, t, kLowest ? _CMP_LT_OQ : _CMP_GT_OQ);
    return reinterpret_cast<I32>(_mm512_mask_sub_epi32(c, lanes, c, _mm512_set1_epi32(-1)));
#else
    return count - beyond(value, threshold);
#endif
  }
  VINFER_INLINE bool any_beyond(F32 value, F32 threshold) {
#if defined(__AVX512F__)
    const auto v = reinterpret_cast<__m512>(value);
    const auto t = reinterpret_cast<__m512>(threshold);
    return _mm512_cmp_ps_mask(v, t, kLowest ? _CMP_LT_OQ : _CMP_GT_OQ) != 0;
#else
    return any(beyond(value, threshold));
#endif
  }
  VINFER_INLINE F32 best(F32 a, F32 b) { return kLowest ? lesser(a, b) : greater(a, b); }
  VINFER_INLINE F32 worst(F32 a, F32 b) { return kLowest ? greater(a, b) : lesser(a, b); }
  static constexpr float kWorst = kLowest ? kInfinity : -kInfinity;
  static constexpr float kBest = -kWorst;
};

// 16 floats of a map a step. Beyond the end they are NaN, which is beyond nothing.
struct Row {
  const float* values;
  std::int64_t num_blocks;
  const float* tail;  // the last, padded block, or null

  template <typename Body>
  VINFER_INLINE void each_block(const Row& row, const Body& body) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < row.num_blocks; ++i) body(row.values + i * kBlock);
    if (row.tail != nullptr) body(row.tail);
  }

  template <typename Body>
  VINFER_INLINE void each(const Row& row, const Body& body) {
    each_block(row, [&](const float* block) __attribute__((always_inline)) {
      for (int i = 0; i < kBlock; i += kLanes) body(load(block + i));
    });
  }

  VINFER_INLINE I32 total(I32 count) {
    std::int32_t sum = 0;
    for (int i = 0; i < kLanes; ++i) sum += count[i];
    return broadcast(sum);
  }

  template <typename Fold>
  VINFER_INLINE F32 fold(F32 value, const Fold& pick) {
    for (int step = kLanes / 2; step > 0; step /= 2) {
      I32 other;
      for (int i = 0; i < kLanes; ++i) other[i] = i ^ step;
      value = pick(value, permute(value, other));
    }
    return value;
  }
};

// kLanes maps side by side, one a lane.
struct Columns {
  const float* values;
  std::int64_t size;

  template <typename Body>
  VINFER_INLINE void each(const Columns& columns, const Body& body) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < columns.size; ++i) body(load(columns.values + i * kLanes));
  }

  VINFER_INLINE I32 total(I32 count) { return count; }

  template <typename Fold>
  VINFER_INLINE F32 fold(F32 value, const Fold&) {
    return value;
  }
};

// Integers that order as the floats do; -0 is one below +0.
VINFER_INLINE I32 to_key(F32 value) {
  const I32 bits = as_bits(value);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
VINFER_INLINE F32 from_key(I32 key) { return as_float(key ^ ((key >> 31) & 0x7fffffff)); }

// About 2^23 * log2(value), for value > 0.
VINFER_INLINE I32 logarithm(F32 value) { return as_bits(value); }

// The log odds of a value to be beyond a threshold that `count` of `size` are beyond: about linear
// in the threshold where values are distributed evenly, normally or exponentially.
VINFER_INLINE F32 log_odds(F32 count, float size) {
  return to_float(logarithm(count + 0.5f) - logarithm((size + 0.5f) - count));
}

constexpr int kGuesses = 12;

// Where the k-th value is: not beyond `best`, and `worst` not beyond it. `count` values reach
// `worst`, or about so many, if k is less.
struct Range {
  F32 best;
  F32 worst;
  std::int64_t count;
};

// The search for the k-th value, given the first and the last, where `finite`: for a threshold that
// k or k - 1 values are beyond. By false position on the log odds, with the weight of an end that
// stays halved (the Illinois rule), and where that does not get there by halving the interval of
// floats.
template <bool kLowest>
struct Search {
  using S = Side<kLowest>;
  static constexpr std::int32_t kOutwards = kLowest ? 1 : -1;

  float size;
  I32 wanted;
  F32 goal;
  // The k-th value is beyond `far` and not beyond `near`.
  F32 far;
  F32 near;
  I32 far_count;
  I32 near_count;
  F32 far_odds;
  F32 near_odds;
  I32 was_far;
  I32 was_near;
  I32 settled;

  VINFER_INLINE Search start(std::int64_t size, std::int64_t k, const Range& range, I32 finite) {
    Search search;
    search.size = static_cast<float>(size);
    search.wanted = broadcast(static_cast<std::int32_t>(k));
    search.goal = log_odds(broadcast(static_cast<float>(k) - 0.5f), search.size);
    const F32 outside = from_key(to_key(range.worst) + kOutwards);
    const F32 two_outside = from_key(to_key(outside) + kOutwards);
    search.far = select(outside == 0.0f, two_outside, outside);  // the other zero is no step
    search.near = range.best;
    search.far_count = broadcast(static_cast<std::int32_t>(range.count));
    search.near_count = I32{};
    search.far_odds = log_odds(to_float(search.far_count), search.size) - search.goal;
    search.near_odds = log_odds(to_float(search.near_count), search.size) - search.goal;
    search.was_far = I32{};
    search.was_near = I32{};
    search.settled = ~finite;
    return search;
  }

  VINFER_INLINE void settle(Search& search, int step) {
    search.settled |=
        (search.far_count == search.wanted) | (search.near_count == search.wanted - 1);
    if (step > kGuesses) {
      search.settled |= to_key(search.near) + kOutwards == to_key(search.far);
    }
  }

  VINFER_INLINE F32 threshold(const Search& search, int step) {
    const I32 far_key = to_key(search.far);
    const I32 near_key = to_key(search.near);
    const F32 middle = from_key((far_key & near_key) + ((far_key ^ near_key) >> 1));
    if (step >= kGuesses) return middle;
    const F32 weight = search.far_odds / (search.far_odds - search.near_odds);
    const F32 guess = search.far + (search.near - search.far) * weight;
    return select(S::beyond(guess, search.far) & S::beyond(search.near, guess), guess, middle);
  }

  VINFER_INLINE void narrow(Search& search, F32 threshold, I32 count) {
    const F32 odds = log_odds(to_float(count), search.size) - search.goal;
    const I32 is_far = (count >= search.wanted) & ~search.settled;
    const I32 is_near = (count < search.wanted) & ~search.settled;
    const F32 less_far = select(is_near & search.was_near, 0.5f * search.far_odds, search.far_odds);
    const F32 less_near =
        select(is_far & search.was_far, 0.5f * search.near_odds, search.near_odds);
    search.far = select(is_far, threshold, search.far);
    search.far_count = (count & is_far) | (search.far_count & ~is_far);
    search.far_odds = select(is_far, odds, less_far);
    search.near = select(is_near, threshold, search.near);
    search.near_count = (count & is_near) | (search.near_count & ~is_near);
    search.near_odds = select(is_near, odds, less_near);
    search.was_far = is_far;
    search.was_near = is_near;
  }
};

// The values at the ends of the interval that a search has come to.
template <bool kLowest>
struct Ends {
  using S = Side<kLowest>;
  F32 last = broadcast(S::kBest);    // the last value beyond `far`
  F32 first = broadcast(S::kWorst);  // the first value not beyond `near`

  VINFER_INLINE void add(Ends& ends, const Search<kLowest>& search, F32 value) {
    const F32 no_last = broadcast(S::kBest);
    const F32 no_first = broadcast(S::kWorst);
    ends.last = S::worst(S::beyond(value, search.far) ? value : no_last, ends.last);
    ends.first = S::best(S::beyond(value, search.near) ? no_first : value, ends.first);
  }
};

// The k-th values of both sides at once: a pass over the data for one would leave units idle.
struct Taus {
  F32 high;
  F32 low;
};

template <typename Data>
VINFER_INLINE Taus find_taus(
    const Data& data, const Job& job, const Range& high_range, const Range& low_range, I32 finite) {
  if (job.k_max == 1 && job.k_min <= 1) return {high_range.best, low_range.best};
  using High = Search<false>;
  using Low = Search<true>;
  High high = High::start(job.size, job.k_max, high_range, finite);
  Low low = Low::start(job.size, job.k_min > 0 ? job.k_min : 1, low_range, finite);
  for (int step = 0;; ++step) {
    High::settle(high, step);
    Low::settle(low, step);
    const bool done = !any(~(high.settled & low.settled));
    if (done || step == kGuesses) {
      Ends<false> high_ends;
      Ends<true> low_ends;
      Data::each(data, [&](F32 value) __attribute__((always_inline)) {
        Ends<false>::add(high_ends, high, value);
        Ends<true>::add(low_ends, low, value);
      });
      const F32 high_last = Data::fold(high_ends.last, High::S::worst);
      const F32 high_first = Data::fold(high_ends.first, High::S::best);
      const F32 low_last = Data::fold(low_ends.last, Low::S::worst);
      const F32 low_first = Data::fold(low_ends.first, Low::S::best);
      high.settled |= high_last == high_first;  // only equal values are left, which no guess
      low.settled |= low_last == low_first;     // separates
      if (done || !any(~(high.settled & low.settled))) {
        return {select(high.far_count == high.wanted, high_last, high_first),
                select(low.far_count == low.wanted, low_last, low_first)};
      }
    }
    const F32 high_threshold = High::threshold(high, step);
    const F32 low_threshold = Low::threshold(low, step);
    I32 high_count{};
    I32 low_count{};
    Data::each(data, [&](F32 value) __attribute__((always_inline)) {
      high_count = High::S::add_beyond(high_count, value, high_threshold);
      low_count = Low::S::add_beyond(low_count, value, low_threshold);
    });
    High::narrow(high, high_threshold, Data::total(high_count));
    Low::narrow(low, low_threshold, Data::total(low_count));
  }
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
  Columns::each(columns, [&](F32 value) __attribute__((always_inline)) {
    highest = greater(value, highest);
    lowest = lesser(value, lowest);
    defect |= as_bits(value - value);
  });
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
  for (int half = kNumPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return mean_of_first(sums[0], Row::total(count)[0], static_cast<double>(tau_value), k);
}

template <typename T>
VINFER_INLINE bool pool_row(const Job& job, const T* map, float* scratch, T* pooled) {
  const float* const values = as_floats(map, job.size, scratch + kBlock);
  const std::int64_t num_blocks = job.size / kBlock;
  const std::int64_t rest = job.size % kBlock;
  if (rest > 0) {
    for (std::int64_t i = 0; i < kBlock; ++i) {
      scratch[i] = i < rest ? values[num_blocks * kBlock + i] : __builtin_nanf("");
    }
  }
  const Row row{values, num_blocks, rest > 0 ? scratch : nullptr};
  F32 highest = num_blocks > 0 ? load(values) : broadcast(values[0]);
  F32 lowest = highest;
  I32 defect{};  // not 0 where a value is not finite
  Row::each_block(Row{values, num_blocks, nullptr},
                  [&](const float* block) __attribute__((always_inline)) {
                    for (int i = 0; i < kBlock; i += kLanes) {
                      const F32 value = load(block + i);
                      highest = greater(value, highest);
                      lowest = lesser(value, lowest);
                      defect |= as_bits(value - value);
                    }
                  });
  const F32 lane_highest = highest;
  const F32 lane_lowest = lowest;
  for (std::int64_t i = num_blocks * kBlock; i < job.size; ++i) {
    const F32 value = broadcast(values[i]);
    highest = greater(value, highest);
    lowest = lesser(value, lowest);
    defect |= as_bits(value - value);
  }
  if (any(defect != 0)) return false;
  highest = Row::fold(highest, greater);
  lowest = Row::fold(lowest, lesser);
  Range high_range{highest, lowest, job.size};
  Range low_range{lowest, highest, job.size};
  if (num_blocks >= kBlock) {
    // As many values as there are lanes reach the least of the lanes' highest; about three times as
    // many, where values are in no order.
    if (job.k_max <= kLanes) high_range = {highest, Row::fold(lane_highest, lesser), 3 * kLanes};
    if (job.k_min <= kLanes) low_range = {lowest, Row::fold(lane_lowest, greater), 3 * kLanes};
  }
  const Taus taus = find_taus(row, job, high_range, low_range, broadcast(-1));
  double value = row_mean<false>(row, job.size, job.k_max, taus.high[0]);
  if (job.k_min > 0) {
    value += job.alpha * row_mean<true>(row, job.size, job.k_min, taus.low[0]);
  }
  *pooled = T(static_cast<float>(value));
  return true;
}

template <typename T>
VINFER_INLINE void pool_each(const Job& job,
                             const T* maps,
                             std::int64_t num_maps,
                             float* scratch,
                             T* pooled,
                             bool* unfinished) {
  std::int64_t m = 0;
  if (job.size <= kMaxColumnValues) {
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
