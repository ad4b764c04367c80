// Sums in float64 of what lies beyond the k-th value of one map. Included by the kernel file only,
// which is compiled once a CPU level.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/weldon_pool/weldon_pool_cpu_search.h"

namespace vinfer::weldon_pool::VINFER_LEVEL {
namespace {

// Half a vector's lanes in float64.
constexpr int kWideLanes = kLanes / 2;
using F64 = double __attribute__((vector_size(8 * kWideLanes)));

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

}  // namespace
}  // namespace vinfer::weldon_pool::VINFER_LEVEL
