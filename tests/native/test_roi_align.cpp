#include <algorithm>
#include <cstring>
#include <utility>

#include "ops/roi_align/roi_align.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

using roi_align::Params;

// Boxes and images of a call, and its features' shape.
struct Case {
  Params params;
  Shape<4> feature_shape;
  std::vector<float> boxes;
  std::vector<std::int64_t> images;

  std::int64_t num_rois() const { return static_cast<std::int64_t>(images.size()); }
  Shape<4> pooled_shape() const {
    return {num_rois(), feature_shape[1], params.pooled_height, params.pooled_width};
  }
  TensorView<const float, 2> box_view() const { return {boxes.data(), {num_rois(), 4}}; }
  TensorView<const std::int64_t, 1> image_view() const { return {images.data(), {num_rois()}}; }
};

// How a call is made; its results must not depend on it.
struct How {
  CpuLevel level = CpuLevel::kBaseline;
  Parallel* parallel = nullptr;
};

Context context_for(const How& how) {
  Context context;
  context.cpu_level = how.level;
  context.parallel = how.parallel;
  return context;
}

std::vector<How> all_ways() {
  static ThreadPool two(2);
  static ThreadPool three(3);
  std::vector<How> ways;
  for (const CpuLevel level : levels()) {
    for (Parallel* const parallel : {static_cast<Parallel*>(nullptr),
                                     static_cast<Parallel*>(&two),
                                     static_cast<Parallel*>(&three)}) {
      ways.push_back({level, parallel});
    }
  }
  return ways;
}

// Vectors of exactly the needed size, so that ASan sees what is read or written beyond.
template <typename T>
std::vector<T> pooled_of(const Case& given, const std::vector<T>& features, const How& how) {
  const roi_align::Inputs<T> in{
      {features.data(), given.feature_shape}, given.box_view(), given.image_view()};
  std::vector<T> pooled = storage<T>(given.pooled_shape());
  roi_align::Outputs<T> out{{pooled.data(), given.pooled_shape()}};
  Context context = context_for(how);
  const Scratch scratch(roi_align::workspace_bytes(given.params, in, context));
  context.workspace = scratch.context().workspace;
  CHECK(roi_align::run(given.params, in, out, context).ok());
  return pooled;
}

template <typename T>
std::vector<T> gradient_of(const Case& given, const std::vector<T>& grad_pooled, const How& how) {
  const roi_align::BackwardInputs<T> in{
      {grad_pooled.data(), given.pooled_shape()}, given.box_view(), given.image_view()};
  std::vector<T> gradient = storage<T>(given.feature_shape);
  std::fill(gradient.begin(), gradient.end(), static_cast<T>(kNan));  // must be overwritten
  Context context = context_for(how);
  const Scratch scratch(
      roi_align::backward_workspace_bytes(given.params, in, given.feature_shape, context));
  context.workspace = scratch.context().workspace;
  const TensorView<T, 4> out{gradient.data(), given.feature_shape};
  CHECK(roi_align::run_backward(given.params, in, out, context).ok());
  return gradient;
}

double number(double value) { return value; }
double number(float value) { return value; }
double number(Half value) { return static_cast<float>(value); }

// The same bits; a NaN's sign and payload are the machine's affair.
template <typename T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(number(a[i])) && std::isnan(number(b[i]))) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return true;
}

template <typename T>
std::vector<T> rounded(const std::vector<float>& values) {
  std::vector<T> result;
  for (const float value : values) result.push_back(static_cast<T>(value));
  return result;
}

// Sample positions of one axis, as published: what is discontinuous in float32, the rest in
// float64. Outside samples are NaN.
std::vector<double> sample_positions(const Params& params,
                                     float low,
                                     float high,
                                     std::int64_t bins,
                                     std::int64_t extent,
                                     std::int64_t& samples) {
  const double offset = params.aligned ? 0.5 : 0.0;
  const double start = low * params.spatial_scale - offset;
  double size = high * params.spatial_scale - offset - start;
  const auto scale32 = static_cast<float>(params.spatial_scale);
  const float start32 = low * scale32 - static_cast<float>(offset);
  float size32 = high * scale32 - static_cast<float>(offset) - start32;
  if (!params.aligned) {
    size = std::max(size, 1.0);
    size32 = std::max(size32, 1.0f);
  }
  const float bin32 = size32 / static_cast<float>(bins);
  samples = params.sampling_ratio;
  if (samples == 0) {
    samples = std::clamp<std::int64_t>(
        std::llround(std::ceil(bin32)), 0, roi_align::max_adaptive_samples(extent, bins));
  }
  std::vector<double> positions;
  for (std::int64_t bin = 0; bin < bins; ++bin) {
    for (std::int64_t i = 0; i < samples; ++i) {
      const float position32 = start32 + static_cast<float>(bin) * bin32 +
                               (static_cast<float>(i) + 0.5f) * bin32 / static_cast<float>(samples);
      const bool inside = position32 >= -1.0f && position32 <= static_cast<float>(extent);
      const double in_bins =
          static_cast<double>(bin) + (static_cast<double>(i) + 0.5) / static_cast<double>(samples);
      positions.push_back(inside ? start + in_bins * size / static_cast<double>(bins) : kNan);
    }
  }
  return positions;
}

double bilinear(const double* map, std::int64_t height, std::int64_t width, double y, double x) {
  if (std::isnan(y) || std::isnan(x)) return 0.0;
  y = std::clamp(y, 0.0, static_cast<double>(height - 1));
  x = std::clamp(x, 0.0, static_cast<double>(width - 1));
  const auto top = static_cast<std::int64_t>(y);
  const auto left = static_cast<std::int64_t>(x);
  const double down = y - static_cast<double>(top);
  const double across = x - static_cast<double>(left);
  const auto row = [&](std::int64_t at) {
    const double value = map[at * width + left] * (1.0 - across);
    return across > 0.0 ? value + map[at * width + left + 1] * across : value;
  };
  const double value = row(top) * (1.0 - down);
  return down > 0.0 ? value + row(top + 1) * down : value;
}

// Bin by bin, sample by sample, in float64.
std::vector<double> reference(const Case& given, const std::vector<double>& features) {
  const auto [num_images, channels, height, width] = given.feature_shape;
  const Params& params = given.params;
  std::vector<double> pooled;
  for (std::int64_t r = 0; r < given.num_rois(); ++r) {
    const float* const box = given.boxes.data() + 4 * r;
    std::int64_t down = 0;
    std::int64_t across = 0;
    const std::vector<double> y =
        sample_positions(params, box[1], box[3], params.pooled_height, height, down);
    const std::vector<double> x =
        sample_positions(params, box[0], box[2], params.pooled_width, width, across);
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t image = given.images[static_cast<std::size_t>(r)];
      const double* const map = features.data() + (image * channels + c) * height * width;
      for (std::int64_t i = 0; i < params.pooled_height; ++i) {
        for (std::int64_t j = 0; j < params.pooled_width; ++j) {
          double total = 0.0;
          for (std::int64_t a = i * down; a < (i + 1) * down; ++a) {
            for (std::int64_t b = j * across; b < (j + 1) * across; ++b) {
              total += bilinear(map,
                                height,
                                width,
                                y[static_cast<std::size_t>(a)],
                                x[static_cast<std::size_t>(b)]);
            }
          }
          pooled.push_back(down * across == 0 ? 0.0 : total / static_cast<double>(down * across));
        }
      }
    }
  }
  return pooled;
}

float uniform(std::mt19937& random, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(random);
}

std::int64_t integer(std::mt19937& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

// Boxes of all sizes, some of which reach over the edges, for a map at `scale`.
Case random_case(std::mt19937& random,
                 const Params& params,
                 const Shape<4>& feature_shape,
                 std::int64_t num_rois) {
  Case given{params, feature_shape, {}, {}};
  const float scale = 1.0f / static_cast<float>(params.spatial_scale);
  const float height = static_cast<float>(feature_shape[2]) * scale;
  const float width = static_cast<float>(feature_shape[3]) * scale;
  for (std::int64_t r = 0; r < num_rois; ++r) {
    const float x = uniform(random, -0.1f, 1.0f) * width;
    const float y = uniform(random, -0.1f, 1.0f) * height;
    const float size = uniform(random, 0.02f, 1.1f);
    given.boxes.insert(given.boxes.end(),
                       {x, y, x + size * width * uniform(random, 0.2f, 1.0f), y + size * height});
    given.images.push_back(integer(random, 0, feature_shape[0] - 1));
  }
  return given;
}

template <typename T>
void check_close(const std::vector<T>& found,
                 const std::vector<double>& expected,
                 double absolute,
                 double relative) {
  CHECK(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = absolute + relative * std::abs(expected[i]);
    CHECK(std::abs(number(found[i]) - expected[i]) <= bound);
  }
}

template <typename T>
void check_values(const Case& given, double absolute, double relative) {
  const std::int64_t count = TensorView<T, 4>{nullptr, given.feature_shape}.size();
  const std::vector<T> features = rounded<T>(random_values(count, 5));  // |f| <= 1
  std::vector<double> exact;
  for (const T value : features) exact.push_back(number(value));
  const std::vector<T> first = pooled_of(given, features, How{});
  check_close(first, reference(given, exact), absolute, relative);
  for (const How& how : all_ways()) CHECK(same(pooled_of(given, features, how), first));
}

// Against float64: 1e-5 of the largest feature for sums in float32, half a unit in the last place
// more where the result is rounded to Half.
void test_roi_align_values() {
  std::mt19937 random(1);
  const std::vector<Shape<4>> shapes{{2, 19, 9, 14}, {1, 33, 13, 27}, {1, 3, 40, 90}, {2, 5, 1, 1}};
  for (const Shape<4>& shape : shapes) {
    for (const auto& [height, width] : {std::pair{7, 7}, {14, 14}, {2, 3}, {1, 20}}) {
      for (const std::int64_t ratio : {0, 2}) {
        const Params params{height, width, ratio, 1.0 / 16.0, ratio == 0 || height == 7};
        const Case given = random_case(random, params, shape, 5);
        check_values<float>(given, 1e-5, 0.0);
        check_values<Half>(given, 1e-5, 0x1p-11);
        check_values<double>(given, 1e-12, 0.0);
      }
    }
  }
}

// Each RoI alone, or each channel alone, gives what all together give.
void test_roi_align_splits() {
  std::mt19937 random(2);
  const Params params{7, 7, 0, 1.0 / 16.0, true};
  const Case given = random_case(random, params, {1, 21, 12, 40}, 300);  // more than one group
  const std::vector<float> features = random_values(21 * 12 * 40, 6);
  for (const CpuLevel level : levels()) {
    const std::vector<float> all = pooled_of(given, features, How{level});
    const std::vector<float> channel(features.begin() + 20 * 480, features.end());
    for (std::int64_t r = 0; r < given.num_rois(); r += 37) {
      const float* const box = given.boxes.data() + 4 * r;
      Case one{params, given.feature_shape, std::vector<float>(box, box + 4), {0}};
      const auto begin = all.begin() + r * 21 * 49;
      CHECK(same(pooled_of(one, features, How{level}), {begin, begin + 21 * 49}));
      one.feature_shape[1] = 1;
      CHECK(same(pooled_of(one, channel, How{level}), {begin + 20 * 49, begin + 21 * 49}));
    }
  }
}

// A value that is not finite reaches the bins that sample it and no other.
void test_roi_align_keeps_nan_in_place() {
  std::mt19937 random(3);
  for (const std::int64_t width : {5, 12, 30, 80}) {
    for (const std::int64_t bins : {3, 7, 14}) {
      const Shape<4> shape{1, 2, 6, width};
      const Case given = random_case(random, {bins, bins, 2, 1.0 / 16.0, true}, shape, 3);
      const std::vector<float> ordinary = random_values(2 * 6 * width, 7);
      for (int round = 0; round < 12; ++round) {
        std::vector<float> features = ordinary;
        for (int spoiled = 0; spoiled < 3; ++spoiled) {
          const std::int64_t at = integer(random, 0, 12 * width - 1);
          features[static_cast<std::size_t>(at)] = spoiled == 0 ? kInfinity : kNan;
        }
        const std::vector<double> expected =
            reference(given, std::vector<double>(features.begin(), features.end()));
        for (const CpuLevel level : levels()) {
          const std::vector<float> pooled = pooled_of(given, features, How{level});
          for (std::size_t i = 0; i < pooled.size(); ++i) {
            CHECK(std::isfinite(pooled[i]) == std::isfinite(expected[i]));
          }
        }
      }
    }
  }
}

template <typename T>
void check_adjoint(const Case& given, double bound) {
  const std::int64_t count = TensorView<T, 4>{nullptr, given.feature_shape}.size();
  const std::int64_t pooled_count = TensorView<T, 4>{nullptr, given.pooled_shape()}.size();
  const std::vector<T> features = rounded<T>(random_values(count, 8));
  const std::vector<T> grad_pooled = rounded<T>(random_values(pooled_count, 9));
  const std::vector<T> pooled = pooled_of(given, features, How{});
  const std::vector<T> gradient = gradient_of(given, grad_pooled, How{});
  double forward = 0.0;
  for (std::size_t i = 0; i < pooled.size(); ++i) {
    forward += number(pooled[i]) * number(grad_pooled[i]);
  }
  double backward = 0.0;
  for (std::size_t i = 0; i < features.size(); ++i) {
    backward += number(features[i]) * number(gradient[i]);
  }
  CHECK(std::abs(forward - backward) <= bound * static_cast<double>(pooled_count));
  for (const How& how : all_ways()) CHECK(same(gradient_of(given, grad_pooled, how), gradient));
}

// <g, A f> = <A^T g, f>: A is linear, so its adjoint is its gradient.
void test_roi_align_backward() {
  std::mt19937 random(4);
  for (const std::int64_t ratio : {0, 2}) {
    for (const bool aligned : {false, true}) {
      const Params params{3, 5, ratio, 1.0 / 16.0, aligned};
      const Case given = random_case(random, params, {3, 20, 11, 30}, 12);
      check_adjoint<float>(given, 1e-6);
      check_adjoint<double>(given, 1e-14);
    }
  }
  const Case no_rois{{2, 2, 2, 1.0, true}, {1, 2, 3, 4}, {}, {}};
  CHECK(same(gradient_of<float>(no_rois, {}, How{}), std::vector<float>(24, 0.0f)));
  const roi_align::BackwardInputs<float> in{{nullptr, {0, 2, 2, 2}}, {nullptr, {0, 4}}, {}};
  const auto code = [&](const Shape<4>& feature_shape) {
    return roi_align::check_backward(no_rois.params, in, feature_shape).code();
  };
  CHECK(code({1, 2, 3, 4}) == StatusCode::kOk);
  CHECK(code({1, 3, 3, 4}) == StatusCode::kInvalidShape);
  CHECK(code({-1, 2, 3, 4}) == StatusCode::kInvalidShape);
  CHECK(code({1 << 20, 2, 1 << 20, 4}) == StatusCode::kOutOfMemory);
}

// A huge adaptive box costs what its rows and columns cost, and its mean is right.
void test_roi_align_huge_box() {
  const Case given{{7, 7, 0, 1.0, true}, {1, 1, 1000, 1000}, {0.5f, 0.5f, 1000.5f, 1000.5f}, {0}};
  std::vector<float> ramp;
  for (std::int64_t i = 0; i < 1000 * 1000; ++i) ramp.push_back(static_cast<float>(i % 1000));
  for (const CpuLevel level : levels()) {
    const std::vector<float> pooled = pooled_of(given, ramp, How{level});
    for (std::size_t i = 0; i < 48; ++i) {  // the last column reaches over the edge
      const double centre = (static_cast<double>(i % 7) + 0.5) * 1000.0 / 7.0;
      if (i % 7 < 6) CHECK(std::abs(pooled[i] - centre) <= 1e-2);
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

}  // namespace

// Random shapes, attributes and boxes: every way of calling gives the same, within its memory.
void fuzz_roi_align(std::uint32_t seed, int iterations) {
  std::mt19937 random(seed);
  const std::vector<How> ways = all_ways();
  const std::vector<float> edges = edge_boxes();
  for (int iteration = 0; iteration < iterations; ++iteration) {
    const bool wide = integer(random, 0, 7) == 0;
    const Shape<4> shape{integer(random, 1, 3),
                         integer(random, 0, 20),
                         integer(random, 1, wide ? 5 : 20),
                         integer(random, 1, wide ? 150 : 40)};
    Params params;
    params.pooled_height = integer(random, 1, 9);
    params.pooled_width = integer(random, 1, wide ? 40 : 17);
    params.sampling_ratio = integer(random, 0, 4);
    params.spatial_scale = 1.0 / static_cast<double>(integer(random, 1, 32));
    params.aligned = integer(random, 0, 1) == 0;
    Case given = random_case(random, params, shape, integer(random, 0, 5));
    for (float& coordinate : given.boxes) {
      if (integer(random, 0, 15) != 0) continue;
      const auto last = static_cast<std::int64_t>(edges.size()) - 1;
      coordinate = edges[static_cast<std::size_t>(integer(random, 0, last))];
    }
    const std::int64_t count = TensorView<float, 4>{nullptr, shape}.size();
    std::vector<float> features =
        random_values(count, seed + static_cast<std::uint32_t>(iteration));
    const std::vector<double> exact(features.begin(), features.end());
    const How how = ways[static_cast<std::size_t>(
        integer(random, 0, static_cast<std::int64_t>(ways.size()) - 1))];

    const std::vector<float> pooled = pooled_of(given, features, How{});
    check_close(pooled, pooled_of(given, exact, how), 1e-5, 0.0);
    const std::vector<float> gradient = gradient_of(given, pooled, How{});
    CHECK(same(gradient_of(given, pooled, how), gradient));
    for (float& value : features) {
      if (integer(random, 0, 30) == 0) value = integer(random, 0, 1) == 0 ? kNan : -kInfinity;
    }
    CHECK(same(pooled_of(given, features, how), pooled_of(given, features, How{})));
    const std::vector<Half> halves = rounded<Half>(features);
    CHECK(same(pooled_of(given, halves, how), pooled_of(given, halves, How{})));
  }
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
  test_roi_align_refuses();
  test_roi_align_values();
  test_roi_align_splits();
  test_roi_align_keeps_nan_in_place();
  test_roi_align_backward();
  test_roi_align_huge_box();
  fuzz_roi_align(10, 200);
}

}  // namespace vinfer::testing
