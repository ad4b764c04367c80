#include "ops/roi_align/roi_align.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

struct Case {
  Shape<4> features;
  std::int64_t pooled_height;
  std::int64_t pooled_width;
  std::int64_t sampling_ratio;
  bool aligned;
};

// In the order of the kernel's ways: one part and window; several windows; several tiles of
// channels; bands of bins; samples and columns that don't fit at once.
const Case kCases[] = {
    {{2, 3, 5, 7}, 7, 7, 0, true},
    {{2, 3, 5, 7}, 2, 3, 2, false},
    {{1, 1, 1, 1}, 1, 2, 3, true},
    {{2, 2, 40, 30}, 7, 7, 0, true},
    {{2, 2, 40, 30}, 7, 7, 2, true},
    {{1, 130, 6, 9}, 7, 7, 2, true},
    {{1, 70, 20, 20}, 3, 4, 0, false},
    {{1, 65, 30, 40}, 14, 14, 2, true},
    {{1, 2, 9, 150}, 2, 60, 0, true},
    {{1, 2, 120, 150}, 1, 1, 0, false},
    {{1, 2, 20, 30}, 2, 3, 150, true},
};

std::vector<float> boxes_for(const Case& c, std::uint32_t seed) {
  std::vector<float> boxes{
      0.0f, 0.0f, static_cast<float>(c.features[3] * 16), static_cast<float>(c.features[2] * 16)};
  const std::vector<float> random = random_values(4 * 6, seed);
  for (std::size_t i = 0; i < random.size(); i += 4) {
    const float x = (random[i] + 1.0f) * 8.0f * static_cast<float>(c.features[3]);
    const float y = (random[i + 1] + 1.0f) * 8.0f * static_cast<float>(c.features[2]);
    boxes.insert(boxes.end(),
                 {x, y, x + random[i + 2] * 100.0f + 60.0f, y + random[i + 3] * 90.0f + 80.0f});
  }
  // A few of the odd ones, others in every case.
  const std::vector<float> odd = edge_boxes();
  for (std::size_t i = seed % 41; i < odd.size() / 4; i += 41) {
    boxes.insert(boxes.end(),
                 odd.begin() + static_cast<std::ptrdiff_t>(4 * i),
                 odd.begin() + static_cast<std::ptrdiff_t>(4 * i + 4));
  }
  return boxes;
}

template <typename T>
std::vector<T> pool(const roi_align::Params& params,
                    const roi_align::Inputs<T>& in,
                    Device device) {
  Shape<4> shape{};
  CHECK(roi_align::output_shape(params, in, shape).ok());
  std::vector<T> pooled = storage<T>(shape);
  roi_align::Outputs<T> out{{pooled.data(), shape}, 0};
  Context where;
  where.device = device;
  const std::size_t bytes = roi_align::workspace_bytes(params, in, where);
  CHECK(device == Device::kCpu || bytes == 0);
  const Scratch scratch(bytes);
  Context context = scratch.context();
  context.device = device;
  CHECK(roi_align::run(params, in, out, context).ok());
  CHECK(device == Device::kCpu || out.num_capped == 0);
  return pooled;
}

// Values are in [-1, 1], so that the bound is relative to the largest.
bool are_close(float found, float expected, float tolerance) {
  if (std::isnan(expected)) return std::isnan(found);
  return found == expected || std::abs(found - expected) <= tolerance;
}

template <typename T>
void compare(const Case& c, const std::vector<float>& values, std::uint32_t seed, float tolerance) {
  const std::vector<float> boxes = boxes_for(c, seed);
  const auto num_rois = static_cast<std::int64_t>(boxes.size() / 4);
  std::vector<std::int64_t> images(static_cast<std::size_t>(num_rois));
  for (std::size_t r = 0; r < images.size(); ++r) {
    images[r] = static_cast<std::int64_t>(r) % c.features[0];
  }
  std::vector<T> features;
  for (const float value : values) features.push_back(T(value));
  const roi_align::Params params{
      c.pooled_height, c.pooled_width, c.sampling_ratio, 1.0 / 16.0, c.aligned};
  roi_align::Inputs<T> in{
      {features.data(), c.features}, {boxes.data(), {num_rois, 4}}, {images.data(), {num_rois}}};
  const std::vector<T> expected = pool(params, in, Device::kCpu);
  // Where no index can be refused, the RoI gives zeros.
  images[1] = c.features[0];
  images[2] = -1;
  const std::vector<T> found = pool(params, in, Device::kCuda);
  const auto roi_size = static_cast<std::size_t>(c.features[1] * c.pooled_height * c.pooled_width);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool refused = i / roi_size == 1 || i / roi_size == 2;
    const auto value = refused ? 0.0f : static_cast<float>(expected[i]);
    CHECK(are_close(static_cast<float>(found[i]), value, tolerance));
  }
}

void compare_gradients(const Case& c, std::uint32_t seed) {
  const std::vector<float> boxes = boxes_for(c, seed);
  const auto num_rois = static_cast<std::int64_t>(boxes.size() / 4);
  const std::vector<std::int64_t> images(static_cast<std::size_t>(num_rois), c.features[0] - 1);
  const Shape<4> pooled_shape{num_rois, c.features[1], c.pooled_height, c.pooled_width};
  const std::vector<float> grad_pooled =
      random_values(TensorView<float, 4>{nullptr, pooled_shape}.size(), seed);
  const roi_align::Params params{
      c.pooled_height, c.pooled_width, c.sampling_ratio, 1.0 / 16.0, c.aligned};
  const roi_align::BackwardInputs<float> in{{grad_pooled.data(), pooled_shape},
                                            {boxes.data(), {num_rois, 4}},
                                            {images.data(), {num_rois}}};
  const auto spread = [&](Device device) {
    std::vector<float> grad(storage<float>(c.features).size(), kNan);
    Context where;
    where.device = device;
    const Scratch scratch(roi_align::backward_workspace_bytes(params, in, c.features, where));
    Context context = scratch.context();
    context.device = device;
    CHECK(roi_align::run_backward(params, in, {grad.data(), c.features}, context).ok());
    return grad;
  };
  const std::vector<float> expected = spread(Device::kCpu);
  const std::vector<float> found = spread(Device::kCuda);
  float largest = 0.0f;
  for (const float value : expected) largest = std::fmax(largest, std::abs(value));
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(are_close(found[i], expected[i], 1e-5f * largest));
  }
}

}  // namespace

void test_cuda_roi_align() {
  std::uint32_t seed = 0;
  for (const Case& c : kCases) {
    const std::int64_t count = TensorView<float, 4>{nullptr, c.features}.size();
    std::vector<float> values = random_values(count, ++seed);
    compare<float>(c, values, seed, 2e-6f);
    compare<Half>(c, values, seed, 0x1p-11f);
    if (count >= 70) {
      values[0] = kNan;
      values[static_cast<std::size_t>(count - 2)] = kInfinity;
      compare<float>(c, values, seed, 2e-6f);
    }
    compare_gradients(c, seed);
  }
  const roi_align::Inputs<float> none{{nullptr, {1, 2, 3, 3}}, {nullptr, {0, 4}}, {nullptr, {0}}};
  CHECK(pool(roi_align::Params{}, none, Device::kCuda).empty());
}

}  // namespace vinfer::testing
