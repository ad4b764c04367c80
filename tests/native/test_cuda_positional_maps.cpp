#include <cstring>

#include "ops/positional_maps/positional_maps.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

template <typename T>
void compare(const positional_maps::Params& params,
             const std::vector<float>& boxes,
             const std::vector<float>& reference) {
  const auto num_boxes = static_cast<std::int64_t>(boxes.size() / 4);
  const positional_maps::Inputs in{{boxes.data(), {num_boxes, 4}},
                                   {reference.data(), {num_boxes, 4}}};
  Shape<4> shape{};
  CHECK(positional_maps::output_shape(params, in, shape).ok());
  std::vector<T> expected = storage<T>(shape);
  // One more element in front: kernels must cope with memory that is not aligned for packs.
  std::vector<T> found(expected.size() + 1);
  Context cpu;
  Context cuda;
  cuda.device = Device::kCuda;
  CHECK(positional_maps::run(params, in, TensorView<T, 4>{expected.data(), shape}, cpu).ok());
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}}) {
    const TensorView<T, 4> maps{found.data() + offset, shape};
    CHECK(positional_maps::run(params, in, maps, cuda).ok());
    const std::size_t bytes = expected.size() * sizeof(T);
    CHECK(bytes == 0 || std::memcmp(expected.data(), maps.data, bytes) == 0);
  }
}

}  // namespace

void test_cuda_positional_maps() {
  const std::vector<float> boxes = edge_boxes();
  std::vector<float> reference(boxes.rbegin(), boxes.rend());
  for (std::size_t i = 0; i < reference.size(); i += 8) {
    for (const std::size_t k : {0u, 1u, 2u, 3u}) reference[i + k] = static_cast<float>(k * 40);
  }
  for (const auto& [height, width] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {7, 7}, {3, 5}, {1, 14}, {16, 1}}) {
    const positional_maps::Params params{height, width};
    compare<float>(params, boxes, reference);
    compare<Half>(params, boxes, reference);
    compare<float>(params, {}, {});
  }
}

}  // namespace vinfer::testing
