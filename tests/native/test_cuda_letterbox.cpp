#include <cstring>

#include "ops/letterbox/letterbox.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

std::vector<std::uint8_t> random_bytes(std::int64_t count) {
  std::mt19937 generator(3);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator() >> 8);
  return bytes;
}

// Bit for bit: the steps of the arithmetic are the same.
template <typename T, typename In>
void compare(const letterbox::Params& params, const In& in) {
  Shape<3> shape{};
  letterbox::Placement placement;
  CHECK(letterbox::output_shape(params, in, shape, placement).ok());
  std::vector<T> expected = storage<T>(shape);
  std::vector<T> found(expected.size() + 1);
  const Scratch scratch(letterbox::workspace_bytes(params, in, Context{}));
  Context cpu = scratch.context();
  Context cuda;
  cuda.device = Device::kCuda;
  CHECK(letterbox::workspace_bytes(params, in, cuda) == 0);
  CHECK(letterbox::run(params, in, TensorView<T, 3>{expected.data(), shape}, cpu).ok());
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}}) {
    const TensorView<T, 3> out{found.data() + offset, shape};
    CHECK(letterbox::run(params, in, out, cuda).ok());
    CHECK(std::memcmp(expected.data(), out.data, expected.size() * sizeof(T)) == 0);
  }
}

template <typename In>
void compare_outputs(const In& in) {
  for (const auto& [height, width] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {9, 131}, {20, 132}, {32, 24}}) {
    for (const letterbox::Mode mode : {letterbox::Mode::kPad, letterbox::Mode::kStretch}) {
      letterbox::Params params;
      params.height = height;
      params.width = width;
      params.mode = mode;
      params.mean = {1.0, 20.0, 127.5};
      params.std = {3.0, 1.0, 0.7};
      compare<float>(params, in);
      params.layout = letterbox::Layout::kHwc;
      params.swap_channels = true;
      params.align = letterbox::Align::kTopLeft;
      params.rounding = letterbox::Rounding::kFloor;
      compare<float>(params, in);
      compare<Half>(params, in);
    }
  }
}

}  // namespace

void test_cuda_letterbox() {
  for (const auto& [height, width] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {2, 33}, {31, 2}, {20, 132}, {75, 301}}) {
    for (const std::int64_t gap : {0, 5}) {
      const std::int64_t row_bytes = 3 * width;
      // Ends with the last pixel: a read beyond it is found.
      const std::int64_t stride = row_bytes + gap;
      const std::vector<std::uint8_t> image = random_bytes((height - 1) * stride + row_bytes);
      compare_outputs(letterbox::Inputs{{image.data(), {height, width, 3}}, stride});

      const std::int64_t chroma_height = (height + 1) / 2;
      const std::int64_t chroma_bytes = (width + 1) / 2 * 2;
      const std::vector<std::uint8_t> y = random_bytes((height - 1) * (width + gap) + width);
      const std::vector<std::uint8_t> uv =
          random_bytes((chroma_height - 1) * (chroma_bytes + gap) + chroma_bytes);
      letterbox::Nv12Inputs nv12;
      nv12.y = y.data();
      nv12.uv = uv.data();
      nv12.height = height;
      nv12.width = width;
      nv12.y_stride_bytes = width + gap;
      nv12.uv_stride_bytes = chroma_bytes + gap;
      nv12.matrix = gap == 0 ? letterbox::ColorMatrix::kBt601 : letterbox::ColorMatrix::kBt2020;
      nv12.full_range = gap == 0;
      compare_outputs(nv12);
    }
  }
}

}  // namespace vinfer::testing
