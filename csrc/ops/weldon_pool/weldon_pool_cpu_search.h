// Finds the k-th values of maps without sorting them. Included by the kernel file only, which is
// compiled once a CPU level.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "ops/weldon_pool/weldon_pool_cpu_kernels.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
using namespace vinfer::VINFER_LEVEL;
namespace {

constexpr int kBlock = kNumPartialSums;  // values a step of `Row`: one of every partial sum
constexpr float kInfinity = __builtin_inff();

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

// A bit a lane, the first one lowest.
VINFER_INLINE std::uint32_t bits(I32 mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__AVX2__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__x86_64__)
  return static_cast<std::uint32_t>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#else
  return vaddvq_u32(reinterpret_cast<uint32x4_t>(mask & I32{1, 2, 4, 8}));
#endif
}

// Where one of the two is NaN.
VINFER_INLINE I32 unordered(F32 a, F32 b) {
#if defined(__AVX512F__)
  return (a != a) | (b != b);
#elif defined(__AVX2__)
  return reinterpret_cast<I32>(
      _mm256_cmp_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), _CMP_UNORD_Q));
#elif defined(__x86_64__)
  return reinterpret_cast<I32>(
      _mm_cmpunord_ps(reinterpret_cast<__m128>(a), reinterpret_cast<__m128>(b)));
#else
  return (a != a) | (b != b);
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

  template <typename High, typename Low>
  VINFER_INLINE void each(const Row& row, const High& high, const Low& low) {
    each_block(row, [&](const float* block) __attribute__((always_inline)) {
      for (int i = 0; i < kBlock; i += kLanes) {
        const F32 value = load(block + i);
        high(value);
        low(value);
      }
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

  template <typename High, typename Low>
  VINFER_INLINE void each(const Columns& columns, const High& high, const Low& low) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < columns.size; ++i) {
      const F32 value = load(columns.values + i * kLanes);
      high(value);
      low(value);
    }
  }

  VINFER_INLINE I32 total(I32 count) { return count; }

  template <typename Fold>
  VINFER_INLINE F32 fold(F32 value, const Fold&) {
    return value;
  }
};

// Values of one map that hold its highest k, and values that hold its lowest k.
struct Sides {
  Row high_row;
  Row low_row;

  template <typename High, typename Low>
  VINFER_INLINE void each(const Sides& sides, const High& high, const Low& low) {
    Row::each(sides.high_row, high, [](F32) __attribute__((always_inline)) {});
    Row::each(sides.low_row, low, [](F32) __attribute__((always_inline)) {});
  }

  VINFER_INLINE I32 total(I32 count) { return Row::total(count); }

  template <typename Fold>
  VINFER_INLINE F32 fold(F32 value, const Fold& pick) {
    return Row::fold(value, pick);
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
// `worst`.
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
      Data::each(
          data,
          [&](F32 value)
              __attribute__((always_inline)) { Ends<false>::add(high_ends, high, value); },
          [&](F32 value) __attribute__((always_inline)) { Ends<true>::add(low_ends, low, value); });
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
    Data::each(
        data,
        [&](F32 value) __attribute__((always_inline)) {
          high_count = High::S::add_beyond(high_count, value, high_threshold);
        },
        [&](F32 value) __attribute__((always_inline)) {
          low_count = Low::S::add_beyond(low_count, value, low_threshold);
        });
    High::narrow(high, high_threshold, Data::total(high_count));
    Low::narrow(low, low_threshold, Data::total(low_count));
  }
}

}  // namespace
}  // namespace vinfer::weldon_pool::VINFER_LEVEL
