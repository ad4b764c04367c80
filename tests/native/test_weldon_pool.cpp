#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "ops/weldon_pool/weldon_pool.h"
#include "testing.h"

namespace vinfer::testing {

void fuzz_weldon_pool(std::uint32_t seed, int iterations);

namespace {

using weldon_pool::Params;

// A batch of maps, in memory of exactly their size.
template <typename T>
struct Maps {
  std::vector<T> values;
  std::int64_t size;

  std::int64_t count() const { return static_cast<std::int64_t>(values.size()) / size; }
};

template <typename T>
struct Pooled {
  std::vector<T> pooled;
  std::vector<std::int64_t> max_indices;
  std::vector<std::int64_t> min_indices;
};

template <typename T>
Maps<T> make_maps(const std::vector<float>& values, std::int64_t size) {
  Maps<T> maps{{}, size};
  for (const float value : values) maps.values.push_back(T(value));
  maps.values.shrink_to_fit();
  return maps;
}

template <typename T>
Pooled<T> pool(const Maps<T>& maps,
               const Params& params,
               CpuLevel level,
               Parallel* parallel,
               bool want_indices) {
  const weldon_pool::Inputs<T> in{{maps.values.data(), {1, maps.count(), 1, maps.size}}};
  weldon_pool::OutputShapes shapes;
  CHECK(weldon_pool::output_shapes(params, in, shapes).ok());
  Pooled<T> result{storage<T>(shapes.pooled), {}, {}};
  weldon_pool::Outputs<T> out{{result.pooled.data(), shapes.pooled}, {}, {}};
  if (want_indices) {
    result.max_indices = storage<std::int64_t>(shapes.max_indices);
    result.min_indices = storage<std::int64_t>(shapes.min_indices);
    out.max_indices = {result.max_indices.data(), shapes.max_indices};
    out.min_indices = {result.min_indices.data(), shapes.min_indices};
  }
  Context settings;
  settings.cpu_level = level;
  settings.parallel = parallel;
  const Scratch scratch(weldon_pool::workspace_bytes(params, in, settings));
  Context context = scratch.context();
  context.cpu_level = level;
  context.parallel = parallel;
  CHECK(weldon_pool::run(params, in, out, context).ok());
  return result;
}

// One map by a stable sort: the k positions that come first.
std::vector<std::int64_t> first_of(const std::vector<double>& map, std::int64_t k, bool lowest) {
  std::vector<std::int64_t> order(map.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double x = map[static_cast<std::size_t>(a)];
    const double y = map[static_cast<std::size_t>(b)];
    return lowest ? x < y : x > y;
  });
  order.resize(static_cast<std::size_t>(std::min<std::int64_t>(k, std::ssize(order))));
  return order;
}

double mean_at(const std::vector<double>& map, const std::vector<std::int64_t>& indices) {
  double sum = 0.0;
  for (const std::int64_t i : indices) sum += map[static_cast<std::size_t>(i)];
  return sum / static_cast<double>(indices.size());
}

template <typename T>
void check_value(T found, double expected, double scale) {
  const auto value = static_cast<double>(static_cast<float>(found));
  if (std::isnan(expected)) {
    CHECK(std::isnan(value));
    return;
  }
  if (value == static_cast<double>(static_cast<float>(T(static_cast<float>(expected))))) return;
  const bool half = std::is_same_v<T, Half>;
  CHECK(std::abs(value - expected) <= scale * (half ? 0x1p-11 : 0x1p-23) + (half ? 0x1p-24 : 0.0));
}

template <typename T>
void check_against_reference(const Maps<T>& maps, const Params& params, const Pooled<T>& found) {
  const std::int64_t k_max = std::min(params.k_max, maps.size);
  const std::int64_t k_min = std::min(params.k_min, maps.size);
  for (std::int64_t m = 0; m < maps.count(); ++m) {
    std::vector<double> map;
    bool has_nan = false;
    for (std::int64_t i = 0; i < maps.size; ++i) {
      const T stored = maps.values[static_cast<std::size_t>(m * maps.size + i)];
      map.push_back(static_cast<double>(static_cast<float>(stored)));
      has_nan = has_nan || std::isnan(map.back());
    }
    std::vector<std::int64_t> high = first_of(map, k_max, false);
    std::vector<std::int64_t> low = first_of(map, k_min, true);
    double expected = mean_at(map, high);
    double scale = std::abs(expected);
    if (k_min > 0 && params.alpha != 0.0) {
      const double term = params.alpha * mean_at(map, low);
      expected += term;
      scale += std::abs(term);
    }
    if (has_nan) {
      expected = static_cast<double>(kNan);
      std::fill(high.begin(), high.end(), -1);
      std::fill(low.begin(), low.end(), -1);
    }
    check_value(found.pooled[static_cast<std::size_t>(m)], expected, scale);
    CHECK(std::equal(high.begin(), high.end(), found.max_indices.begin() + m * k_max));
    CHECK(std::equal(low.begin(), low.end(), found.min_indices.begin() + m * k_min));
  }
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Threads {
  ThreadPool two{2};
  ThreadPool three{3};
  std::vector<Parallel*> all() { return {nullptr, &two, &three}; }
};

// Every level, number of threads and split, with and without indices, gives the same bits.
template <typename T>
void check_maps(const std::vector<float>& values,
                std::int64_t size,
                const Params& params,
                Threads& threads) {
  const Maps<T> maps = make_maps<T>(values, size);
  const Pooled<T> wanted = pool(maps, params, CpuLevel::kBaseline, nullptr, true);
  check_against_reference(maps, params, wanted);
  for (const CpuLevel level : levels()) {
    for (Parallel* const parallel : threads.all()) {
      CHECK(same_bits(pool(maps, params, level, parallel, false).pooled, wanted.pooled));
    }
    // Alone, a map takes another way than beside others.
    for (std::int64_t m = 0; m < std::min<std::int64_t>(maps.count(), 3); ++m) {
      const auto first = maps.values.begin() + m * size;
      const Maps<T> one{{first, first + size}, size};
      const Pooled<T> alone = pool(one, params, level, nullptr, false);
      CHECK(std::memcmp(&alone.pooled[0], &wanted.pooled[static_cast<std::size_t>(m)], sizeof(T)) ==
            0);
    }
  }
  const Pooled<T> threaded = pool(maps, params, best_cpu_level(), &threads.three, true);
  CHECK(same_bits(threaded.pooled, wanted.pooled));
  CHECK(threaded.max_indices == wanted.max_indices);
  CHECK(threaded.min_indices == wanted.min_indices);
}

void check_all_types(const std::vector<float>& values,
                     std::int64_t size,
                     const Params& params,
                     Threads& threads) {
  check_maps<float>(values, size, params, threads);
  check_maps<Half>(values, size, params, threads);
}

std::vector<float> repeated(std::int64_t count, const std::vector<float>& pattern) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(pattern[static_cast<std::size_t>(i) % pattern.size()]);
  }
  return values;
}

void check_sizes(Threads& threads) {
  // Around the numbers of lanes, of partial sums and the largest map that is pooled beside others.
  for (const std::int64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 49, 64, 255, 257}) {
    for (const std::int64_t count : {1, 2, 5, 17}) {
      const std::vector<float> values = random_values(size * count, 3);
      check_all_types(values, size, Params{1, 1, 1.0}, threads);
      check_all_types(values, size, Params{(size + 3) / 4, (size + 1) / 2, -0.5}, threads);
    }
    check_all_types(random_values(size, 4), size, Params{1000, 0, 1.0}, threads);
    check_all_types(random_values(size, 5), size, Params{size, 1000, 0.0}, threads);
  }
  // Enough for several tasks.
  check_all_types(random_values(49 * 1500, 6), 49, Params{4, 7, 0.7}, threads);
  check_all_types(random_values(6420 * 16, 7), 6420, Params{64, 1605, 0.7}, threads);
}

void check_adversarial_maps(Threads& threads) {
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  constexpr float kLargest = std::numeric_limits<float>::max();
  std::vector<float> rising(300);
  std::iota(rising.begin(), rising.end(), -100.0f);
  std::vector<float> spread;  // every guess by interpolation is wrong
  for (int exponent = -149; exponent < 128; ++exponent) {
    spread.push_back(std::ldexp(exponent % 2 == 0 ? 1.0f : -1.0f, exponent));
  }
  const std::vector<std::vector<float>> patterns{{0.0f},
                                                 {-0.0f, 0.0f},
                                                 {0.0f, -0.0f, kDenormal, -kDenormal},
                                                 {2.5f},
                                                 {1.0f, 2.0f},
                                                 {3.0f, 1.0f, 2.0f, 2.0f, 2.0f, 1.0f, 3.0f},
                                                 {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.5f, 0.25f},
                                                 {kInfinity, 1.0f, -kInfinity},
                                                 {kInfinity, 1.0f, 2.0f},
                                                 {-kInfinity},
                                                 {kLargest, -kLargest, 1.0f},
                                                 {-kLargest},
                                                 rising,
                                                 {rising.rbegin(), rising.rend()},
                                                 spread};
  for (const std::vector<float>& pattern : patterns) {
    for (const std::int64_t size : {6, 49, 300}) {
      for (const std::int64_t k : {std::int64_t{1}, std::int64_t{4}, size / 2, size - 1, size}) {
        check_all_types(repeated(size * 5, pattern), size, Params{k, k, 0.5}, threads);
      }
    }
  }
  for (const std::int64_t size : {20, 260}) {
    for (std::int64_t position = 0; position < size; position += position < 33 ? 1 : 29) {
      for (const float odd : {kNan, kInfinity}) {
        std::vector<float> values = random_values(size * 6, 8);
        values[static_cast<std::size_t>(size + position)] = odd;
        check_all_types(values, size, Params{3, 5, 1.0}, threads);
      }
    }
  }
}

// A permutation of the map selects the same values.
void check_permutations() {
  std::vector<float> map = random_values(130, 9);
  for (float& value : map) value = std::round(8.0f * value);
  std::mt19937 generator(10);
  const Params params{20, 31, 0.5};
  std::vector<std::vector<float>> selected[2];
  for (int round = 0; round < 5; ++round) {
    const Maps<float> maps = make_maps<float>(map, 130);
    const Pooled<float> found = pool(maps, params, best_cpu_level(), nullptr, true);
    for (const std::vector<std::int64_t>* indices : {&found.max_indices, &found.min_indices}) {
      std::vector<float> values;
      for (const std::int64_t i : *indices) values.push_back(map[static_cast<std::size_t>(i)]);
      selected[indices == &found.min_indices].push_back(values);
    }
    std::shuffle(map.begin(), map.end(), generator);
  }
  for (const std::vector<std::vector<float>>& side : selected) {
    for (const std::vector<float>& values : side) CHECK(values == side.front());
  }
}

void check_double() {
  const std::vector<float> values = random_values(3 * 20, 11);
  Maps<double> maps{{values.begin(), values.end()}, 20};
  const Params params{4, 6, 0.3};
  const Pooled<double> found = pool(maps, params, best_cpu_level(), nullptr, true);
  for (std::size_t m = 0; m < 3; ++m) {
    const std::vector<double> map(maps.values.begin() + static_cast<std::ptrdiff_t>(20 * m),
                                  maps.values.begin() + static_cast<std::ptrdiff_t>(20 * m + 20));
    const double expected =
        mean_at(map, first_of(map, 4, false)) + 0.3 * mean_at(map, first_of(map, 6, true));
    CHECK(std::abs(found.pooled[m] - expected) <= 1e-6);
  }
}

}  // namespace

void fuzz_weldon_pool(std::uint32_t seed, int iterations) {
  Threads threads;
  std::mt19937 generator(seed);
  const auto below = [&](std::int64_t bound) {
    return std::uniform_int_distribution<std::int64_t>(0, bound - 1)(generator);
  };
  const std::vector<float> odd{
      0.0f, -0.0f, 1.0f, -1.0f, 1e-40f, -1e-40f, 6e4f, kInfinity, -kInfinity, kNan, 3e38f, -3e38f};
  for (int i = 0; i < iterations; ++i) {
    const std::int64_t size = 1 + below(below(4) == 0 ? 600 : 40);
    std::vector<float> values = random_values(size * (1 + below(20)), seed + 1);
    seed = static_cast<std::uint32_t>(below(1 << 30));
    const std::int64_t kind = below(4);
    for (float& value : values) {
      if (kind == 1) value = std::round(4.0f * value);
      if (kind == 2) value = std::max(value, 0.0f);
      if (kind == 3) value *= std::ldexp(1.0f, static_cast<int>(below(100)) - 50);
    }
    for (std::int64_t n = below(4) == 0 ? below(5) : 0; n > 0; --n) {
      values[static_cast<std::size_t>(below(std::ssize(values)))] =
          odd[static_cast<std::size_t>(below(std::ssize(odd)))];
    }
    const Params params{1 + below(size + 2), below(size + 2), 0.25 * static_cast<double>(below(5))};
    if (i % 2 == 0) {
      check_maps<float>(values, size, params, threads);
    } else {
      check_maps<Half>(values, size, params, threads);
    }
  }
}

void test_weldon_pool() {
  Threads threads;
  check_sizes(threads);
  check_adversarial_maps(threads);
  check_permutations();
  check_double();
  fuzz_weldon_pool(12, 300);
}

}  // namespace vinfer::testing
