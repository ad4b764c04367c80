// Runs every op under ASan and UBSan over shapes at the edges, each on buffers of exactly the
// promised size, and checks a few values. The values themselves are tested in tests/ops.

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
#include "ops/letterbox/letterbox.h"
#include "ops/positional_maps/positional_maps.h"
#include "ops/roi_align/roi_align.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace {

using namespace vinfer;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

void check(bool condition, const char* text, int line) {
  if (condition) return;
  std::fprintf(stderr, "test_ops.cpp:%d: %s\n", line, text);
  std::exit(1);
}
#define CHECK(condition) check((condition), #condition, __LINE__)

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

std::vector<float> random_values(std::int64_t count, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = uniform(generator);
  return values;
}

// Ordinary, empty, inverted, outside, huge and not finite, in every coordinate.
std::vector<float> edge_boxes() {
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

void test_roi_align() {
  const std::vector<float> boxes = edge_boxes();
  const auto num_rois = static_cast<std::int64_t>(boxes.size() / 4);
  std::vector<std::int64_t> images(static_cast<std::size_t>(num_rois));
  for (std::int64_t r = 0; r < num_rois; ++r) images[static_cast<std::size_t>(r)] = r % 2;
  for (const std::int64_t height : {1, 2, 5, 130}) {
    for (const std::int64_t width : {1, 7}) {
      const Shape<4> feature_shape{2, 2, height, width};
      const std::vector<float> features = random_values(4 * height * width, 1);
      for (const std::int64_t bins : {1, 2, 7}) {
        for (const std::int64_t ratio : {0, 1, 3}) {
          for (const bool aligned : {false, true}) {
            const roi_align::Params params{bins, bins + 1, ratio, 1.0 / 16.0, aligned};
            const roi_align::Inputs<float> in{{features.data(), feature_shape},
                                              {boxes.data(), {num_rois, 4}},
                                              {images.data(), {num_rois}}};
            Shape<4> shape{};
            CHECK(roi_align::output_shape(params, in, shape).ok());
            std::vector<float> pooled = storage<float>(shape);
            roi_align::Outputs<float> out{{pooled.data(), shape}};
            const Scratch scratch(roi_align::workspace_bytes(params, in, Context{}));
            Context context = scratch.context();
            CHECK(roi_align::run(params, in, out, context).ok());
            for (const float value : pooled) CHECK(std::abs(value) <= 1.001f);
          }
        }
      }
    }
  }
}

void test_roi_align_refuses() {
  const std::vector<float> features(2 * 3 * 3, 1.0f);
  const std::vector<float> boxes{0.0f, 0.0f, 3.0f, 3.0f};
  std::vector<float> pooled(4);
  const roi_align::Params params{2, 2, 0, 1.0, true};
  for (const std::int64_t image :
       {std::int64_t{-1}, std::int64_t{2}, std::numeric_limits<std::int64_t>::max()}) {
    const roi_align::Inputs<float> in{
        {features.data(), {2, 1, 3, 3}}, {boxes.data(), {1, 4}}, {&image, {1}}};
    roi_align::Outputs<float> out{{pooled.data(), {1, 1, 2, 2}}};
    const Scratch scratch(roi_align::workspace_bytes(params, in, Context{}));
    Context context = scratch.context();
    CHECK(roi_align::run(params, in, out, context).code() == StatusCode::kInvalidArgument);
  }
  const std::int64_t image = 0;
  const roi_align::Inputs<float> in{
      {features.data(), {2, 1, 3, 3}}, {boxes.data(), {1, 4}}, {&image, {1}}};
  roi_align::Outputs<float> wrong{{pooled.data(), {1, 1, 2, 1}}};
  Context no_workspace;
  CHECK(roi_align::run(params, in, wrong, no_workspace).code() == StatusCode::kInvalidShape);
  roi_align::Outputs<float> right{{pooled.data(), {1, 1, 2, 2}}};
  CHECK(roi_align::run(params, in, right, no_workspace).code() == StatusCode::kInvalidArgument);
  Shape<4> shape{};
  const roi_align::Params huge{4096, 4096, 0, 1.0, true};
  const roi_align::Inputs<float> many{
      {nullptr, {1, std::int64_t{1} << 40, 3, 3}}, {nullptr, {1, 4}}, {nullptr, {1}}};
  CHECK(roi_align::output_shape(huge, many, shape).code() == StatusCode::kOutOfMemory);
}

void test_positional_maps() {
  const std::vector<float> boxes = edge_boxes();
  const auto count = static_cast<std::int64_t>(boxes.size() / 4);
  std::vector<float> reference(boxes.rbegin(), boxes.rend());
  for (const std::int64_t bins : {1, 7}) {
    const positional_maps::Params params{bins, bins + 1};
    const positional_maps::Inputs in{{boxes.data(), {count, 4}}, {reference.data(), {count, 4}}};
    Shape<4> shape{};
    CHECK(positional_maps::output_shape(params, in, shape).ok());
    std::vector<float> maps = storage<float>(shape);
    Context context;
    CHECK(positional_maps::run(params, in, TensorView<float, 4>{maps.data(), shape}, context).ok());
    for (const float value : maps) CHECK(std::isfinite(value));
  }
}

void test_weldon_pool() {
  for (const std::int64_t side : {1, 2, 13}) {
    const Shape<4> shape{2, 3, side, side};
    std::vector<float> maps = random_values(6 * side * side, 2);
    maps[0] = kNan;
    maps[static_cast<std::size_t>(side * side)] = kInfinity;
    maps.back() = -kInfinity;
    for (const std::int64_t k_max : {1, 16, 1000}) {
      for (const std::int64_t k_min : {0, 1, 1000}) {
        for (const bool want_indices : {false, true}) {
          const weldon_pool::Params params{k_max, k_min, 0.5};
          const weldon_pool::Inputs<float> in{{maps.data(), shape}};
          weldon_pool::OutputShapes shapes;
          CHECK(weldon_pool::output_shapes(params, in, shapes).ok());
          std::vector<float> pooled = storage<float>(shapes.pooled);
          std::vector<std::int64_t> high = storage<std::int64_t>(shapes.max_indices);
          std::vector<std::int64_t> low = storage<std::int64_t>(shapes.min_indices);
          weldon_pool::Outputs<float> out{{pooled.data(), shapes.pooled}, {}, {}};
          if (want_indices) {
            out.max_indices = {high.data(), shapes.max_indices};
            out.min_indices = {low.data(), shapes.min_indices};
          }
          const Scratch scratch(weldon_pool::workspace_bytes(params, in, Context{}));
          Context context = scratch.context();
          CHECK(weldon_pool::run(params, in, out, context).ok());
          CHECK(std::isnan(pooled[0]));
          if (want_indices) CHECK(high[0] == -1);
        }
      }
    }
  }
}

void test_letterbox() {
  for (const std::int64_t height : {1, 2, 37}) {
    for (const std::int64_t width : {1, 3, 50}) {
      // One colour must come out exactly, whatever the sizes.
      const std::vector<std::uint8_t> image(static_cast<std::size_t>(height * width * 3), 200);
      const letterbox::Inputs in{{image.data(), {height, width, 3}}};
      for (const std::int64_t target : {1, 2, 33}) {
        for (const letterbox::Mode mode : {letterbox::Mode::kPad, letterbox::Mode::kStretch}) {
          for (const letterbox::Layout layout :
               {letterbox::Layout::kChw, letterbox::Layout::kHwc}) {
            letterbox::Params params;
            params.height = target;
            params.width = target + 5;
            params.mode = mode;
            params.layout = layout;
            Shape<3> shape{};
            letterbox::Placement placement;
            CHECK(letterbox::output_shape(params, in, shape, placement).ok());
            std::vector<float> out = storage<float>(shape);
            const Scratch scratch(letterbox::workspace_bytes(params, in, Context{}));
            Context context = scratch.context();
            CHECK(
                letterbox::run(params, in, TensorView<float, 3>{out.data(), shape}, context).ok());
            std::int64_t inside = 0;
            for (const float value : out) {
              CHECK(value == 200.0f || value == 114.0f);
              inside += value == 200.0f;
            }
            CHECK(inside == 3 * placement.height * placement.width);
          }
        }
      }
    }
  }
}

}  // namespace

int main() {
  test_roi_align();
  test_roi_align_refuses();
  test_positional_maps();
  test_weldon_pool();
  test_letterbox();
  std::puts("all native tests passed");
  return 0;
}
