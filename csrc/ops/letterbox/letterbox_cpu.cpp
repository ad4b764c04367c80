#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/half.h"
#include "core/parallel.h"
#include "ops/letterbox/letterbox.h"
#include "ops/letterbox/letterbox_cpu_kernels.h"

namespace vinfer::letterbox {
namespace {

// numerator / denominator, exactly; at least one pixel.
std::int64_t rounded_side(Rounding rounding, std::int64_t numerator, std::int64_t denominator) {
  const std::int64_t side = rounding == Rounding::kFloor
                                ? numerator / denominator
                                : (2 * numerator + denominator) / (2 * denominator);
  return std::max<std::int64_t>(1, side);
}

Placement place(const Params& params, std::int64_t height, std::int64_t width) {
  Placement placement{params.height, params.width, 0, 0};
  if (params.mode == Mode::kStretch) return placement;
  // Integers: a float scale would make the size of some pictures depend on rounding.
  if (params.width * height <= params.height * width) {
    placement.height = rounded_side(params.rounding, height * params.width, width);
  } else {
    placement.width = rounded_side(params.rounding, width * params.height, height);
  }
  if (params.align == Align::kCentre) {
    placement.top = (params.height - placement.height) / 2;
    placement.left = (params.width - placement.width) / 2;
  }
  return placement;
}

Format make_format(const Params& params) {
  Format format{};
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto i = static_cast<std::size_t>(c);
    format.mean[c] = static_cast<float>(params.mean[i]);
    format.inverse_std[c] = static_cast<float>(1.0 / params.std[i]);
    format.padding[c] =
        (static_cast<float>(params.pad_value) - format.mean[c]) * format.inverse_std[c];
  }
  format.plane = params.height * params.width;
  format.interleaved = params.layout == Layout::kHwc;
  format.swap_channels = params.swap_channels;
  return format;
}

// One plane of a picture, whose pixels are `pixel_bytes` wide.
struct Plane {
  const std::uint8_t* data;
  std::int64_t height;
  std::int64_t width;
  std::int64_t pixel_bytes;
  std::int64_t stride_bytes;

  std::int64_t row_bytes() const { return width * pixel_bytes; }
};

std::int64_t or_else(std::int64_t stride_bytes, std::int64_t row_bytes) {
  return stride_bytes == 0 ? row_bytes : stride_bytes;
}

Plane rgb_plane(const Inputs& in) {
  const auto& [height, width, channels] = in.image.shape;
  return {in.image.data, height, width, kChannels, or_else(in.stride_bytes, width * kChannels)};
}

Plane y_plane(const Nv12Inputs& in) {
  return {in.y, in.height, in.width, 1, or_else(in.y_stride_bytes, in.width)};
}

Plane uv_plane(const Nv12Inputs& in) {
  const std::int64_t width = (in.width + 1) / 2;
  return {in.uv, (in.height + 1) / 2, width, 2, or_else(in.uv_stride_bytes, width * 2)};
}

RowPair make_rows(const Plane& plane, std::int64_t target, std::int64_t target_height) {
  const Tap tap = make_tap(target, target_height, plane.height);
  const std::uint8_t* const low = plane.data + tap.low * plane.stride_bytes;
  return {low, tap.low + 1 < plane.height ? low + plane.stride_bytes : low, tap.fraction};
}

std::size_t taps_bytes(const Params& params) {
  return Workspace::bytes<std::int64_t>(params.width + kMaxLanes) +
         Workspace::bytes<float>(params.width + kMaxLanes);
}

std::size_t pair_bytes(const Params& params) {
  return Workspace::bytes<std::uint8_t>(params.width / 2 * kPairBytes);
}

// Fills in the pairs of columns, as far as they reach: none where the picture is much reduced.
void add_pairs(ColumnTaps& taps, std::int64_t row_bytes, Workspace& workspace) {
  taps.pair_shuffles = nullptr;
  taps.num_paired = 0;
  if (taps.exact) return;
  // The two pixels of the second column may be the last of the 16 bytes.
  constexpr std::int64_t kMaxDistance = kPairBytes - 2 * kChannels;
  std::int64_t num_pairs = 0;
  while (2 * num_pairs + 1 < taps.num_before_tail) {
    const std::int64_t* const pair = taps.offsets + 2 * num_pairs;
    if (pair[1] - pair[0] > kMaxDistance || pair[0] > row_bytes - kPairBytes) break;
    ++num_pairs;
  }
  taps.num_paired = 2 * num_pairs / kMaxLanes * kMaxLanes;
  std::uint8_t* const shuffles = workspace.take<std::uint8_t>(taps.num_paired / 2 * kPairBytes);
  taps.pair_shuffles = shuffles;
  for (std::int64_t pair = 0; pair < taps.num_paired / 2; ++pair) {
    const std::int64_t second = taps.offsets[2 * pair + 1] - taps.offsets[2 * pair];
    const std::int64_t pixels[] = {0, kChannels, second, second + kChannels};
    std::uint8_t* to = shuffles + pair_order(pair) * kPairBytes;
    for (const std::int64_t pixel : pixels) {
      for (std::int64_t byte = 0; byte < 4; ++byte) {
        *to++ = static_cast<std::uint8_t>((pixel + byte) % kPairBytes);
      }
    }
  }
}

// Taps whose offsets all count from the start of the row: what lies in the tail may depend on
// another plane.
struct MutableTaps {
  std::int64_t* offsets;
  ColumnTaps taps;
};

MutableTaps make_taps(const Plane& plane, std::int64_t num_columns, Workspace& workspace) {
  std::int64_t* const offsets = workspace.take<std::int64_t>(num_columns + kMaxLanes);
  float* const fractions = workspace.take<float>(num_columns + kMaxLanes);
  bool exact = true;
  for (std::int64_t x = 0; x < num_columns; ++x) {
    const Tap tap = make_tap(x, num_columns, plane.width);
    offsets[x] = tap.low * plane.pixel_bytes;
    fractions[x] = tap.fraction;
    exact = exact && tap.fraction == 0.0f;
  }
  std::fill_n(offsets + num_columns, kMaxLanes, 0);
  std::fill_n(fractions + num_columns, kMaxLanes, 0.0f);

  const std::int64_t row_bytes = plane.row_bytes();
  const bool short_row = row_bytes <= kMaxCopiedRowBytes;
  const std::int64_t tail_bytes = short_row ? row_bytes : kTailBytes;
  std::int64_t num_before_tail = 0;
  if (!short_row) {
    const std::int64_t* const first_in_tail =
        std::upper_bound(offsets, offsets + num_columns, row_bytes - kTapBytes);
    num_before_tail = first_in_tail - offsets;
  }
  return {offsets,
          {offsets,
           fractions,
           num_columns,
           num_before_tail,
           row_bytes - tail_bytes,
           tail_bytes,
           0,
           nullptr,
           exact,
           exact && num_columns == plane.width}};
}

ColumnTaps with_tail(const MutableTaps& made, std::int64_t num_before_tail) {
  ColumnTaps taps = made.taps;
  taps.num_before_tail = num_before_tail;
  for (std::int64_t x = num_before_tail; x < taps.num_columns; ++x) {
    made.offsets[x] -= taps.tail_begin;
  }
  return taps;
}

Status check_params(const Params& params) {
  if (std::min(params.height, params.width) < 1 ||
      std::max(params.height, params.width) > kMaxSide) {
    return failure(StatusCode::kInvalidArgument,
                   "letterbox: size is (",
                   params.height,
                   ", ",
                   params.width,
                   "), expected (height, width) of 1 to ",
                   kMaxSide,
                   " pixels a side");
  }
  for (std::size_t c = 0; c < 3; ++c) {
    if (!std::isfinite(params.mean[c])) {
      return failure(StatusCode::kInvalidArgument,
                     "letterbox: mean[",
                     c,
                     "] is ",
                     params.mean[c],
                     ", expected a finite value on the scale 0 to 255");
    }
    if (!std::isfinite(params.std[c]) || params.std[c] == 0.0 ||
        !std::isfinite(1.0f / static_cast<float>(params.std[c]))) {
      return failure(StatusCode::kInvalidArgument,
                     "letterbox: std[",
                     c,
                     "] is ",
                     params.std[c],
                     ", expected a finite divisor on the scale 0 to 255, not 0");
    }
  }
  if (!std::isfinite(params.pad_value)) {
    return failure(StatusCode::kInvalidArgument,
                   "letterbox: pad_value is ",
                   params.pad_value,
                   ", expected a finite value on the scale 0 to 255");
  }
  return {};
}

Status shape_and_placement(const Params& params,
                           std::int64_t height,
                           std::int64_t width,
                           Shape<3>& shape,
                           Placement& placement) {
  if (Status status = check_params(params); !status.ok()) return status;
  shape = params.layout == Layout::kHwc ? Shape<3>{params.height, params.width, kChannels}
                                        : Shape<3>{kChannels, params.height, params.width};
  placement = place(params, height, width);
  return check_output_size("letterbox", shape);
}

// Keeps the integers of the placement in 64 bits and, on a GPU, the number of a column in 32.
Status check_picture_size(std::int64_t height, std::int64_t width) {
  if (std::max(height, width) <= kMaxPictureSide) return {};
  return failure(StatusCode::kInvalidShape,
                 "letterbox: the picture is of height ",
                 height,
                 " and width ",
                 width,
                 ", expected at most ",
                 kMaxPictureSide,
                 " pixels a side");
}

Status check_stride(const char* name, std::int64_t stride_bytes, std::int64_t row_bytes) {
  if (stride_bytes == 0 || stride_bytes >= row_bytes) return {};
  return failure(StatusCode::kInvalidArgument,
                 "letterbox: ",
                 name,
                 " is ",
                 stride_bytes,
                 ", expected at least the ",
                 row_bytes,
                 " bytes of a row, or 0 for rows without a gap; copy a flipped picture first");
}

template <typename T, typename In>
Status check_call(const Params& params,
                  const In& in,
                  const TensorView<T, 3>& out,
                  const Context& context,
                  Placement& placement) {
  Shape<3> shape{};
  if (Status status = output_shape(params, in, shape, placement); !status.ok()) return status;
  if (out.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "letterbox: the output has shape ",
                   out.shape,
                   ", expected ",
                   shape);
  }
  return check_workspace("letterbox", context, workspace_bytes(params, in, context));
}

template <typename T>
Kernels<T> select_kernels(CpuLevel level) {
  if constexpr (std::is_same_v<T, Half>) {
    return VINFER_SELECT_LEVEL(level, half_kernels)();
  } else {
    return VINFER_SELECT_LEVEL(level, float_kernels)();
  }
}

// Every row of the output: padding, and rows of the picture by resample(y, out_row), where out_row
// is the output's element of the picture's column 0.
template <typename T, typename Resample>
void write_rows(const Params& params,
                const Placement& placement,
                const Format& format,
                T* out,
                const Context& context,
                const Kernels<T>& kernels,
                const Resample& resample) {
  const std::int64_t column = format.interleaved ? kChannels : 1;
  const std::int64_t num_tasks =
      num_tasks_for(context.parallel, params.height, params.height * params.width * kChannels);
  parallel_for(context.parallel,
               params.height,
               num_tasks,
               [&](std::int64_t, std::int64_t first, std::int64_t last) {
                 for (std::int64_t row = first; row < last; ++row) {
                   T* const out_row = out + row * params.width * column;
                   const std::int64_t y = row - placement.top;
                   if (y < 0 || y >= placement.height) {
                     kernels.fill_row(format, 0, params.width, out_row);
                     continue;
                   }
                   kernels.fill_row(format, 0, placement.left, out_row);
                   resample(y, out_row + placement.left * column);
                   kernels.fill_row(
                       format, placement.left + placement.width, params.width, out_row);
                 }
               });
}

}  // namespace

Status output_shape(const Params& params, const Inputs& in, Shape<3>& shape, Placement& placement) {
  const auto& [height, width, channels] = in.image.shape;
  if (height < 1 || width < 1 || channels != kChannels) {
    return failure(StatusCode::kInvalidShape,
                   "letterbox: image has shape ",
                   in.image.shape,
                   ", expected [H, W, 3] with at least one pixel; drop the alpha channel with "
                   "image[..., :3], repeat a grey one with np.repeat(image, 3, axis=2)");
  }
  if (Status status = check_picture_size(height, width); !status.ok()) return status;
  Status status = check_stride("stride_bytes", in.stride_bytes, width * kChannels);
  if (!status.ok()) return status;
  return shape_and_placement(params, height, width, shape, placement);
}

Status output_shape(const Params& params,
                    const Nv12Inputs& in,
                    Shape<3>& shape,
                    Placement& placement) {
  if (in.height < 1 || in.width < 1) {
    return failure(StatusCode::kInvalidShape,
                   "letterbox: the NV12 picture is of height ",
                   in.height,
                   " and width ",
                   in.width,
                   ", expected at least one pixel");
  }
  if (Status status = check_picture_size(in.height, in.width); !status.ok()) return status;
  Status status = check_stride("y_stride_bytes", in.y_stride_bytes, in.width);
  if (!status.ok()) return status;
  status = check_stride("uv_stride_bytes", in.uv_stride_bytes, uv_plane(in).row_bytes());
  if (!status.ok()) return status;
  return shape_and_placement(params, in.height, in.width, shape, placement);
}

std::size_t workspace_bytes(const Params& params, const Inputs&, const Context& context) {
  if (context.device == Device::kCuda) return 0;
  return taps_bytes(params) + pair_bytes(params);
}

std::size_t workspace_bytes(const Params& params, const Nv12Inputs&, const Context& context) {
  if (context.device == Device::kCuda) return 0;
  return 2 * taps_bytes(params);
}

template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context) {
  Placement placement;
  Status status = check_call(params, in, out, context, placement);
  if (!status.ok()) return status;
  if (context.device == Device::kCuda) return run_cuda(params, in, out, context);

  Workspace workspace = context.workspace;
  const Plane image = rgb_plane(in);
  const MutableTaps made = make_taps(image, placement.width, workspace);
  ColumnTaps taps = with_tail(made, made.taps.num_before_tail);
  add_pairs(taps, image.row_bytes(), workspace);
  const Format format = make_format(params);
  const Kernels<T> kernels = select_kernels<T>(context.cpu_level);
  write_rows(
      params, placement, format, out.data, context, kernels, [&](std::int64_t y, T* out_row) {
        kernels.resample_rgb_row(make_rows(image, y, placement.height), taps, format, out_row);
      });
  return {};
}

template <typename T>
Status run(const Params& params, const Nv12Inputs& in, TensorView<T, 3> out, Context& context) {
  Placement placement;
  Status status = check_call(params, in, out, context, placement);
  if (!status.ok()) return status;
  if (context.device == Device::kCuda) return run_cuda(params, in, out, context);

  Workspace workspace = context.workspace;
  const Plane luma = y_plane(in);
  const Plane chroma = uv_plane(in);
  const MutableTaps luma_made = make_taps(luma, placement.width, workspace);
  const MutableTaps chroma_made = make_taps(chroma, placement.width, workspace);
  // Both planes turn to their tails at the same column, the first that either cannot load from its
  // row. A tail holds 32 columns of Y' or 16 of chroma, which is the same stretch of the picture
  // and several times what 8 bytes cover, so the other plane's tail holds that column too.
  const std::int64_t num_before_tail =
      std::min(luma_made.taps.num_before_tail, chroma_made.taps.num_before_tail);
  const ColumnTaps luma_taps = with_tail(luma_made, num_before_tail);
  const ColumnTaps chroma_taps = with_tail(chroma_made, num_before_tail);
  const YuvToRgb colors = make_yuv_to_rgb(in.matrix, in.full_range);
  const Format format = make_format(params);
  const Kernels<T> kernels = select_kernels<T>(context.cpu_level);
  write_rows(
      params, placement, format, out.data, context, kernels, [&](std::int64_t y, T* out_row) {
        kernels.resample_nv12_row(make_rows(luma, y, placement.height),
                                  luma_taps,
                                  make_rows(chroma, y, placement.height),
                                  chroma_taps,
                                  colors,
                                  format,
                                  out_row);
      });
  return {};
}

template Status run(const Params&, const Inputs&, TensorView<float, 3>, Context&);
template Status run(const Params&, const Inputs&, TensorView<Half, 3>, Context&);
template Status run(const Params&, const Nv12Inputs&, TensorView<float, 3>, Context&);
template Status run(const Params&, const Nv12Inputs&, TensorView<Half, 3>, Context&);

}  // namespace vinfer::letterbox
