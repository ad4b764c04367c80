#include "fuzzing.h"
#include "ops/letterbox/letterbox.h"

namespace vinfer::testing {
namespace {

using letterbox::Inputs;
using letterbox::Nv12Inputs;
using letterbox::Params;
using letterbox::Placement;

constexpr std::int64_t kMostPixels = 1 << 14;  // of an output

Params draw_params(Draw& draw) {
  Params params;
  const bool wide = draw.one_in(8);
  params.height = draw.or_extreme(draw.integer(1, wide ? 9 : 60));
  params.width = draw.or_extreme(draw.integer(1, wide ? 1500 : 90));
  params.mode = draw.of({letterbox::Mode::kPad, letterbox::Mode::kStretch});
  params.align = draw.of({letterbox::Align::kCentre, letterbox::Align::kTopLeft});
  params.layout = draw.of({letterbox::Layout::kChw, letterbox::Layout::kHwc});
  params.rounding = draw.of({letterbox::Rounding::kNearest, letterbox::Rounding::kFloor});
  params.swap_channels = draw.coin();
  for (std::size_t c = 0; c < 3; ++c) {
    params.mean[c] = draw.or_extreme(draw.of({0.0, 127.5, 116.28}));
    params.std[c] = draw.or_extreme(draw.of({1.0, 127.5, 57.12, -255.0}));
  }
  params.pad_value = draw.or_extreme(draw.real(0.0, 255.0));
  return params;
}

bool is_valid(const Params& params) {
  const std::int64_t least = std::min(params.height, params.width);
  const std::int64_t most = std::max(params.height, params.width);
  if (least < 1 || most > letterbox::kMaxSide || !std::isfinite(params.pad_value)) return false;
  for (std::size_t c = 0; c < 3; ++c) {
    if (!std::isfinite(params.mean[c]) || !std::isfinite(params.std[c])) return false;
    if (!std::isfinite(1.0f / static_cast<float>(params.std[c]))) return false;
  }
  return 3 * params.height * params.width <= kMaxOutputElements;
}

// A picture in blocks that end with its last pixel.
struct Rgb {
  explicit Rgb(Draw& draw)
      : height(draw.integer(0, 60)),
        width(draw.one_in(6) ? draw.integer(80, 900) : draw.integer(0, 80)),
        stride_bytes(3 * width + (draw.one_in(3) ? draw.integer(1, 40) : 0)),
        bytes(draw, height > 0 ? (height - 1) * stride_bytes + 3 * width : 0) {
    in.image = {bytes.data(), {height, width, 3}};
    in.stride_bytes = stride_bytes == 3 * width && draw.coin() ? 0 : stride_bytes;
  }

  // Whether a wrong length was put in.
  bool draw_flaw(Draw& draw) {
    switch (draw.integer(0, 2)) {
      case 0:
        in.image.shape[2] = draw.of({0, 1, 4, -3});
        return true;
      case 1:
        in.stride_bytes = draw.of({std::int64_t{-1},
                                   3 * width - 1,
                                   -in.stride_bytes,
                                   std::numeric_limits<std::int64_t>::min()});
        return in.stride_bytes != 0;
      default:
        in.image.shape[static_cast<std::size_t>(draw.integer(0, 1))] = draw.unreal_extent();
        return true;
    }
  }

  std::int64_t height;
  std::int64_t width;
  std::int64_t stride_bytes;
  Block<std::uint8_t> bytes;
  Inputs in;
};

struct Nv12 {
  explicit Nv12(Draw& draw)
      : height(draw.integer(0, 60)),
        width(draw.one_in(6) ? draw.integer(80, 900) : draw.integer(0, 80)),
        y_stride_bytes(width + (draw.one_in(3) ? draw.integer(1, 40) : 0)),
        uv_stride_bytes(chroma_bytes() + (draw.one_in(3) ? draw.integer(1, 40) : 0)),
        bytes(draw, height > 0 ? (height - 1) * y_stride_bytes + width : 0),
        chroma(draw, height > 0 ? ((height + 1) / 2 - 1) * uv_stride_bytes + chroma_bytes() : 0) {
    in.y = bytes.data();
    in.uv = chroma.data();
    in.height = height;
    in.width = width;
    in.y_stride_bytes = y_stride_bytes == width && draw.coin() ? 0 : y_stride_bytes;
    in.uv_stride_bytes = uv_stride_bytes == chroma_bytes() && draw.coin() ? 0 : uv_stride_bytes;
    in.matrix = draw.of({letterbox::ColorMatrix::kBt601,
                         letterbox::ColorMatrix::kBt709,
                         letterbox::ColorMatrix::kBt2020});
    in.full_range = draw.coin();
    for (std::uint8_t& byte : chroma) byte = static_cast<std::uint8_t>(draw.integer(0, 255));
  }

  std::int64_t chroma_bytes() const { return (width + 1) / 2 * 2; }

  bool draw_flaw(Draw& draw) {
    switch (draw.integer(0, 2)) {
      case 0:
        in.y_stride_bytes = draw.of({std::int64_t{-1}, width - 1, -in.y_stride_bytes});
        return in.y_stride_bytes != 0;
      case 1:
        in.uv_stride_bytes = draw.of({std::int64_t{-1}, chroma_bytes() - 1, -in.uv_stride_bytes});
        return in.uv_stride_bytes != 0;
      default:
        (draw.coin() ? in.height : in.width) = draw.unreal_extent();
        return true;
    }
  }

  std::int64_t height;
  std::int64_t width;
  std::int64_t y_stride_bytes;
  std::int64_t uv_stride_bytes;
  Block<std::uint8_t> bytes;
  Block<std::uint8_t> chroma;
  Nv12Inputs in;
};

template <typename T, typename In>
Block<T> output_by(
    Draw& draw, const Params& params, const In& in, const Shape<3>& shape, const How& how) {
  Block<T> out(draw, TensorView<T, 3>{nullptr, shape}.size());
  out.mark();
  Context context = how.context();
  const Scratch scratch(letterbox::workspace_bytes(params, in, context));
  context.workspace = scratch.context().workspace;
  CHECK(letterbox::run(params, in, TensorView<T, 3>{out.data(), shape}, context).ok());
  return out;
}

void check_placement(const Params& params, const Placement& placement) {
  CHECK(placement.height >= 1 && placement.width >= 1);
  CHECK(placement.height == params.height || placement.width == params.width);
  const std::int64_t below = params.height - placement.height - placement.top;
  const std::int64_t right = params.width - placement.width - placement.left;
  CHECK(placement.top >= 0 && below >= 0 && placement.left >= 0 && right >= 0);
  if (params.mode == letterbox::Mode::kStretch) CHECK(below == 0 && right == 0);
  const bool centred = params.align == letterbox::Align::kCentre;
  CHECK(centred ? below - placement.top <= 1 : placement.top == 0);
  CHECK(centred ? right - placement.left <= 1 : placement.left == 0);
}

// Every value lies where 0..255 and the padding's colour lie after normalisation.
template <typename T>
void check_range(const Params& params, const Block<T>& out) {
  if (std::abs(params.pad_value) > 1e3) return;
  const double slack = std::is_same_v<T, Half> ? 1.0 : 1e-3;
  const std::int64_t plane = params.height * params.width;
  const bool interleaved = params.layout == letterbox::Layout::kHwc;
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<std::size_t>(interleaved ? i % 3 : i / plane);
    // Rounding beyond these would need a bound of its own.
    if (std::abs(params.mean[c]) > 1e3 || std::abs(std::abs(params.std[c]) - 500.0) > 499.5) {
      continue;
    }
    const double original = number(out[i]) * params.std[c] + params.mean[c];
    CHECK(original >= std::min(0.0, params.pad_value) - slack);
    CHECK(original <= std::max(255.0, params.pad_value) + slack);
  }
}

template <typename T, typename Picture>
void check_valid(Draw& draw, const Params& params, Picture& picture, const Shape<3>& shape) {
  const Block<T> first = output_by<T>(draw, params, picture.in, shape, How{});
  check_range(params, first);
  for (const How& how : other_ways(draw)) {
    CHECK(same(output_by<T>(draw, params, picture.in, shape, how), first));
  }
}

template <typename T, typename Picture>
void check_refusals(Draw& draw, const Params& params, Picture& picture, const Shape<3>& shape) {
  Block<T> out(draw, TensorView<T, 3>{nullptr, shape}.size());
  out.mark();
  Context context = draw.of(other_ways(draw)).context();
  const std::size_t needed = letterbox::workspace_bytes(params, picture.in, context);
  const auto refuse = [&](const Shape<3>& out_shape, std::size_t bytes) {
    const Scratch scratch(bytes);
    context.workspace = scratch.context().workspace;
    const TensorView<T, 3> view{out.data(), out_shape};
    check_refused(letterbox::run(params, picture.in, view, context), out);
  };
  Shape<3> wrong = shape;
  wrong[static_cast<std::size_t>(draw.integer(0, 2))] += draw.of({1, -1, 1000});
  refuse(wrong, needed);
  refuse(shape, needed - 1);
  if (picture.draw_flaw(draw)) refuse(shape, needed);
}

template <typename T, typename Picture>
void fuzz(Draw& draw) {
  const Params params = draw_params(draw);
  Picture picture(draw);
  for (std::uint8_t& byte : picture.bytes) byte = static_cast<std::uint8_t>(draw.integer(0, 255));
  Shape<3> shape{};
  Placement placement;
  const Status status = letterbox::output_shape(params, picture.in, shape, placement);
  CHECK(status.ok() == (is_valid(params) && picture.height > 0 && picture.width > 0));
  if (!status.ok()) {
    Block<T> out(draw, 3);
    out.mark();
    Context context;
    const TensorView<T, 3> view{out.data(), {3, 1, 1}};
    return check_refused(letterbox::run(params, picture.in, view, context), out);
  }
  check_placement(params, placement);
  if (params.height * params.width > kMostPixels) return;
  check_valid<T>(draw, params, picture, shape);
  check_refusals<T>(draw, params, picture, shape);
}

}  // namespace

void fuzz_letterbox(Draw& draw) {
  switch (draw.integer(0, 3)) {
    case 0:
      return fuzz<float, Rgb>(draw);
    case 1:
      return fuzz<Half, Rgb>(draw);
    case 2:
      return fuzz<float, Nv12>(draw);
    default:
      return fuzz<Half, Nv12>(draw);
  }
}

}  // namespace vinfer::testing
