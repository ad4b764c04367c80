// Vectors of the widest register of one CPU level. Included by kernel files only, which are
// compiled once a level with VINFER_LEVEL set to its name: everything here has internal linkage and
// lies in the level's namespace, so that no function compiled for AVX-512 can be linked into code
// that a lesser machine runs. For the same reason kernel files call no inline function of the
// standard library that the compiler could emit out of line.
//
// Arithmetic and comparisons are the compilers' own operators on vector types: + - * / < ==.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/half.h"

#ifdef __x86_64__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593: AVX-512's undefined vectors
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef VINFER_LEVEL
#error "a kernel file is compiled once a CPU level, with VINFER_LEVEL set to its name"
#endif

#define VINFER_INLINE [[gnu::always_inline, maybe_unused]] static inline

namespace vinfer::VINFER_LEVEL {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

using F32 = float __attribute__((vector_size(4 * kLanes)));
using I32 = std::int32_t __attribute__((vector_size(4 * kLanes)));
using U8 = std::uint8_t __attribute__((vector_size(kLanes)));

VINFER_INLINE F32 broadcast(float value) { return F32{} + value; }
VINFER_INLINE I32 broadcast(std::int32_t value) { return I32{} + value; }

VINFER_INLINE I32 as_bits(F32 value) { return reinterpret_cast<I32>(value); }
VINFER_INLINE F32 as_float(I32 bits) { return reinterpret_cast<F32>(bits); }

template <typename Vector, typename T>
VINFER_INLINE Vector load_as(const T* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

VINFER_INLINE F32 load(const float* from) { return load_as<F32>(from); }
VINFER_INLINE I32 load(const std::int32_t* from) { return load_as<I32>(from); }
VINFER_INLINE void store(float* to, F32 value) { std::memcpy(to, &value, sizeof(value)); }
VINFER_INLINE void store(std::int32_t* to, I32 value) { std::memcpy(to, &value, sizeof(value)); }

VINFER_INLINE F32 load(const Half* from) {
#if defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_cvtph_ps(load_as<__m256i>(from)));
#elif defined(__AVX2__)
  return reinterpret_cast<F32>(_mm256_cvtph_ps(load_as<__m128i>(from)));
#elif defined(__aarch64__)
  return reinterpret_cast<F32>(vcvt_f32_f16(load_as<float16x4_t>(from)));
#else
  F32 value;
  for (int i = 0; i < kLanes; ++i) value[i] = static_cast<float>(from[i]);
  return value;
#endif
}

VINFER_INLINE void store(Half* to, F32 value) {
#if defined(__AVX512F__)
  const __m256i half = _mm512_cvtps_ph(reinterpret_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &half, sizeof(half));
#elif defined(__AVX2__)
  const __m128i half = _mm256_cvtps_ph(reinterpret_cast<__m256>(value), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &half, sizeof(half));
#elif defined(__aarch64__)
  const float16x4_t half = vcvt_f16_f32(reinterpret_cast<float32x4_t>(value));
  std::memcpy(to, &half, sizeof(half));
#else
  for (int i = 0; i < kLanes; ++i) to[i] = Half(value[i]);
#endif
}

// The first `count` lanes, 0 <= count <= kLanes; the others are 0. Reads nothing beyond them.
VINFER_INLINE F32 load_first(const float* from, std::int64_t count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>((1u << count) - 1u);
  return reinterpret_cast<F32>(_mm512_maskz_loadu_ps(mask, from));
#else
  float values[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
#endif
}

VINFER_INLINE F32 load_first(const Half* from, std::int64_t count) {
  Half values[kLanes];
  std::memset(values, 0, sizeof(values));
  for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}

VINFER_INLINE void store_first(float* to, F32 value, std::int64_t count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>((1u << count) - 1u);
  _mm512_mask_storeu_ps(to, mask, reinterpret_cast<__m512>(value));
#elif defined(__AVX2__)
  const I32 mask = I32{0, 1, 2, 3, 4, 5, 6, 7} < broadcast(static_cast<std::int32_t>(count));
  _mm256_maskstore_ps(to, reinterpret_cast<__m256i>(mask), reinterpret_cast<__m256>(value));
#else
  float values[kLanes];
  store(values, value);
  for (std::int64_t i = 0; i < count; ++i) to[i] = values[i];
#endif
}

VINFER_INLINE void store_first(Half* to, F32 value, std::int64_t count) {
  Half values[kLanes];
  store(values, value);
  for (std::int64_t i = 0; i < count; ++i) to[i] = values[i];
}

// result[i] = value[index[i]], 0 <= index[i] < kLanes.
VINFER_INLINE F32 permute(F32 value, I32 index) {
#if defined(__AVX512F__)
  return reinterpret_cast<F32>(
      _mm512_permutexvar_ps(reinterpret_cast<__m512i>(index), reinterpret_cast<__m512>(value)));
#elif defined(__AVX2__)
  return reinterpret_cast<F32>(
      _mm256_permutevar8x32_ps(reinterpret_cast<__m256>(value), reinterpret_cast<__m256i>(index)));
#else
  F32 result;
  for (int i = 0; i < kLanes; ++i) result[i] = value[index[i]];
  return result;
#endif
}

// The same from two vectors side by side: 0 <= index[i] < 2 * kLanes.
VINFER_INLINE F32 permute(F32 low, F32 high, I32 index) {
#if defined(__AVX512F__)
  return reinterpret_cast<F32>(_mm512_permutex2var_ps(reinterpret_cast<__m512>(low),
                                                      reinterpret_cast<__m512i>(index),
                                                      reinterpret_cast<__m512>(high)));
#elif defined(__AVX2__)
  // The index counts modulo 8 in the permutations, its next bit becomes the sign that chooses.
  return reinterpret_cast<F32>(_mm256_blendv_ps(
      reinterpret_cast<__m256>(permute(low, index)),
      reinterpret_cast<__m256>(permute(high, index)),
      _mm256_castsi256_ps(_mm256_slli_epi32(reinterpret_cast<__m256i>(index), 28))));
#else
  F32 result;
  for (int i = 0; i < kLanes; ++i) {
    result[i] = index[i] < kLanes ? low[index[i]] : high[index[i] - kLanes];
  }
  return result;
#endif
}

// Lanes of both in turn, a[0] b[0] a[1] b[1] ..., from the lower and from the upper halves.
VINFER_INLINE F32 interleave_low(F32 a, F32 b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

VINFER_INLINE F32 interleave_high(F32 a, F32 b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(
      a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

// rows[i][j] becomes rows[j][i]: each step deals the rows out like a pack of cards.
VINFER_INLINE void transpose(F32 (&rows)[kLanes]) {
  for (int step = 1; step < kLanes; step *= 2) {
    F32 dealt[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      dealt[2 * i] = interleave_low(rows[i], rows[i + kLanes / 2]);
      dealt[2 * i + 1] = interleave_high(rows[i], rows[i + kLanes / 2]);
    }
    for (int i = 0; i < kLanes; ++i) rows[i] = dealt[i];
  }
}

// `value` where `mask` is all ones, 0 where it is 0: the result of a comparison is such a mask.
VINFER_INLINE F32 keep(F32 value, I32 mask) { return as_float(as_bits(value) & mask); }

// `yes` where `mask` is all ones, `no` where it is 0.
VINFER_INLINE F32 select(I32 mask, F32 yes, F32 no) {
  return as_float((as_bits(yes) & mask) | (as_bits(no) & ~mask));
}

}  // namespace vinfer::VINFER_LEVEL
