// What the fuzzing of the ops shares: random arguments, good and bad, and calls in every way.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "testing.h"

namespace vinfer::testing {

// Random arguments of one case. The generator's bits are used as they come, so that a case is the
// same with every standard library.
class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t number)
      : generator_(seed * 0x9e3779b97f4a7c15u + number) {}

  // In [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    const auto count = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(generator_() % count);
  }
  bool one_in(std::int64_t n) { return integer(1, n) == 1; }
  bool coin() { return one_in(2); }

  // In [low, high).
  double real(double low, double high) {
    return low + (high - low) * (static_cast<double>(generator_() >> 11) * 0x1p-53);
  }

  template <typename T>
  T of(std::initializer_list<T> values) {
    return values.begin()[integer(0, static_cast<std::int64_t>(values.size()) - 1)];
  }
  template <typename T>
  const T& of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(integer(0, std::ssize(values) - 1))];
  }

  // Mostly as given, now and then what no caller means: 0, negative, beyond every limit.
  std::int64_t or_extreme(std::int64_t usual) {
    if (!one_in(40)) return usual;
    constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    return of<std::int64_t>({0,
                             -1,
                             -usual,
                             1025,
                             4096,
                             4097,
                             32769,
                             std::int64_t{1} << 31,
                             std::int64_t{1} << 53,
                             kLeast,
                             kLeast + 1,
                             kMost,
                             kMost - 1});
  }
  // Of an array that can't be.
  std::int64_t unreal_extent() {
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    return of({std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40, -kMost - 1, kMost});
  }
  double or_extreme(double usual) {
    if (!one_in(25)) return usual;
    constexpr double kInf = std::numeric_limits<double>::infinity();
    return of<double>({0.0,
                       -0.0,
                       -usual,
                       1e-310,
                       1e-45,
                       1e-39,
                       1e-30,
                       1e30,
                       3.4e38,
                       1e39,
                       1e308,
                       kInf,
                       -kInf,
                       std::numeric_limits<double>::quiet_NaN()});
  }
  // A coordinate, or what a broken detector gives.
  float or_extreme(float usual) {
    if (!one_in(12)) return usual;
    return of<float>({0.0f,
                      -0.0f,
                      -usual,
                      1e-40f,
                      -1e-45f,
                      1e9f,
                      -1e9f,
                      1e30f,
                      -1e30f,
                      3.4e38f,
                      -3.4e38f,
                      kInfinity,
                      -kInfinity,
                      kNan});
  }

 private:
  std::mt19937_64 generator_;
};

// Elements in a heap block that ends with the last one, and begins with the first or a few before
// it: so a step too far is an ASan report, and no alignment beyond the type's own is promised.
template <typename T>
class Block {
 public:
  Block(Draw& draw, std::int64_t count)
      : lead_(draw.coin() ? 0 : static_cast<std::size_t>(draw.integer(1, 15))),
        memory_(lead_ + static_cast<std::size_t>(count)) {}

  T* data() { return memory_.data() + lead_; }
  const T* data() const { return memory_.data() + lead_; }
  std::int64_t size() const { return std::ssize(memory_) - static_cast<std::int64_t>(lead_); }
  T& operator[](std::int64_t i) { return data()[i]; }
  const T& operator[](std::int64_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }

  // Every byte of the block, to see later whether anything was written.
  void mark() {
    auto* const all = reinterpret_cast<unsigned char*>(memory_.data());
    std::fill_n(all, bytes(), kMark);
  }
  bool is_marked() const {
    const auto* const all = reinterpret_cast<const unsigned char*>(memory_.data());
    return std::all_of(all, all + bytes(), [](unsigned char byte) { return byte == kMark; });
  }

 private:
  // NaN, so that what is added to instead of written is found; no index that an op gives.
  static constexpr unsigned char kMark = std::is_integral_v<T> ? 0xa5 : 0xff;
  std::size_t bytes() const { return memory_.size() * sizeof(T); }

  std::size_t lead_;
  std::vector<T> memory_;
};

inline double number(double value) { return value; }
inline double number(float value) { return value; }
inline double number(Half value) { return static_cast<float>(value); }

// The same bits; a NaN's sign and payload are the machine's affair.
template <typename T>
bool same(const Block<T>& a, const Block<T>& b) {
  if (a.size() != b.size()) return false;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    if constexpr (!std::is_integral_v<T>) {
      if (std::isnan(number(a[i])) && std::isnan(number(b[i]))) continue;
    }
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return true;
}

// Numbers in [-1, 1], some of which are round, so that there are equal ones.
template <typename T>
Block<T> ordinary_values(Draw& draw, std::int64_t count) {
  Block<T> values(draw, count);
  const bool round = draw.one_in(3);
  for (T& value : values) {
    const auto real = static_cast<float>(draw.real(-1.0, 1.0));
    value = static_cast<T>(round ? std::round(4.0f * real) / 4.0f : real);
  }
  return values;
}

template <typename T>
void spoil(Draw& draw, Block<T>& values) {
  for (T& value : values) value = static_cast<T>(draw.or_extreme(static_cast<float>(value)));
}

template <typename To, typename From>
Block<To> converted(Draw& draw, const Block<From>& values) {
  Block<To> result(draw, values.size());
  for (std::int64_t i = 0; i < values.size(); ++i) result[i] = static_cast<To>(number(values[i]));
  return result;
}

// Runs tasks on the caller's thread from the last to the first, which no result may depend on.
class Backwards final : public Parallel {
 public:
  std::int64_t num_threads() const override { return 5; }
  void run(std::int64_t num_tasks, Task task, const void* state) override {
    while (num_tasks > 0) task(state, --num_tasks);
  }
};

// How a call is made; its results must not depend on it.
struct How {
  CpuLevel level = CpuLevel::kBaseline;
  Parallel* parallel = nullptr;

  Context context() const {
    Context context;
    context.cpu_level = level;
    context.parallel = parallel;
    return context;
  }
};

// Every level on the caller's thread, then on threads, one kind for each.
inline std::vector<How> other_ways(Draw& draw) {
  static ThreadPool two(2);
  static ThreadPool three(3);
  static Backwards backwards;
  std::vector<How> ways;
  for (const CpuLevel level : levels()) {
    if (level != CpuLevel::kBaseline) ways.push_back({level, nullptr});
    ways.push_back({level, draw.of<Parallel*>({&two, &three, &backwards})});
  }
  return ways;
}

// A call that must be refused: with a message, and nothing written.
template <typename... T>
void check_refused(const Status& status, const Block<T>&... outputs) {
  CHECK(!status.ok());
  CHECK(!status.message().empty());
  CHECK((outputs.is_marked() && ...));
}

// Whether an output of this shape is small enough to be computed here.
template <std::size_t Rank>
bool is_affordable(const Shape<Rank>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent == 0) return true;
    if (extent > (1 << 17) / count) return false;
    count *= extent;
  }
  return true;
}

}  // namespace vinfer::testing
