#include "ops/positional_maps/positional_maps.h"
#include "testing.h"

namespace vinfer::testing {
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

}  // namespace vinfer::testing
