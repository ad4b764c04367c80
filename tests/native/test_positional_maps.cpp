#include <cstring>
#include <type_traits>

#include "ops/positional_maps/positional_maps.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

template <typename T>
std::vector<T> make_maps(const positional_maps::Params& params,
                         const positional_maps::Inputs& in,
                         CpuLevel level,
                         Parallel* parallel) {
  Shape<4> shape{};
  CHECK(positional_maps::output_shape(params, in, shape).ok());
  std::vector<T> maps = storage<T>(shape);
  Context context;
  context.cpu_level = level;
  context.parallel = parallel;
  CHECK(positional_maps::run(params, in, TensorView<T, 4>{maps.data(), shape}, context).ok());
  return maps;
}

// Position of a bin's centre on one axis, in float64; 0 where the header promises 0.
double expected(float low, float high, float reference_low, float reference_high, double t) {
  const positional_maps::Affine affine =
      positional_maps::relative_position(low, high, reference_low, reference_high);
  if (affine.alpha == 0.0f && affine.beta == 0.0f) return 0.0;
  const double extent = static_cast<double>(reference_high) - static_cast<double>(reference_low);
  const double position =
      static_cast<double>(low) + t * (static_cast<double>(high) - static_cast<double>(low));
  return 2.0 * (position - static_cast<double>(reference_low)) / extent - 1.0;
}

template <typename T>
void check_values(const positional_maps::Params& params,
                  const positional_maps::Inputs& in,
                  const std::vector<T>& maps) {
  const double tolerance = std::is_same_v<T, Half> ? 0x1p-11 : 1e-6;
  std::size_t next = 0;
  for (std::int64_t r = 0; r < in.boxes.shape[0]; ++r) {
    const float* const box = in.boxes.data + 4 * r;
    const float* const reference = in.reference.data + 4 * r;
    for (int axis = 0; axis < 2; ++axis) {
      for (std::int64_t i = 0; i < params.height; ++i) {
        for (std::int64_t j = 0; j < params.width; ++j) {
          const double t =
              axis == 0 ? (static_cast<double>(j) + 0.5) / static_cast<double>(params.width)
                        : (static_cast<double>(i) + 0.5) / static_cast<double>(params.height);
          const double wanted =
              expected(box[axis], box[axis + 2], reference[axis], reference[axis + 2], t);
          const auto found = static_cast<double>(static_cast<float>(maps[next++]));
          // Boxes far outside their reference lose digits in proportion.
          const double extent = static_cast<double>(reference[axis + 2] - reference[axis]);
          const double reach = (std::abs(static_cast<double>(box[axis])) +
                                std::abs(static_cast<double>(box[axis + 2])) +
                                std::abs(static_cast<double>(reference[axis]))) /
                               extent;
          const double scale = std::isfinite(reach) && reach > 1.0 ? reach : 1.0;
          if (std::is_same_v<T, Half> && std::abs(wanted) > 65504.0) {
            CHECK(std::isinf(found) || std::abs(found) >= 65000.0);
            continue;
          }
          CHECK(wanted == 0.0 ? std::abs(found) <= tolerance * scale
                              : std::abs(found - wanted) <= tolerance * scale);
        }
      }
    }
  }
}

template <typename T>
void check_maps(const std::vector<float>& boxes,
                const std::vector<float>& reference,
                const positional_maps::Params& params) {
  static ThreadPool two(2);
  static ThreadPool three(3);
  const auto count = static_cast<std::int64_t>(boxes.size() / 4);
  const positional_maps::Inputs in{{boxes.data(), {count, 4}}, {reference.data(), {count, 4}}};
  const std::vector<T> wanted = make_maps<T>(params, in, CpuLevel::kBaseline, nullptr);
  check_values(params, in, wanted);
  for (const CpuLevel level : levels()) {
    for (Parallel* const parallel : {static_cast<Parallel*>(nullptr),
                                     static_cast<Parallel*>(&two),
                                     static_cast<Parallel*>(&three)}) {
      const std::vector<T> found = make_maps<T>(params, in, level, parallel);
      if (wanted.empty()) continue;
      CHECK(std::memcmp(found.data(), wanted.data(), wanted.size() * sizeof(T)) == 0);
    }
  }
}

void check_all_types(const std::vector<float>& boxes,
                     const std::vector<float>& reference,
                     const positional_maps::Params& params) {
  check_maps<float>(boxes, reference, params);
  check_maps<Half>(boxes, reference, params);
}

}  // namespace

void test_positional_maps() {
  const std::vector<float> edges = edge_boxes();
  const std::vector<float> reversed(edges.rbegin(), edges.rend());
  for (const std::int64_t bins : {1, 3, 7}) {
    const positional_maps::Inputs in{
        {edges.data(), {static_cast<std::int64_t>(edges.size() / 4), 4}},
        {reversed.data(), {static_cast<std::int64_t>(edges.size() / 4), 4}}};
    const positional_maps::Params params{bins, bins + 1};
    for (const CpuLevel level : levels()) {
      for (const float value : make_maps<float>(params, in, level, nullptr)) {
        CHECK(std::isfinite(value));
      }
    }
  }
  // Boxes inside their reference; the last sizes are beyond the table of bin centres.
  std::vector<float> boxes;
  std::vector<float> reference;
  for (const float value : random_values(500, 3)) {
    const float x = 100.0f + 80.0f * value;
    boxes.insert(boxes.end(), {x, x / 2.0f, x + 15.0f, x});
    reference.insert(reference.end(), {10.0f, 5.0f, 210.0f, 250.0f});
  }
  for (const std::int64_t height : {1, 2, 7, 14}) {
    for (const std::int64_t width : {1, 3, 7, 16, 33}) {
      check_all_types(boxes, reference, {height, width});
    }
  }
  boxes.resize(4 * 9);
  reference.resize(4 * 9);
  check_all_types(boxes, reference, {2, 4096});
  check_all_types(boxes, reference, {67, 65});
  check_all_types({}, {}, {7, 7});
}

}  // namespace vinfer::testing
