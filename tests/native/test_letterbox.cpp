#include "ops/letterbox/letterbox.h"
#include "testing.h"

namespace vinfer::testing {
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

}  // namespace vinfer::testing
