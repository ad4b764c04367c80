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
// Resizing is bilinear with half-pixel centres, clamped at the border, without antialias: for every
// output pixel and channel, first between the two rows, then between the two columns, then
// (value - mean) * (1 / std).
// Precision: 8-bit in; positions float64; weights, interpolation and colours float32, without FMA,
// so that results are the same bit for bit at every CPU level and for every number of threads; the
// output is float32, or its rounding to float16. A picture of one colour, and a picture that keeps
// its size, are reproduced exactly before normalisation.
namespace vinfer::letterbox {

enum class Mode { kPad, kStretch };      // keep the aspect ratio and pad, or fill the whole size
enum class Align { kCentre, kTopLeft };  // where the picture sits when padded
enum class Layout { kChw, kHwc };
// The side that padding completes, from the exact side * scale; at least 1.
enum class Rounding { kNearest, kFloor };  // floor(side * scale + 1/2), or floor(side * scale)

struct Params {
  std::int64_t height = 640;  // of the output, in [1, kMaxSide]
  std::int64_t width = 640;
  Mode mode = Mode::kPad;
  Align align = Align::kCentre;
  Layout layout = Layout::kChw;
  Rounding rounding = Rounding::kNearest;     // without effect when stretched
  std::array<double, 3> mean{0.0, 0.0, 0.0};  // on 0..255, of the output's channels
  std::array<double, 3> std{1.0, 1.0, 1.0};   // likewise; finite, not 0
  double pad_value = 114.0;                   // on 0..255, before normalisation
  bool swap_channels = false;                 // BGR from RGB
};

struct Inputs {
  TensorView<const std::uint8_t, 3> image;  // [H, W, 3], H and W in [1, kMaxPictureSide]
  // From row to row, at least 3 * W, so that a crop needs no copy; 0: 3 * W.
  std::int64_t stride_bytes = 0;
};

// Weights of E'Y = Kr E'R + Kg E'G + Kb E'B, Kg = 1 - Kr - Kb.
enum class ColorMatrix {
  kBt601,   // Recommendation ITU-R BT.601-7: Kr 0.299, Kb 0.114
  kBt709,   // BT.709-6: Kr 0.2126, Kb 0.0722
  kBt2020,  // BT.2020-2, non-constant luminance: Kr 0.2627, Kb 0.0593
};

// A picture as hardware decoders give it: a plane of Y' and one of alternating C'B and C'R for
// every 2x2 pixels, each sampled bilinearly on its own grid with half-pixel centres (chroma sited
// at the centre of its 2x2 block), then converted to R'G'B' and clamped to [0, 255].
struct Nv12Inputs {
  const std::uint8_t* y = nullptr;   // [height, width]
  const std::uint8_t* uv = nullptr;  // [ceil(height / 2), ceil(width / 2), 2]
  std::int64_t height = 0;           // in [1, kMaxPictureSide], even or odd
  std::int64_t width = 0;
  std::int64_t y_stride_bytes = 0;   // from row to row, at least `width`; 0: `width`
  std::int64_t uv_stride_bytes = 0;  // at least 2 * ceil(width / 2); 0: that
  ColorMatrix matrix = ColorMatrix::kBt709;
  bool full_range = false;  // Y', C'B, C'R on 0..255, not 16..235 and 16..240
};

// Where the picture lies in the output, in output pixels.
struct Placement {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t top = 0;
  std::int64_t left = 0;
};

inline constexpr std::int64_t kMaxSide = 32768;                               // of the output
inline constexpr std::int64_t kMaxPictureSide = (std::int64_t{1} << 31) - 1;  // of what goes in

// Checks the arguments, then gives the shape of the output and the placement of the picture.
Status output_shape(const Params& params, const Inputs& in, Shape<3>& shape, Placement& placement);
Status output_shape(const Params& params,
                    const Nv12Inputs& in,
                    Shape<3>& shape,
                    Placement& placement);

// Scratch that `run` needs for arguments that `output_shape` accepted, on a context like this one.
std::size_t workspace_bytes(const Params& params, const Inputs& in, const Context& context);
std::size_t workspace_bytes(const Params& params, const Nv12Inputs& in, const Context& context);

// Output: [3, height, width], or [height, width, 3] with Layout::kHwc; RGB, or BGR with
// swap_channels (of an RGB image). T is float or Half.
template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context);
template <typename T>
Status run(const Params& params, const Nv12Inputs& in, TensorView<T, 3> out, Context& context);

// `run` on a GPU, for arguments that it has checked: puts the work on the context's stream.
template <typename T>
Status run_cuda(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context);
template <typename T>
Status run_cuda(const Params& params, const Nv12Inputs& in, TensorView<T, 3> out, Context& context);

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

// R'G'B' on 0..255 from the three 8-bit signals:
//   luma = (Y' - y_offset) * y_scale, b = C'B - 128, r = C'R - 128
//   R' = luma + r * red_r;  G' = (luma - b * green_b) - r * green_r;  B' = luma + b * blue_b
// each clamped to [0, 255].
struct YuvToRgb {
  float y_offset;
  float y_scale;
  float red_r;
  float green_b;
  float green_r;
  float blue_b;
};

// The Recommendations define E'CB = (E'B - E'Y) / (2 (1 - Kb)), E'CR = (E'R - E'Y) / (2 (1 - Kr))
// and 8-bit levels of 16 + 219 E'Y and 128 + 224 E'C; full range, by VideoFullRangeFlag of ITU-T
// H.273, is 255 E'Y and 128 + 255 E'C.
inline YuvToRgb make_yuv_to_rgb(ColorMatrix matrix, bool full_range) {
  const double kr = matrix == ColorMatrix::kBt601   ? 0.299
                    : matrix == ColorMatrix::kBt709 ? 0.2126
                                                    : 0.2627;
  const double kb = matrix == ColorMatrix::kBt601   ? 0.114
                    : matrix == ColorMatrix::kBt709 ? 0.0722
                                                    : 0.0593;
  const double kg = 1.0 - kr - kb;
  const double y_scale = full_range ? 1.0 : 255.0 / 219.0;
  const double c_scale = full_range ? 1.0 : 255.0 / 224.0;
  return {full_range ? 0.0f : 16.0f,
          static_cast<float>(y_scale),
          static_cast<float>(2.0 * (1.0 - kr) * c_scale),
          static_cast<float>(2.0 * (1.0 - kb) * kb / kg * c_scale),
          static_cast<float>(2.0 * (1.0 - kr) * kr / kg * c_scale),
          static_cast<float>(2.0 * (1.0 - kb) * c_scale)};
}

}  // namespace vinfer::letterbox
