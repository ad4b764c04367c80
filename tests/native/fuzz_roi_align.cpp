#include "fuzzing.h"
#include "ops/roi_align/roi_align.h"

namespace vinfer::testing {
namespace {

using roi_align::Params;

constexpr std::int64_t kMostTaps = 1 << 17;  // of all boxes of a call

// What the boxes of a call and its settings are, apart from element types.
struct Case {
  Params params;
  Shape<4> features;
  Block<float> boxes;
  Block<std::int64_t> images;

  std::int64_t num_rois() const { return images.size(); }
  TensorView<const float, 2> box_view() const { return {boxes.data(), {num_rois(), 4}}; }
  TensorView<const std::int64_t, 1> image_view() const { return {images.data(), {num_rois()}}; }
};

Params draw_params(Draw& draw) {
  Params params;
  const bool long_side = draw.one_in(20);
  params.pooled_height = draw.or_extreme(long_side ? draw.integer(1, 4096) : draw.integer(1, 17));
  params.pooled_width = draw.or_extreme(long_side ? draw.integer(1, 3) : draw.integer(1, 17));
  params.sampling_ratio =
      draw.or_extreme(draw.one_in(20) ? draw.integer(5, 1024) : draw.integer(0, 4));
  params.spatial_scale = draw.or_extreme(1.0 / static_cast<double>(draw.integer(1, 32)));
  params.aligned = draw.coin();
  return params;
}

Shape<4> draw_feature_shape(Draw& draw) {
  Shape<4> shape{draw.integer(0, 3), draw.integer(0, 9), draw.integer(0, 20), draw.integer(0, 40)};
  if (draw.one_in(3)) shape[1] = draw.integer(10, 70);
  if (draw.one_in(8)) shape[static_cast<std::size_t>(draw.integer(2, 3))] = draw.integer(41, 700);
  for (std::size_t i = 0; i < 4; ++i) {
    // An empty batch takes no boxes, so it is seldom of interest.
    if (shape[i] == 0 && !draw.one_in(6)) shape[i] = 1;
  }
  while (!is_affordable(shape)) shape[1] /= 2;
  return shape;
}

// Boxes of all sizes, some of which reach over the edges of the map or are not boxes at all.
Block<float> draw_boxes(Draw& draw,
                        const Params& params,
                        const Shape<4>& features,
                        std::int64_t n) {
  Block<float> boxes(draw, 4 * n);
  const double pixel = params.spatial_scale > 0.0 ? 1.0 / params.spatial_scale : 1.0;
  const double height = static_cast<double>(features[2]) * pixel;
  const double width = static_cast<double>(features[3]) * pixel;
  const bool bad = draw.coin();
  for (std::int64_t r = 0; r < n; ++r) {
    const double x = draw.real(-0.2, 1.0) * width;
    const double y = draw.real(-0.2, 1.0) * height;
    const double size = draw.one_in(10) ? 0.0 : draw.real(0.0, 1.2);
    const double corners[] = {
        x, y, x + size * width * draw.real(0.1, 1.0), y + size * height * draw.real(0.1, 1.0)};
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto coordinate = static_cast<float>(corners[i]);
      boxes[4 * r + i] = bad ? draw.or_extreme(coordinate) : coordinate;
    }
    if (draw.one_in(12)) std::swap(boxes[4 * r], boxes[4 * r + 2]);
    if (draw.one_in(12)) std::swap(boxes[4 * r + 1], boxes[4 * r + 3]);
  }
  return boxes;
}

Case draw_case(Draw& draw) {
  const Params params = draw_params(draw);
  const Shape<4> features = draw_feature_shape(draw);
  // More than 256 are pooled in groups.
  const std::int64_t num_rois = draw.one_in(20)  ? draw.integer(200, 300)
                                : draw.one_in(4) ? draw.integer(6, 40)
                                                 : draw.integer(0, 5);
  Case given{params,
             features,
             draw_boxes(draw, params, features, num_rois),
             Block<std::int64_t>(draw, num_rois)};
  for (std::int64_t& image : given.images) {
    image = features[0] > 0 ? draw.integer(0, features[0] - 1) : 0;
  }
  return given;
}

bool is_valid(const Case& given) {
  const Params& p = given.params;
  const std::int64_t least = std::min(p.pooled_height, p.pooled_width);
  const std::int64_t most = std::max(p.pooled_height, p.pooled_width);
  if (least < 1 || most > roi_align::kMaxBins) return false;
  if (p.sampling_ratio < 0 || p.sampling_ratio > roi_align::kMaxSamples) return false;
  if (!(p.spatial_scale > 0.0) || std::isinf(p.spatial_scale)) return false;
  if (given.num_rois() > 0 && (given.features[2] < 1 || given.features[3] < 1)) return false;
  const std::int64_t maps =
      std::max<std::int64_t>(given.num_rois(), 1) * std::max<std::int64_t>(given.features[1], 1);
  return maps * p.pooled_height * p.pooled_width <= kMaxOutputElements;
}

bool is_affordable_case(const Case& given, const Shape<4>& pooled) {
  if (!is_affordable(pooled)) return false;
  const std::int64_t samples = std::max<std::int64_t>(given.params.sampling_ratio, 2);
  const std::int64_t bins = given.params.pooled_height + given.params.pooled_width;
  return given.num_rois() * bins * samples <= kMostTaps;
}

// Boxes whose adaptive grid is cut down on either axis.
std::int64_t num_capped(const Case& given) {
  const Params& p = given.params;
  std::int64_t count = 0;
  for (std::int64_t r = 0; r < given.num_rois(); ++r) {
    const float* const box = given.boxes.data() + 4 * r;
    const auto across =
        roi_align::make_interval(p, box[0], box[2], p.pooled_width, given.features[3]);
    const auto down =
        roi_align::make_interval(p, box[1], box[3], p.pooled_height, given.features[2]);
    count += across.capped || down.capped;
  }
  return count;
}

template <typename T>
struct Pooled {
  Block<T> values;
  std::int64_t num_capped;
};

template <typename T>
Pooled<T> pooled_by(Draw& draw, const Case& given, const Block<T>& features, const How& how) {
  const roi_align::Inputs<T> in{
      {features.data(), given.features}, given.box_view(), given.image_view()};
  Shape<4> shape{};
  CHECK(roi_align::output_shape(given.params, in, shape).ok());
  Block<T> values(draw, TensorView<T, 4>{nullptr, shape}.size());
  values.mark();
  roi_align::Outputs<T> out{{values.data(), shape}};
  Context context = how.context();
  const Scratch scratch(roi_align::workspace_bytes(given.params, in, context));
  context.workspace = scratch.context().workspace;
  CHECK(roi_align::run(given.params, in, out, context).ok());
  return {values, out.num_capped};
}

template <typename T>
Block<T> gradient_by(Draw& draw, const Case& given, const Block<T>& grad_pooled, const How& how) {
  const Params& p = given.params;
  const roi_align::BackwardInputs<T> in{
      {grad_pooled.data(), {given.num_rois(), given.features[1], p.pooled_height, p.pooled_width}},
      given.box_view(),
      given.image_view()};
  CHECK(roi_align::check_backward(p, in, given.features).ok());
  Block<T> gradient(draw, TensorView<T, 4>{nullptr, given.features}.size());
  gradient.mark();
  Context context = how.context();
  const Scratch scratch(roi_align::backward_workspace_bytes(p, in, given.features, context));
  context.workspace = scratch.context().workspace;
  const TensorView<T, 4> out{gradient.data(), given.features};
  CHECK(roi_align::run_backward(p, in, out, context).ok());
  return gradient;
}

// <g, A f> = <A^T g, f>.
void check_adjoint(const Block<double>& features,
                   const Block<double>& pooled,
                   const Block<double>& grad_pooled,
                   const Block<double>& gradient) {
  double forward = 0.0;
  double backward = 0.0;
  for (std::int64_t i = 0; i < pooled.size(); ++i) forward += pooled[i] * grad_pooled[i];
  for (std::int64_t i = 0; i < features.size(); ++i) backward += features[i] * gradient[i];
  CHECK(std::abs(forward - backward) <= 1e-13 * static_cast<double>(pooled.size()));
}

template <typename T>
void check_backward(Draw& draw, const Case& given, std::int64_t pooled_size) {
  const Block<T> grad_pooled = ordinary_values<T>(draw, pooled_size);
  const Block<T> gradient = gradient_by(draw, given, grad_pooled, How{});
  for (const T value : gradient) CHECK(std::isfinite(value));
  for (const How& how : other_ways(draw)) {
    CHECK(same(gradient_by(draw, given, grad_pooled, how), gradient));
  }
  if constexpr (std::is_same_v<T, double>) {
    const Block<double> features = ordinary_values<double>(draw, gradient.size());
    const Block<double> pooled = pooled_by(draw, given, features, How{}).values;
    check_adjoint(features, pooled, grad_pooled, gradient);
  }
}

template <typename T>
void check_valid(Draw& draw, const Case& given) {
  const std::int64_t count = TensorView<T, 4>{nullptr, given.features}.size();
  Block<T> features = ordinary_values<T>(draw, count);
  const Block<double> exact = converted<double>(draw, features);
  const Pooled<T> first = pooled_by(draw, given, features, How{});
  const Pooled<double> expected = pooled_by(draw, given, exact, How{});
  CHECK(first.num_capped == (first.values.size() > 0 ? num_capped(given) : 0));
  const double relative = std::is_same_v<T, Half> ? 0x1p-11 : 0.0;
  for (std::int64_t i = 0; i < first.values.size(); ++i) {
    const double difference = std::abs(number(first.values[i]) - expected.values[i]);
    CHECK(difference <= 1e-5 + relative * std::abs(expected.values[i]));
  }
  const bool spoiled = draw.one_in(3);
  if (spoiled) spoil(draw, features);
  const Pooled<T> wanted = spoiled ? pooled_by(draw, given, features, How{}) : first;
  for (const How& how : other_ways(draw)) {
    const Pooled<T> found = pooled_by(draw, given, features, how);
    CHECK(same(found.values, wanted.values));
    CHECK(found.num_capped == wanted.num_capped);
  }
  if constexpr (!std::is_same_v<T, Half>) check_backward<T>(draw, given, first.values.size());
}

// One thing wrong with arguments that are else right.
template <typename T>
void check_refusals(Draw& draw, Case& given, const Shape<4>& shape) {
  const std::int64_t count = TensorView<T, 4>{nullptr, given.features}.size();
  const Block<T> features = ordinary_values<T>(draw, count);
  Block<T> pooled(draw, TensorView<T, 4>{nullptr, shape}.size());
  pooled.mark();
  Block<T> gradient(draw, count);
  gradient.mark();
  const How how = draw.of(other_ways(draw));

  const auto forward = [&](const Shape<4>& out_shape, std::size_t missing_bytes) {
    const roi_align::Inputs<T> in{
        {features.data(), given.features}, given.box_view(), given.image_view()};
    Context context = how.context();
    const Scratch scratch(roi_align::workspace_bytes(given.params, in, context) - missing_bytes);
    context.workspace = scratch.context().workspace;
    roi_align::Outputs<T> out{{pooled.data(), out_shape}};
    check_refused(roi_align::run(given.params, in, out, context), pooled);
  };
  const auto backward = [&](const Shape<4>& grad_shape, std::size_t missing_bytes) {
    if constexpr (!std::is_same_v<T, Half>) {
      const roi_align::BackwardInputs<T> in{
          {pooled.data(), grad_shape}, given.box_view(), given.image_view()};
      Context context = how.context();
      const Scratch scratch(
          roi_align::backward_workspace_bytes(given.params, in, given.features, context) -
          missing_bytes);
      context.workspace = scratch.context().workspace;
      const TensorView<T, 4> out{gradient.data(), given.features};
      check_refused(roi_align::run_backward(given.params, in, out, context), gradient);
    }
  };

  Shape<4> wrong = shape;
  wrong[static_cast<std::size_t>(draw.integer(0, 3))] += draw.of({1, -1, 1000});
  forward(wrong, 0);
  backward(wrong, 0);
  if (pooled.size() == 0 || gradient.size() == 0) return;
  forward(shape, 1);
  backward(shape, 1);
  std::int64_t& image = given.images[draw.integer(0, given.num_rois() - 1)];
  image = draw.of({std::int64_t{-1},
                   given.features[0],
                   std::numeric_limits<std::int64_t>::min(),
                   std::numeric_limits<std::int64_t>::max()});
  forward(shape, 0);
  backward(shape, 0);
}

// Settings out of range: neither call looks at anything else, or writes.
template <typename T>
void check_invalid(Draw& draw, const Case& given) {
  Block<T> out(draw, 1);
  out.mark();
  const Shape<4> one{1, 1, 1, 1};
  const roi_align::Inputs<T> in{{nullptr, given.features}, given.box_view(), given.image_view()};
  roi_align::Outputs<T> pooled{{out.data(), one}};
  Context context;
  check_refused(roi_align::run(given.params, in, pooled, context), out);
  if constexpr (!std::is_same_v<T, Half>) {
    const roi_align::BackwardInputs<T> back{
        {out.data(), one}, given.box_view(), given.image_view()};
    const TensorView<T, 4> gradient{out.data(), given.features};
    check_refused(roi_align::run_backward(given.params, back, gradient, context), out);
  }
}

// Shapes that no array has: the checks must not count beyond 64 bits.
template <typename T>
void check_unreal_shapes(Draw& draw) {
  const roi_align::Params params{draw.integer(1, 4096), draw.integer(1, 4096), 0, 1.0, true};
  Shape<4> features{};
  for (std::int64_t& extent : features) {
    extent = draw.coin() ? draw.integer(0, 2) : draw.unreal_extent();
  }
  const Shape<4> pooled{0, features[1], params.pooled_height, params.pooled_width};
  const roi_align::BackwardInputs<T> in{{nullptr, pooled}, {nullptr, {0, 4}}, {nullptr, {0}}};
  Block<T> gradient(draw, 16);
  gradient.mark();
  const TensorView<T, 4> out{gradient.data(), features};
  Context context;
  const Status status = roi_align::run_backward(params, in, out, context);
  if (!status.ok()) return check_refused(status, gradient);
  CHECK(std::all_of(features.begin(), features.end(), [](auto extent) { return extent <= 2; }));
  const auto zeros = std::count(gradient.begin(), gradient.end(), T{0});
  CHECK(zeros == out.size());
}

template <typename T>
void fuzz(Draw& draw) {
  Case given = draw_case(draw);
  const roi_align::Inputs<T> in{{nullptr, given.features}, given.box_view(), given.image_view()};
  Shape<4> shape{};
  const Status status = roi_align::output_shape(given.params, in, shape);
  CHECK(status.ok() == is_valid(given));
  if (!status.ok()) return check_invalid<T>(draw, given);
  if (!is_affordable_case(given, shape)) return;
  if (given.features[0] > 0 || given.num_rois() == 0) check_valid<T>(draw, given);
  check_refusals<T>(draw, given, shape);
}

}  // namespace

void fuzz_roi_align(Draw& draw) {
  switch (draw.integer(0, 2)) {
    case 0:
      return fuzz<float>(draw);
    case 1:
      return fuzz<Half>(draw);
    default:
      if (draw.one_in(4)) check_unreal_shapes<double>(draw);
      return fuzz<double>(draw);
  }
}

}  // namespace vinfer::testing
