#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/context.h"
#include "core/host_device.h"
#include "core/status.h"
#include "core/tensor_view.h"

// From a camera's picture to a network's input: resize, pad, normalise and lay out in one pass.
//
// Resizing is bilinear with half-pixel centres, clamped at the border, without antialias.
// Precision: 8-bit in; positions float64; weights, interpolation and output float32. A picture of
// one colour, and a picture that keeps its size, are reproduced exactly before normalisation.
namespace vinfer::letterbox {

enum class Mode { kPad, kStretch };      // keep the aspect ratio and pad, or fill the whole size
enum class Align { kCentre, kTopLeft };  // where the picture sits when padded
enum class Layout { kChw, kHwc };

struct Params {
  std::int64_t height = 640;  // of the output, in [1, kMaxSide]
  std::int64_t width = 640;
  Mode mode = Mode::kPad;
  Align align = Align::kCentre;
  Layout layout = Layout::kChw;
  std::array<double, 3> mean{0.0, 0.0, 0.0};  // on 0..255, of the output's channels
  std::array<double, 3> std{1.0, 1.0, 1.0};   // likewise; finite, not 0
  double pad_value = 114.0;                   // on 0..255, before normalisation
  bool swap_channels = false;                 // BGR from RGB
};

struct Inputs {
  TensorView<const std::uint8_t, 3> image;  // [H, W, 3], H and W >= 1
};

// Where the picture lies in the output, in output pixels.
struct Placement {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t top = 0;
  std::int64_t left = 0;
};

inline constexpr std::int64_t kMaxSide = 32768;

// Checks the arguments, then gives the shape of the output and the placement of the picture.
Status output_shape(const Params& params, const Inputs& in, Shape<3>& shape, Placement& placement);

// Scratch that `run` needs for arguments that `output_shape` accepted, on a context like this one.
std::size_t workspace_bytes(const Params& params, const Inputs& in, const Context& context);

// Output: [3, height, width], or [height, width, 3] with Layout::kHwc.
// T is float or Half.
template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context);

// Two neighbours on one axis: low + (high - low) * fraction, high = min(low + 1, extent - 1).
struct Tap {
  std::int64_t low;
  float fraction;
};

VINFER_HD inline Tap make_tap(std::int64_t target,
                              std::int64_t target_extent,
                              std::int64_t extent) {
  const double scale = static_cast<double>(extent) / static_cast<double>(target_extent);
  double position = (static_cast<double>(target) + 0.5) * scale - 0.5;
  if (position < 0.0) position = 0.0;
  const std::int64_t low = static_cast<std::int64_t>(position);
  if (low >= extent - 1) return Tap{extent - 1, 0.0f};
  return Tap{low, static_cast<float>(position - static_cast<double>(low))};
}

}  // namespace vinfer::letterbox
