#pragma once

#include <cstdint>

namespace vinfer {

// IEEE 754 binary16 as it lies in memory: storage only, all arithmetic is float32. Always inlined:
// see core/simd.h.
struct Half {
  std::uint16_t bits;

  Half() = default;
  // Rounds to nearest, ties to even, as F16C, NEON and CUDA do.
  [[gnu::always_inline]] explicit inline Half(float value);
  [[gnu::always_inline]] explicit inline operator float() const;
};
static_assert(sizeof(Half) == 2);

inline Half::Half(float value) {
  const std::uint32_t word = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = (word >> 16) & 0x8000u;
  const std::uint32_t magnitude = word & 0x7fffffffu;
  std::uint32_t result = 0;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);  // NaN stays NaN, and becomes quiet
  } else if (magnitude >= 0x477ff000u) {
    result = 0x7c00u;  // rounds to 65536 or more
  } else if (magnitude < 0x38800000u) {
    // Subnormal: the addition rounds at the right bit, for the sum's ulp is that of a subnormal.
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    result = __builtin_bit_cast(std::uint32_t, shifted) - __builtin_bit_cast(std::uint32_t, 0.5f);
  } else {
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    result = (rounded - 0x38000000u) >> 13;
  }
  bits = static_cast<std::uint16_t>(sign | result);
}

inline Half::operator float() const {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  std::uint32_t word = 0;
  if (magnitude >= 0x7c00u) {
    word = 0x7f800000u | ((magnitude & 0x3ffu) << 13);
    if (magnitude > 0x7c00u) word |= 0x00400000u;
  } else if (magnitude < 0x400u) {
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    word = __builtin_bit_cast(std::uint32_t, value);
  } else {
    word = (magnitude << 13) + 0x38000000u;
  }
  return __builtin_bit_cast(float, sign | word);
}

}  // namespace vinfer
