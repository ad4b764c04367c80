#include "ops/weldon_pool/weldon_pool.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

constexpr std::int64_t kMaps = 12;

// Maps with everything that makes a selection hard.
std::vector<float> hard_maps(std::int64_t size) {
  std::vector<float> maps = random_values(kMaps * size, 5);
  const auto map = [&](std::int64_t m) { return maps.begin() + m * size; };
  for (auto v = map(1); v != map(2); ++v) *v = std::round(*v * 3.0f);  // ties, of both zeros too
  std::fill(map(2), map(3), 0.25f);
  for (auto v = map(3); v != map(4); ++v) *v = *v > 0.0f ? *v * 1e38f : *v * 1e-42f;
  *map(4) = kInfinity;
  *(map(5) - 1) = -kInfinity;
  *(map(6) - 1) = kNan;
  *map(6) = -kNan;
  std::fill(map(7), map(8), -kInfinity);
  for (auto v = map(8); v != map(9); ++v) *v = std::fmax(*v, 0.0f);  // as after a ReLU
  for (std::int64_t i = 0; i < size; ++i) map(9)[i] = static_cast<float>(i);
  for (std::int64_t i = 0; i < size; ++i) map(10)[i] = static_cast<float>(-i);
  return maps;
}

template <typename T>
struct Result {
  std::vector<T> pooled;
  std::vector<std::int64_t> high;
  std::vector<std::int64_t> low;
};

template <typename T>
Result<T> pool(const weldon_pool::Params& params,
               const weldon_pool::Inputs<T>& in,
               bool want_indices,
               Device device) {
  weldon_pool::OutputShapes shapes;
  CHECK(weldon_pool::output_shapes(params, in, shapes).ok());
  Result<T> result{storage<T>(shapes.pooled), {}, {}};
  weldon_pool::Outputs<T> out{{result.pooled.data(), shapes.pooled}, {}, {}};
  if (want_indices) {
    result.high = storage<std::int64_t>(shapes.max_indices);
    result.low = storage<std::int64_t>(shapes.min_indices);
    out.max_indices = {result.high.data(), shapes.max_indices};
    out.min_indices = {result.low.data(), shapes.min_indices};
  }
  Context where;
  where.device = device;
  const Scratch scratch(weldon_pool::workspace_bytes(params, in, where));
  Context context = scratch.context();
  context.device = device;
  CHECK(weldon_pool::run(params, in, out, context).ok());
  return result;
}

// Sums are float64 in another order, so they may round to the neighbouring number.
template <typename T>
bool are_neighbours(T found, T expected) {
  const float a = static_cast<float>(found);
  const float b = static_cast<float>(expected);
  if (std::isnan(b)) return std::isnan(a);
  if (a == b) return true;
  const float ulp = sizeof(T) == 2 ? 0x1p-10f : 0x1p-23f;
  return std::abs(a - b) <= ulp * std::abs(b);
}

template <typename T>
void compare(const weldon_pool::Params& params, const std::vector<float>& values, Shape<4> shape) {
  std::vector<T> maps;
  for (const float value : values) maps.push_back(T(value));
  const weldon_pool::Inputs<T> in{{maps.data(), shape}};
  for (const bool want_indices : {false, true}) {
    const Result<T> expected = pool(params, in, want_indices, Device::kCpu);
    const Result<T> found = pool(params, in, want_indices, Device::kCuda);
    for (std::size_t i = 0; i < expected.pooled.size(); ++i) {
      CHECK(are_neighbours(found.pooled[i], expected.pooled[i]));
    }
    CHECK(found.high == expected.high);
    CHECK(found.low == expected.low);
  }
}

}  // namespace

void test_cuda_weldon_pool() {
  // In turn of the kernels for 64, 256 and 1024 values and for more: two sizes or more for each,
  // which share the settings, since every launch is slow here.
  const std::pair<std::int64_t, std::int64_t> sizes[] = {
      {1, 1}, {1, 2}, {7, 7}, {8, 8}, {13, 14}, {16, 16}, {20, 21}, {32, 32}, {41, 26}, {60, 70}};
  const std::pair<std::int64_t, std::int64_t> ks[] = {{1, 0}, {16, 16}, {5, 100000}, {1000, 1}};
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    const auto [height, width] = sizes[i];
    const std::vector<float> values = hard_maps(height * width);
    const Shape<4> shape{2, kMaps / 2, height, width};
    for (std::size_t j = i % 2; j < std::size(ks); j += 2) {
      const auto [k_max, k_min] = ks[j];
      compare<float>({k_max, k_min, 0.5}, values, shape);
      compare<Half>({k_max, k_min, 0.0}, values, shape);
    }
  }
  const std::vector<float> none;
  compare<float>({}, none, {0, 3, 2, 2});
}

}  // namespace vinfer::testing
