#include "ops/weldon_pool/weldon_pool.h"
#include "testing.h"

namespace vinfer::testing {
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

}  // namespace vinfer::testing
