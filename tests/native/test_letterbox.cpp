#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "ops/letterbox/letterbox.h"
#include "testing.h"

namespace vinfer::testing {
namespace {

using letterbox::Align;
using letterbox::ColorMatrix;
using letterbox::Inputs;
using letterbox::Layout;
using letterbox::Mode;
using letterbox::Nv12Inputs;
using letterbox::Params;
using letterbox::Placement;
using letterbox::Rounding;
using letterbox::Tap;

// Rows of random bytes in a heap block that ends with the last row, so that a load beyond the
// picture is an ASan report.
struct Rows {
  Rows(std::int64_t height, std::int64_t row_bytes, std::int64_t gap, std::uint32_t seed)
      : stride_bytes(row_bytes + gap),
        size(static_cast<std::size_t>((height - 1) * stride_bytes + row_bytes)),
        data(new std::uint8_t[size]) {
    std::mt19937 generator(seed);
    // Many are 0 or 255, where clamping and rounding have their edges.
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(generator());
      data[i] = static_cast<std::uint8_t>(bits % 4 == 0 ? 0 : bits % 4 == 1 ? 255 : bits >> 8);
    }
  }

  std::int64_t stride_bytes;
  std::size_t size;
  std::unique_ptr<std::uint8_t[]> data;
};

struct Rgb {
  Rgb(std::int64_t height, std::int64_t width, std::int64_t gap, std::uint32_t seed)
      : rows(height, width * 3, gap, seed),
        in{{rows.data.get(), {height, width, 3}}, gap == 0 ? 0 : rows.stride_bytes} {}

  Rows rows;
  Inputs in;
};

struct Nv12 {
  Nv12(std::int64_t height, std::int64_t width, std::int64_t gap, std::uint32_t seed)
      : y(height, width, gap, seed), uv((height + 1) / 2, (width + 1) / 2 * 2, gap, seed + 1) {
    in.y = y.data.get();
    in.uv = uv.data.get();
    in.height = height;
    in.width = width;
    in.y_stride_bytes = gap == 0 ? 0 : y.stride_bytes;
    in.uv_stride_bytes = gap == 0 ? 0 : uv.stride_bytes;
  }

  Rows y;
  Rows uv;
  Nv12Inputs in;
};

std::int64_t height_of(const Inputs& in) { return in.image.shape[0]; }
std::int64_t width_of(const Inputs& in) { return in.image.shape[1]; }
std::int64_t height_of(const Nv12Inputs& in) { return in.height; }
std::int64_t width_of(const Nv12Inputs& in) { return in.width; }

Placement expected_placement(const Params& params, std::int64_t height, std::int64_t width) {
  Placement placement{params.height, params.width, 0, 0};
  if (params.mode == Mode::kStretch) return placement;
  const double half = params.rounding == Rounding::kNearest ? 0.5 : 0.0;
  const auto side = [half](std::int64_t numerator, std::int64_t denominator) {
    const double exact = static_cast<double>(numerator) / static_cast<double>(denominator);
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(exact + half)));
  };
  if (params.width * height <= params.height * width) {
    placement.height = side(height * params.width, width);
  } else {
    placement.width = side(width * params.height, height);
  }
  if (params.align == Align::kCentre) {
    placement.top = (params.height - placement.height) / 2;
    placement.left = (params.width - placement.width) / 2;
  }
  return placement;
}

// The definition, for Real float in the order of operations that kernels keep, and for double.
template <typename Real>
struct Axis {
  Axis(std::int64_t target, std::int64_t target_extent, std::int64_t extent) {
    if constexpr (std::is_same_v<Real, float>) {
      const Tap tap = letterbox::make_tap(target, target_extent, extent);
      low = tap.low;
      fraction = tap.fraction;
    } else {
      const double position = (static_cast<double>(target) + 0.5) * static_cast<double>(extent) /
                                  static_cast<double>(target_extent) -
                              0.5;
      const double inside = std::clamp(position, 0.0, static_cast<double>(extent - 1));
      low = static_cast<std::int64_t>(inside);
      fraction = inside - static_cast<double>(low);
    }
    high = std::min(low + 1, extent - 1);
  }

  std::int64_t low;
  std::int64_t high;
  Real fraction;
};

template <typename Real>
Real sample(const std::uint8_t* plane,
            std::int64_t stride_bytes,
            std::int64_t pixel_bytes,
            const Axis<Real>& y,
            const Axis<Real>& x) {
  const auto column = [&](std::int64_t at) {
    const Real low = plane[y.low * stride_bytes + at * pixel_bytes];
    const Real high = plane[y.high * stride_bytes + at * pixel_bytes];
    return low + (high - low) * y.fraction;
  };
  const Real low = column(x.low);
  const Real high = column(x.high);
  return low + (high - low) * x.fraction;
}

template <typename Real>
std::array<Real, 3> rgb_at(const Inputs& in,
                           const Placement& placement,
                           std::int64_t y,
                           std::int64_t x) {
  const auto& [height, width, channels] = in.image.shape;
  const std::int64_t stride = in.stride_bytes == 0 ? width * 3 : in.stride_bytes;
  const Axis<Real> rows(y, placement.height, height);
  const Axis<Real> columns(x, placement.width, width);
  std::array<Real, 3> rgb{};
  for (std::size_t c = 0; c < 3; ++c) rgb[c] = sample(in.image.data + c, stride, 3, rows, columns);
  return rgb;
}

template <typename Real>
std::array<Real, 3> rgb_at(const Nv12Inputs& in,
                           const Placement& placement,
                           std::int64_t y,
                           std::int64_t x) {
  const std::int64_t chroma_height = (in.height + 1) / 2;
  const std::int64_t chroma_width = (in.width + 1) / 2;
  const Axis<Real> rows(y, placement.height, in.height);
  const Axis<Real> columns(x, placement.width, in.width);
  const Axis<Real> chroma_rows(y, placement.height, chroma_height);
  const Axis<Real> chroma_columns(x, placement.width, chroma_width);
  const std::int64_t y_stride = in.y_stride_bytes == 0 ? in.width : in.y_stride_bytes;
  const std::int64_t uv_stride = in.uv_stride_bytes == 0 ? 2 * chroma_width : in.uv_stride_bytes;
  const Real luma = sample(in.y, y_stride, 1, rows, columns);
  const Real b = sample(in.uv, uv_stride, 2, chroma_rows, chroma_columns) - 128;
  const Real r = sample(in.uv + 1, uv_stride, 2, chroma_rows, chroma_columns) - 128;
  const auto clamped = [](Real value) { return std::clamp<Real>(value, 0, 255); };
  if constexpr (std::is_same_v<Real, float>) {
    const letterbox::YuvToRgb to = letterbox::make_yuv_to_rgb(in.matrix, in.full_range);
    const float scaled = (luma - to.y_offset) * to.y_scale;
    return {clamped(scaled + r * to.red_r),
            clamped((scaled - b * to.green_b) - r * to.green_r),
            clamped(scaled + b * to.blue_b)};
  } else {
    // As the Recommendations write it: E'Y = Kr R + Kg G + Kb B, E'CB = (B - E'Y) / (2 - 2 Kb).
    const std::array<std::array<double, 2>, 3> weights{
        {{0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}}};
    const auto [kr, kb] = weights[static_cast<std::size_t>(in.matrix)];
    const double e_y = in.full_range ? luma / 255.0 : (luma - 16.0) / 219.0;
    const double e_cb = b / (in.full_range ? 255.0 : 224.0);
    const double e_cr = r / (in.full_range ? 255.0 : 224.0);
    const double red = e_y + e_cr * (2.0 - 2.0 * kr);
    const double blue = e_y + e_cb * (2.0 - 2.0 * kb);
    const double green = (e_y - kr * red - kb * blue) / (1.0 - kr - kb);
    return {clamped(red * 255.0), clamped(green * 255.0), clamped(blue * 255.0)};
  }
}

template <typename Real, typename In>
std::vector<Real> expected_output(const Params& params, const In& in, const Placement& placement) {
  std::vector<Real> out(static_cast<std::size_t>(3 * params.height * params.width));
  for (std::int64_t y = 0; y < params.height; ++y) {
    for (std::int64_t x = 0; x < params.width; ++x) {
      const std::int64_t row = y - placement.top;
      const std::int64_t column = x - placement.left;
      const bool inside =
          row >= 0 && row < placement.height && column >= 0 && column < placement.width;
      std::array<Real, 3> value;
      value.fill(static_cast<Real>(params.pad_value));
      if (inside) value = rgb_at<Real>(in, placement, row, column);
      if (inside && params.swap_channels) std::swap(value[0], value[2]);
      for (std::size_t c = 0; c < 3; ++c) {
        const auto channel = static_cast<std::int64_t>(c);
        const std::int64_t at = params.layout == Layout::kHwc
                                    ? (y * params.width + x) * 3 + channel
                                    : (channel * params.height + y) * params.width + x;
        out[static_cast<std::size_t>(at)] =
            (value[c] - static_cast<Real>(params.mean[c])) * static_cast<Real>(1.0 / params.std[c]);
      }
    }
  }
  return out;
}

// Every level with these pools against the scalar float32 formula, bit for bit, and that against
// float64.
template <typename T, typename In>
void check_output(const Params& params, const In& in, const std::vector<Parallel*>& pools) {
  Shape<3> shape{};
  Placement placement;
  CHECK(letterbox::output_shape(params, in, shape, placement).ok());
  const Placement wanted = expected_placement(params, height_of(in), width_of(in));
  CHECK(placement.height == wanted.height && placement.width == wanted.width);
  CHECK(placement.top == wanted.top && placement.left == wanted.left);

  const std::vector<float> expected = expected_output<float>(params, in, placement);
  const std::vector<double> exact = expected_output<double>(params, in, placement);
  double tolerance = 0.0;
  for (const double std : params.std) tolerance = std::max(tolerance, 4e-4 / std::abs(std));
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CHECK(std::abs(static_cast<double>(expected[i]) - exact[i]) <= tolerance);
  }
  std::vector<T> stored;
  for (const float value : expected) stored.push_back(T(value));

  for (const CpuLevel level : levels()) {
    for (Parallel* const pool : pools) {
      std::vector<T> out = storage<T>(shape);
      std::memset(static_cast<void*>(out.data()), 0xff, out.size() * sizeof(T));
      Context wish;
      wish.parallel = pool;
      const Scratch scratch(letterbox::workspace_bytes(params, in, wish));
      Context context = scratch.context();
      context.parallel = pool;
      context.cpu_level = level;
      CHECK(letterbox::run(params, in, TensorView<T, 3>{out.data(), shape}, context).ok());
      CHECK(std::memcmp(out.data(), stored.data(), out.size() * sizeof(T)) == 0);
    }
  }
}

struct Size {
  std::int64_t height;
  std::int64_t width;
};

// From and to: one pixel, tails and short rows of every kind, up, down, by an odd factor (which
// hits pixels exactly), and unchanged.
const std::vector<std::array<Size, 2>> kSizes{
    {{{1, 1}, {5, 19}}},   {{{1, 2}, {3, 40}}},    {{{2, 1}, {33, 4}}},   {{{3, 5}, {1, 1}}},
    {{{7, 20}, {9, 35}}},  {{{6, 21}, {5, 21}}},   {{{5, 22}, {7, 33}}},  {{{5, 24}, {9, 50}}},
    {{{4, 63}, {4, 63}}},  {{{9, 64}, {5, 37}}},   {{{8, 65}, {16, 31}}}, {{{12, 130}, {7, 18}}},
    {{{9, 99}, {3, 33}}},  {{{21, 35}, {21, 35}}}, {{{6, 22}, {6, 22}}},  {{{40, 9}, {17, 52}}},
    {{{4, 200}, {3, 11}}}, {{{30, 40}, {64, 64}}}, {{{5, 150}, {4, 42}}}, {{{6, 120}, {5, 44}}}};

template <typename Picture>
void check_sizes() {
  std::uint32_t seed = 1;
  for (const auto& [from, to] : kSizes) {
    for (int variant = 0; variant < 16; ++variant) {
      Params params;
      params.height = to.height;
      params.width = to.width;
      params.layout = (variant & 1) != 0 ? Layout::kHwc : Layout::kChw;
      params.swap_channels = (variant & 2) != 0;
      params.mode = (variant & 4) != 0 ? Mode::kStretch : Mode::kPad;
      params.align = (variant & 8) != 0 ? Align::kTopLeft : Align::kCentre;
      params.rounding = (variant & 3) == 2 ? Rounding::kFloor : Rounding::kNearest;
      params.mean = {123.675, 116.28, 103.53};
      params.std = {58.395, -57.12, 0.5};
      Picture picture(from.height, from.width, variant % 3, ++seed);
      if constexpr (std::is_same_v<Picture, Nv12>) {
        picture.in.matrix = static_cast<ColorMatrix>(variant % 3);
        picture.in.full_range = (variant & 4) != 0;
      }
      check_output<float>(params, picture.in, {nullptr});
      check_output<Half>(params, picture.in, {nullptr});
    }
  }
}

// Large enough to be split among threads, padding rows included.
template <typename Picture>
void check_threads() {
  ThreadPool two(2);
  ThreadPool three(3);
  Params params;
  params.height = 190;
  params.width = 180;
  params.mean = {1.0, 2.0, 3.0};
  params.std = {255.0, 254.0, 253.0};
  const Picture picture(33, 70, 5, 99);
  check_output<float>(params, picture.in, {nullptr, &two, &three});
  params.layout = Layout::kHwc;
  check_output<Half>(params, picture.in, {&two, &three});
}

// Inside a larger picture: other pixels on all four sides.
void check_crop() {
  const Rgb whole(20, 50, 0, 5);
  const std::int64_t stride = 50 * 3;
  const Inputs crop{{whole.in.image.data + 4 * stride + 11 * 3, {13, 30, 3}}, stride};
  Params params;
  params.height = 24;
  params.width = 32;
  check_output<float>(params, crop, {nullptr});
}

void check_one_colour() {
  for (const std::int64_t height : {1, 2, 37}) {
    for (const std::int64_t width : {1, 3, 50}) {
      // One colour must come out exactly, whatever the sizes.
      const std::vector<std::uint8_t> image(static_cast<std::size_t>(height * width * 3), 200);
      const std::vector<std::uint8_t> uv(
          static_cast<std::size_t>((height + 1) / 2 * ((width + 1) / 2 * 2)), 128);
      const Inputs rgb{{image.data(), {height, width, 3}}};
      Nv12Inputs nv12;
      nv12.y = image.data();
      nv12.uv = uv.data();
      nv12.height = height;
      nv12.width = width;
      nv12.full_range = true;
      for (const std::int64_t target : {1, 2, 33}) {
        Params params;
        params.height = target;
        params.width = target + 5;
        const auto check_with = [&params](const auto& in) {
          Shape<3> shape{};
          Placement placement;
          CHECK(letterbox::output_shape(params, in, shape, placement).ok());
          for (const CpuLevel level : levels()) {
            std::vector<float> out = storage<float>(shape);
            const Scratch scratch(letterbox::workspace_bytes(params, in, Context{}));
            Context context = scratch.context();
            context.cpu_level = level;
            CHECK(
                letterbox::run(params, in, TensorView<float, 3>{out.data(), shape}, context).ok());
            std::int64_t inside = 0;
            for (const float value : out) {
              CHECK(value == 200.0f || value == 114.0f);
              inside += value == 200.0f;
            }
            CHECK(inside == 3 * placement.height * placement.width);
          }
        };
        check_with(rgb);
        check_with(nv12);
      }
    }
  }
}

// The 100 % colour bars of BT.471 as studio-range BT.601 and BT.709 give them in 8 bits.
void check_known_colours() {
  struct Bar {
    ColorMatrix matrix;
    std::array<std::uint8_t, 3> yuv;
    std::array<float, 3> rgb;
  };
  const std::vector<Bar> bars{{ColorMatrix::kBt601, {235, 128, 128}, {255, 255, 255}},
                              {ColorMatrix::kBt601, {16, 128, 128}, {0, 0, 0}},
                              {ColorMatrix::kBt601, {81, 90, 240}, {255, 0, 0}},
                              {ColorMatrix::kBt601, {145, 54, 34}, {0, 255, 0}},
                              {ColorMatrix::kBt601, {41, 240, 110}, {0, 0, 255}},
                              {ColorMatrix::kBt709, {63, 102, 240}, {255, 0, 0}},
                              {ColorMatrix::kBt709, {173, 42, 26}, {0, 255, 0}},
                              {ColorMatrix::kBt709, {32, 240, 118}, {0, 0, 255}}};
  for (const Bar& bar : bars) {
    Nv12Inputs in;
    in.y = bar.yuv.data();
    in.uv = bar.yuv.data() + 1;
    in.height = 1;
    in.width = 1;
    in.matrix = bar.matrix;
    Params params;
    params.height = 1;
    params.width = 1;
    std::array<float, 3> rgb{};
    const Scratch scratch(letterbox::workspace_bytes(params, in, Context{}));
    Context context = scratch.context();
    CHECK(letterbox::run(params, in, TensorView<float, 3>{rgb.data(), {3, 1, 1}}, context).ok());
    // Half a level of chroma is up to 1.1 levels of a colour.
    for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(rgb[c] - bar.rgb[c]) <= 2.0f);
  }
}

void check_refusals() {
  const Rgb rgb(4, 5, 0, 1);
  const Nv12 nv12(4, 5, 0, 1);
  Shape<3> shape{};
  Placement placement;
  const auto refused = [&](const Params& params, const auto& in, const std::string& text) {
    const Status status = letterbox::output_shape(params, in, shape, placement);
    return !status.ok() && status.message().find(text) != std::string::npos;
  };
  Inputs narrow = rgb.in;
  narrow.stride_bytes = 14;
  CHECK(refused({}, narrow, "stride_bytes is 14, expected at least the 15 bytes"));
  Nv12Inputs wrong = nv12.in;
  wrong.y_stride_bytes = 4;
  CHECK(refused({}, wrong, "y_stride_bytes is 4"));
  wrong = nv12.in;
  wrong.uv_stride_bytes = 5;
  CHECK(refused({}, wrong, "uv_stride_bytes is 5, expected at least the 6 bytes"));
  wrong = nv12.in;
  wrong.height = 0;
  CHECK(refused({}, wrong, "height 0"));
  wrong = nv12.in;
  wrong.width = std::numeric_limits<std::int64_t>::max();
  CHECK(refused({}, wrong, "width 9223372036854775807, expected at most 2147483647 pixels a side"));
  Inputs tall = rgb.in;
  tall.image.shape[0] = letterbox::kMaxPictureSide + 1;
  CHECK(refused({}, tall, "height 2147483648 and width 5, expected at most 2147483647"));
  Params params;
  params.std[1] = 0.0;
  CHECK(refused(params, rgb.in, "std[1] is 0"));
  CHECK(refused(params, nv12.in, "std[1] is 0"));

  params = {};
  std::vector<float> out(3);
  Context context;
  Status status =
      letterbox::run(params, nv12.in, TensorView<float, 3>{out.data(), {3, 1, 1}}, context);
  CHECK(status.code() == StatusCode::kInvalidShape);
  params.height = 1;
  params.width = 1;
  status = letterbox::run(params, nv12.in, TensorView<float, 3>{out.data(), {3, 1, 1}}, context);
  CHECK(status.message().find("workspace of 0 bytes") != std::string::npos);
}

}  // namespace

void fuzz_letterbox(std::uint32_t seed, std::int64_t iterations) {
  std::mt19937 generator(seed);
  const auto below = [&generator](std::uint32_t limit) {
    return static_cast<std::int64_t>(generator() % limit);
  };
  ThreadPool two(2);
  for (std::int64_t i = 0; i < iterations; ++i) {
    Params params;
    // Mostly small, for tails and partial vectors; now and then wide.
    params.height = 1 + below(40);
    params.width = 1 + below(below(8) == 0 ? 300 : 60);
    params.mode = static_cast<Mode>(below(2));
    params.align = static_cast<Align>(below(2));
    params.layout = static_cast<Layout>(below(2));
    params.rounding = static_cast<Rounding>(below(2));
    params.swap_channels = below(2) == 1;
    params.pad_value = static_cast<double>(below(256));
    for (std::size_t c = 0; c < 3; ++c) {
      params.mean[c] = static_cast<double>(below(256));
      params.std[c] = 0.25 + static_cast<double>(below(1024)) / 4.0;
    }
    const std::int64_t height = 1 + below(60);
    const std::int64_t width = 1 + below(below(8) == 0 ? 400 : 80);
    const std::int64_t gap = below(3) == 0 ? below(100) : 0;
    const std::vector<Parallel*> pools{&two};
    const Rgb rgb(height, width, gap, static_cast<std::uint32_t>(generator()));
    Nv12 nv12(height, width, gap, static_cast<std::uint32_t>(generator()));
    nv12.in.matrix = static_cast<ColorMatrix>(below(3));
    nv12.in.full_range = below(2) == 1;
    if (below(2) == 0) {
      check_output<float>(params, rgb.in, pools);
      check_output<float>(params, nv12.in, pools);
    } else {
      check_output<Half>(params, rgb.in, pools);
      check_output<Half>(params, nv12.in, pools);
    }
  }
}

void test_letterbox() {
  check_one_colour();
  check_known_colours();
  check_sizes<Rgb>();
  check_sizes<Nv12>();
  check_threads<Rgb>();
  check_threads<Nv12>();
  check_crop();
  check_refusals();
  fuzz_letterbox(1, 100);
}

}  // namespace vinfer::testing
