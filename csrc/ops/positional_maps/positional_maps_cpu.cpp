#include <algorithm>

#include "core/half.h"
#include "ops/positional_maps/positional_maps.h"

namespace vinfer::positional_maps {
namespace {

float bin_centre(const Affine& position, std::int64_t bin, std::int64_t bins) {
  const float t = (static_cast<float>(bin) + 0.5f) / static_cast<float>(bins);
  return position.alpha + position.beta * t;
}

}  // namespace

Status output_shape(const Params& params, const Inputs& in, Shape<4>& shape) {
  if (in.boxes.shape[1] != 4) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: boxes has shape ",
                   in.boxes.shape,
                   ", expected [R, 4] with x1, y1, x2, y2");
  }
  if (in.reference.shape != in.boxes.shape) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: reference has shape ",
                   in.reference.shape,
                   ", expected ",
                   in.boxes.shape,
                   ", one a box");
  }
  if (std::min(params.height, params.width) < 1 ||
      std::max(params.height, params.width) > kMaxBins) {
    return failure(StatusCode::kInvalidArgument,
                   "positional_maps: size is (",
                   params.height,
                   ", ",
                   params.width,
                   "), expected 1 to ",
                   kMaxBins,
                   " bins a side");
  }
  shape = {in.boxes.shape[0], 2, params.height, params.width};
  return check_output_size("positional_maps", shape);
}

template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 4> maps, Context&) {
  Shape<4> shape{};
  if (Status status = output_shape(params, in, shape); !status.ok()) return status;
  if (maps.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: the output has shape ",
                   maps.shape,
                   ", expected ",
                   shape);
  }
  T* map = maps.data;
  for (std::int64_t r = 0; r < in.boxes.shape[0]; ++r) {
    const float* box = in.boxes.data + 4 * r;
    const float* reference = in.reference.data + 4 * r;
    const Affine across = relative_position(box[0], box[2], reference[0], reference[2]);
    const Affine down = relative_position(box[1], box[3], reference[1], reference[3]);
    for (std::int64_t i = 0; i < params.height; ++i) {
      for (std::int64_t j = 0; j < params.width; ++j) {
        *map++ = T(bin_centre(across, j, params.width));
      }
    }
    for (std::int64_t i = 0; i < params.height; ++i) {
      map = std::fill_n(map, params.width, T(bin_centre(down, i, params.height)));
    }
  }
  return {};
}

template Status run(const Params&, const Inputs&, TensorView<float, 4>, Context&);
template Status run(const Params&, const Inputs&, TensorView<Half, 4>, Context&);

}  // namespace vinfer::positional_maps
