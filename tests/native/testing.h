// What the native tests share. They run under ASan and UBSan, each op on buffers of exactly the
// promised size, at every CPU level of the machine and with and without threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "core/context.h"
#include "core/half.h"
#include "core/thread_pool.h"

namespace vinfer::testing {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline void check(bool condition, const char* text, const char* file, int line) {
  if (condition) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, text);
  std::exit(1);
}
#define CHECK(condition) ::vinfer::testing::check((condition), #condition, __FILE__, __LINE__)

// A heap block of exactly `bytes`, so that one byte too far is an ASan report.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes)
      : bytes_(bytes),
        data_(
            static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kWorkspaceAlignment}))) {
  }
  ~Scratch() { ::operator delete(data_, std::align_val_t{kWorkspaceAlignment}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Context context() const {
    Context context;
    context.workspace = Workspace(data_, bytes_);
    return context;
  }

 private:
  std::size_t bytes_;
  std::byte* data_;
};

template <typename T, std::size_t Rank>
std::vector<T> storage(const Shape<Rank>& shape) {
  return std::vector<T>(static_cast<std::size_t>(TensorView<T, Rank>{nullptr, shape}.size()));
}

inline std::vector<float> random_values(std::int64_t count, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = uniform(generator);
  return values;
}

// Ordinary, empty, inverted, outside, huge and not finite, in every coordinate.
inline std::vector<float> edge_boxes() {
  const std::vector<float> values{
      0.0f, 16.0f, 64.0f, -16.0f, 40.5f, 1e9f, -1e30f, 3.4e38f, kInfinity, -kInfinity, kNan};
  std::vector<float> boxes;
  for (const float low : values) {
    for (const float high : values) {
      boxes.insert(boxes.end(), {low, 8.0f, high, 72.0f});
      boxes.insert(boxes.end(), {8.0f, low, 72.0f, high});
      boxes.insert(boxes.end(), {low, low, high, high});
    }
  }
  return boxes;
}

// Every CPU level that this machine can run.
inline std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> found;
  for (int level = 0; level <= static_cast<int>(best_cpu_level()); ++level) {
    found.push_back(static_cast<CpuLevel>(level));
  }
  return found;
}

}  // namespace vinfer::testing
