#include <algorithm>
#include <cmath>

#include "core/half.h"
#include "ops/letterbox/letterbox.h"

namespace vinfer::letterbox {
namespace {

constexpr std::int64_t kChannels = 3;

// floor(numerator / denominator + 1/2), exactly; at least one pixel.
std::int64_t rounded_side(std::int64_t numerator, std::int64_t denominator) {
  return std::max<std::int64_t>(1, (2 * numerator + denominator) / (2 * denominator));
}

Placement place(const Params& params, std::int64_t height, std::int64_t width) {
  Placement placement{params.height, params.width, 0, 0};
  if (params.mode == Mode::kStretch) return placement;
  // Integers: a float scale would make the size of some pictures depend on rounding.
  if (params.width * height <= params.height * width) {
    placement.height = rounded_side(height * params.width, width);
  } else {
    placement.width = rounded_side(width * params.height, height);
  }
  if (params.align == Align::kCentre) {
    placement.top = (params.height - placement.height) / 2;
    placement.left = (params.width - placement.width) / 2;
  }
  return placement;
}

// What turns an interpolated value of one channel into an output value.
struct Channel {
  std::int64_t source;  // channel of the image
  float mean;
  float inverse_std;

  float normalise(float value) const { return (value - mean) * inverse_std; }
};

std::array<Channel, kChannels> make_channels(const Params& params) {
  std::array<Channel, kChannels> channels{};
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto i = static_cast<std::size_t>(c);
    channels[i] = {params.swap_channels ? kChannels - 1 - c : c,
                   static_cast<float>(params.mean[i]),
                   static_cast<float>(1.0 / params.std[i])};
  }
  return channels;
}

// Element (c, y, x) of the output lies at c * channel + y * row + x * column.
struct Strides {
  std::int64_t channel;
  std::int64_t row;
  std::int64_t column;
};

Strides make_strides(const Params& params) {
  if (params.layout == Layout::kHwc) return {1, params.width * kChannels, kChannels};
  return {params.height * params.width, params.width, 1};
}

template <typename T>
void fill_padding(const Params& params,
                  const Placement& placement,
                  const std::array<Channel, kChannels>& channels,
                  const Strides& strides,
                  T* out) {
  const std::int64_t bottom = placement.top + placement.height;
  const std::int64_t right = placement.left + placement.width;
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const T value(
        channels[static_cast<std::size_t>(c)].normalise(static_cast<float>(params.pad_value)));
    for (std::int64_t y = 0; y < params.height; ++y) {
      T* const row = out + c * strides.channel + y * strides.row;
      const bool outside = y < placement.top || y >= bottom;
      const std::int64_t left_end = outside ? params.width : placement.left;
      for (std::int64_t x = 0; x < left_end; ++x) row[x * strides.column] = value;
      if (outside) continue;
      for (std::int64_t x = right; x < params.width; ++x) row[x * strides.column] = value;
    }
  }
}

// blended[i] = a[i] + (b[i] - a[i]) * fraction: two rows of the image, all channels alike.
void blend_rows(const std::uint8_t* __restrict a,
                const std::uint8_t* __restrict b,
                float fraction,
                std::int64_t count,
                float* __restrict blended) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float low = static_cast<float>(a[i]);
    blended[i] = low + (static_cast<float>(b[i]) - low) * fraction;
  }
}

// One row of the picture from a blended row. The column stride is a constant of the layout.
template <std::int64_t kColumn, typename T>
void resample_row(const float* __restrict blended,
                  const Tap* __restrict taps,
                  std::int64_t width,
                  const std::array<Channel, kChannels>& channels,
                  std::int64_t channel_stride,
                  T* __restrict out) {
  const Channel c0 = channels[0];
  const Channel c1 = channels[1];
  const Channel c2 = channels[2];
  T* __restrict out0 = out;
  T* __restrict out1 = out + channel_stride;
  T* __restrict out2 = out + 2 * channel_stride;
  const auto sample = [](const float* pixel, const Channel& channel, float fraction) {
    const float low = pixel[channel.source];
    const float high = pixel[channel.source + kChannels];
    return T(channel.normalise(low + (high - low) * fraction));
  };
  for (std::int64_t x = 0; x < width; ++x) {
    const float* const pixel = blended + taps[x].low * kChannels;
    const float fraction = taps[x].fraction;
    out0[x * kColumn] = sample(pixel, c0, fraction);
    out1[x * kColumn] = sample(pixel, c1, fraction);
    out2[x * kColumn] = sample(pixel, c2, fraction);
  }
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
  shape = params.layout == Layout::kHwc ? Shape<3>{params.height, params.width, kChannels}
                                        : Shape<3>{kChannels, params.height, params.width};
  placement = place(params, height, width);
  return check_output_size("letterbox", shape);
}

std::size_t workspace_bytes(const Params& params, const Inputs& in, const Context&) {
  return Workspace::bytes<Tap>(params.width) +
         Workspace::bytes<float>((in.image.shape[1] + 1) * kChannels);
}

template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context) {
  Shape<3> shape{};
  Placement placement;
  if (Status status = output_shape(params, in, shape, placement); !status.ok()) return status;
  if (out.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "letterbox: the output has shape ",
                   out.shape,
                   ", expected ",
                   shape);
  }
  Status status = check_workspace("letterbox", context, workspace_bytes(params, in, context));
  if (!status.ok()) return status;

  const auto& [height, width, num_channels] = in.image.shape;
  Workspace workspace = context.workspace;
  Tap* const taps = workspace.take<Tap>(params.width);
  float* const blended = workspace.take<float>((width + 1) * kChannels);
  for (std::int64_t x = 0; x < placement.width; ++x) taps[x] = make_tap(x, placement.width, width);

  const std::array<Channel, kChannels> channels = make_channels(params);
  const Strides strides = make_strides(params);
  fill_padding(params, placement, channels, strides, out.data);

  const std::int64_t row_size = width * kChannels;
  for (std::int64_t y = 0; y < placement.height; ++y) {
    const Tap tap = make_tap(y, placement.height, height);
    const std::uint8_t* const row = in.image.data + tap.low * row_size;
    const std::uint8_t* const next = tap.low + 1 < height ? row + row_size : row;
    blend_rows(row, next, tap.fraction, row_size, blended);
    // One pixel more, so that the right neighbour of the last one can be read.
    std::copy_n(blended + row_size - kChannels, kChannels, blended + row_size);
    T* const out_row =
        out.data + (placement.top + y) * strides.row + placement.left * strides.column;
    if (params.layout == Layout::kHwc) {
      resample_row<kChannels>(blended, taps, placement.width, channels, strides.channel, out_row);
    } else {
      resample_row<1>(blended, taps, placement.width, channels, strides.channel, out_row);
    }
  }
  return {};
}

template Status run(const Params&, const Inputs&, TensorView<float, 3>, Context&);
template Status run(const Params&, const Inputs&, TensorView<Half, 3>, Context&);

}  // namespace vinfer::letterbox
