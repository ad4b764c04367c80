#pragma once

#include <cmath>
#include <cstdint>

#include "core/context.h"
#include "core/host_device.h"
#include "core/status.h"
#include "core/tensor_view.h"

// Pixel positions of a RoI's bins relative to a reference box, -1 at its low edge and 1 at its high
// one: RoIAlign of a picture of coordinates, in closed form (CoordConv, Liu et al. 2018).
//
// Precision: float32 throughout, evaluated as alpha + beta * t; within 1e-6 of float64 for boxes
// inside their reference.
namespace vinfer::positional_maps {

struct Params {
  std::int64_t height = 7;  // bins, in [1, kMaxBins]
  std::int64_t width = 7;
};

struct Inputs {
  TensorView<const float, 2> boxes;      // [R, 4] xyxy, any unit
  TensorView<const float, 2> reference;  // [R, 4] xyxy in the same unit
};

inline constexpr std::int64_t kMaxBins = 4096;

// Checks the arguments, then gives the shape of the maps: [R, 2, height, width], x before y.
Status output_shape(const Params& params, const Inputs& in, Shape<4>& shape);

// Edges: a zero-area box gives constant maps. A reference below 1e-6 (or inverted) on an axis, or
// a coordinate that is not finite, gives zeros on that axis.
// T is float or Half.
template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 4> maps, Context& context);

// `run` on a GPU, for arguments that it has checked: puts the work on the context's stream.
template <typename T>
Status run_cuda(const Params& params, const Inputs& in, TensorView<T, 4> maps, Context& context);

// Position at t in [0, 1] along the box: alpha + beta * t.
struct Affine {
  float alpha = 0.0f;
  float beta = 0.0f;
};

VINFER_HD inline Affine relative_position(float low,
                                          float high,
                                          float reference_low,
                                          float reference_high) {
  const float extent = reference_high - reference_low;
  const float alpha = 2.0f * (low - reference_low) / extent - 1.0f;
  const float beta = 2.0f * (high - low) / extent;
  const bool valid =
      extent >= 1e-6f && std::isfinite(extent) && std::isfinite(alpha) && std::isfinite(beta);
  return valid ? Affine{alpha, beta} : Affine{};
}

}  // namespace vinfer::positional_maps
