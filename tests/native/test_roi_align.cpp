#include "ops/roi_align/roi_align.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

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
}

}  // namespace vinfer::testing
