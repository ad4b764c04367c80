#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vinfer {

template <std::size_t Rank>
using Shape = std::array<std::int64_t, Rank>;

// Row-major, contiguous, borrowed memory: never owns, never resizes.
template <typename T, std::size_t Rank>
struct TensorView {
  T* data = nullptr;
  Shape<Rank> shape{};

  std::int64_t size() const {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    return count;
  }
};

}  // namespace vinfer
