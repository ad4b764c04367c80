#include <type_traits>

#include "core/cuda.h"
#include "ops/letterbox/letterbox.h"

// A block writes a tile of the output. The taps of its columns and rows are found once a tile:
// their positions are float64, which most GPUs are slow at. A thread writes neighbouring columns,
// so that stores are 16 bytes wide (8 for float16). The steps of the arithmetic are those of the
// CPU.
namespace vinfer::letterbox {
namespace {

inline constexpr int kChannels = 3;
inline constexpr int kPixels = 4;  // neighbouring columns a thread
inline constexpr int kTileRows = 8;
inline constexpr int kTileColumns = 32 * kPixels;
inline constexpr int kThreads = 32 * kTileRows;

struct Plane {
  const std::uint8_t* data;
  std::int64_t height;
  std::int64_t width;
  std::int64_t stride_bytes;
};

struct Output {
  std::int64_t height;
  std::int64_t width;
  Placement placement;
  float mean[kChannels];
  float inverse_std[kChannels];
  float padding[kChannels];
  bool interleaved;
  bool swap_channels;
  bool packed;  // all packs of neighbouring elements are aligned
};

struct Rgb {
  float channel[kChannels];
};

// Two neighbours on one axis, in pixels.
struct Neighbours {
  std::int64_t low;
  std::int64_t high;
  float fraction;
};

// The taps of one plane for the rows and columns of a tile.
class TileTaps {
 public:
  // By all threads of the block; rows and columns of padding are left alone.
  __device__ void fill(const Plane& plane,
                       const Placement& placement,
                       std::int64_t first_row,
                       std::int64_t first_column) {
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows + kTileColumns; i += kThreads) {
      const bool is_row = i < kTileRows;
      const std::int64_t target =
          is_row ? first_row + i - placement.top : first_column + (i - kTileRows) - placement.left;
      const std::int64_t target_extent = is_row ? placement.height : placement.width;
      if (target < 0 || target >= target_extent) continue;
      const Tap tap = make_tap(target, target_extent, is_row ? plane.height : plane.width);
      const int slot = is_row ? i : kTileRows + slot_of(i - kTileRows);
      low_[slot] = static_cast<std::int32_t>(tap.low);
      fraction_[slot] = tap.fraction;
    }
  }

  __device__ Neighbours row(int row, std::int64_t extent) const { return at(row, extent); }
  __device__ Neighbours column(int column, std::int64_t extent) const {
    return at(kTileRows + slot_of(column), extent);
  }

 private:
  // Neighbouring threads read columns kPixels apart: these lie side by side, in different banks.
  __device__ static int slot_of(int column) {
    return column % kPixels * (kTileColumns / kPixels) + column / kPixels;
  }

  __device__ Neighbours at(int slot, std::int64_t extent) const {
    const std::int64_t low = low_[slot];
    return {low, low + 1 < extent ? low + 1 : low, fraction_[slot]};
  }

  std::int32_t low_[kTileRows + kTileColumns];  // kMaxPictureSide fits
  float fraction_[kTileRows + kTileColumns];
};

__device__ inline float lerp(float low, float high, float fraction) {
  return low + (high - low) * fraction;
}

// The four source pixels of an output pixel.
struct Corners {
  Neighbours rows;
  Neighbours columns;

  // Interpolates one byte of pixels that are `pixel_bytes` wide: rows first, as on the CPU.
  template <int pixel_bytes>
  __device__ float sample(const Plane& plane, int byte) const {
    const std::uint8_t* const low = plane.data + rows.low * plane.stride_bytes + byte;
    const std::uint8_t* const high = plane.data + rows.high * plane.stride_bytes + byte;
    const std::int64_t left = columns.low * pixel_bytes;
    const std::int64_t right = columns.high * pixel_bytes;
    return lerp(
        lerp(static_cast<float>(low[left]), static_cast<float>(high[left]), rows.fraction),
        lerp(static_cast<float>(low[right]), static_cast<float>(high[right]), rows.fraction),
        columns.fraction);
  }
};

__device__ inline Corners corners(const TileTaps& taps, const Plane& plane, int row, int column) {
  return {taps.row(row, plane.height), taps.column(column, plane.width)};
}

struct RgbSource {
  Plane image;

  struct Taps {
    TileTaps image;
  };

  __device__ void fill(Taps& taps,
                       const Placement& placement,
                       std::int64_t first_row,
                       std::int64_t first_column) const {
    taps.image.fill(image, placement, first_row, first_column);
  }

  __device__ Rgb at(const Taps& taps, int row, int column) const {
    const Corners at = corners(taps.image, image, row, column);
    return {{at.sample<kChannels>(image, 0),
             at.sample<kChannels>(image, 1),
             at.sample<kChannels>(image, 2)}};
  }
};

struct Nv12Source {
  Plane luma;
  Plane chroma;
  YuvToRgb colors;

  struct Taps {
    TileTaps luma;
    TileTaps chroma;
  };

  __device__ void fill(Taps& taps,
                       const Placement& placement,
                       std::int64_t first_row,
                       std::int64_t first_column) const {
    taps.luma.fill(luma, placement, first_row, first_column);
    taps.chroma.fill(chroma, placement, first_row, first_column);
  }

  __device__ static float clamp(float value) {
    value = value > 0.0f ? value : 0.0f;
    return value < 255.0f ? value : 255.0f;
  }

  __device__ Rgb at(const Taps& taps, int row, int column) const {
    const Corners luma_at = corners(taps.luma, luma, row, column);
    const Corners chroma_at = corners(taps.chroma, chroma, row, column);
    const float y = (luma_at.sample<1>(luma, 0) - colors.y_offset) * colors.y_scale;
    const float b = chroma_at.sample<2>(chroma, 0) - 128.0f;
    const float r = chroma_at.sample<2>(chroma, 1) - 128.0f;
    return {{clamp(y + r * colors.red_r),
             clamp((y - b * colors.green_b) - r * colors.green_r),
             clamp(y + b * colors.blue_b)}};
  }
};

template <typename Source, typename T>
__device__ inline Rgb pixel(const Source& source,
                            const Output& output,
                            const typename Source::Taps& taps,
                            bool row_inside,
                            std::int64_t x,
                            int row,
                            int column) {
  Rgb rgb;
  x -= output.placement.left;
  if (!row_inside || x < 0 || x >= output.placement.width) {
#pragma unroll
    for (int c = 0; c < kChannels; ++c) rgb.channel[c] = output.padding[c];
    return rgb;
  }
  rgb = source.at(taps, row, column);
  if (output.swap_channels) rgb = {{rgb.channel[2], rgb.channel[1], rgb.channel[0]}};
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    rgb.channel[c] = (rgb.channel[c] - output.mean[c]) * output.inverse_std[c];
  }
  return rgb;
}

// The grid covers the output: kMaxSide keeps it inside CUDA's limits.
template <typename Source, typename T>
__global__ void __launch_bounds__(kThreads) write_tile(Source source, Output output, T* out) {
  using PixelPack = cuda::Pack<T, kPixels>;
  __shared__ typename Source::Taps taps;
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kTileRows;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * kTileColumns;
  source.fill(taps, output.placement, first_row, first_column);
  __syncthreads();

  const int row = static_cast<int>(threadIdx.x) / 32;
  const int column = static_cast<int>(threadIdx.x) % 32 * kPixels;
  const std::int64_t y = first_row + row;
  const std::int64_t x = first_column + column;
  if (y >= output.height || x >= output.width) return;
  const std::int64_t picture_row = y - output.placement.top;
  const bool row_inside = picture_row >= 0 && picture_row < output.placement.height;

  T values[kPixels][kChannels];
#pragma unroll
  for (int k = 0; k < kPixels; ++k) {
    if (x + k >= output.width) break;
    const Rgb rgb = pixel<Source, T>(source, output, taps, row_inside, x + k, row, column + k);
#pragma unroll
    for (int c = 0; c < kChannels; ++c) values[k][c] = cuda::from_float<T>(rgb.channel[c]);
  }
  if (output.interleaved) {
    T* const to = out + (y * output.width + x) * kChannels;
    if (output.packed) {
#pragma unroll
      for (int p = 0; p < kChannels; ++p) {
        PixelPack pack;
#pragma unroll
        for (int k = 0; k < kPixels; ++k) {
          pack.element[k] = values[(p * kPixels + k) / kChannels][(p * kPixels + k) % kChannels];
        }
        reinterpret_cast<PixelPack*>(to)[p] = pack;
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      if (x + k >= output.width) break;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) to[k * kChannels + c] = values[k][c];
    }
    return;
  }
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    T* const to = out + (c * output.height + y) * output.width + x;
    if (output.packed) {
      PixelPack pack;
#pragma unroll
      for (int k = 0; k < kPixels; ++k) pack.element[k] = values[k][c];
      *reinterpret_cast<PixelPack*>(to) = pack;
    } else {
#pragma unroll
      for (int k = 0; k < kPixels; ++k) {
        if (x + k < output.width) to[k] = values[k][c];
      }
    }
  }
}

Output make_output(const Params& params, const Placement& placement) {
  Output output{};
  output.height = params.height;
  output.width = params.width;
  output.placement = placement;
  for (int c = 0; c < kChannels; ++c) {
    const auto i = static_cast<std::size_t>(c);
    output.mean[c] = static_cast<float>(params.mean[i]);
    output.inverse_std[c] = static_cast<float>(1.0 / params.std[i]);
    output.padding[c] =
        (static_cast<float>(params.pad_value) - output.mean[c]) * output.inverse_std[c];
  }
  output.interleaved = params.layout == Layout::kHwc;
  output.swap_channels = params.swap_channels;
  return output;
}

std::int64_t or_else(std::int64_t stride_bytes, std::int64_t row_bytes) {
  return stride_bytes == 0 ? row_bytes : stride_bytes;
}

RgbSource make_source(const Inputs& in) {
  const auto& [height, width, channels] = in.image.shape;
  return {{in.image.data, height, width, or_else(in.stride_bytes, width * channels)}};
}

Nv12Source make_source(const Nv12Inputs& in) {
  const std::int64_t chroma_width = (in.width + 1) / 2;
  return {{in.y, in.height, in.width, or_else(in.y_stride_bytes, in.width)},
          {in.uv, (in.height + 1) / 2, chroma_width, or_else(in.uv_stride_bytes, 2 * chroma_width)},
          make_yuv_to_rgb(in.matrix, in.full_range)};
}

template <typename T, typename In>
Status start(const Params& params, const In& in, TensorView<T, 3> out, Context& context) {
  Shape<3> shape{};
  Placement placement;
  if (Status status = output_shape(params, in, shape, placement); !status.ok()) return status;
  Output output = make_output(params, placement);
  output.packed = cuda::is_aligned_for_packs(out.data, params.width, kPixels);
  const auto source = make_source(in);
  const dim3 grid(static_cast<unsigned>((params.width + kTileColumns - 1) / kTileColumns),
                  static_cast<unsigned>((params.height + kTileRows - 1) / kTileRows));
  return cuda::launch("letterbox",
                      context.stream,
                      grid,
                      kThreads,
                      write_tile<std::remove_const_t<decltype(source)>, T>,
                      source,
                      output,
                      out.data);
}

}  // namespace

template <typename T>
Status run_cuda(const Params& params, const Inputs& in, TensorView<T, 3> out, Context& context) {
  return start(params, in, out, context);
}

template <typename T>
Status run_cuda(const Params& params,
                const Nv12Inputs& in,
                TensorView<T, 3> out,
                Context& context) {
  return start(params, in, out, context);
}

template Status run_cuda(const Params&, const Inputs&, TensorView<float, 3>, Context&);
template Status run_cuda(const Params&, const Inputs&, TensorView<Half, 3>, Context&);
template Status run_cuda(const Params&, const Nv12Inputs&, TensorView<float, 3>, Context&);
template Status run_cuda(const Params&, const Nv12Inputs&, TensorView<Half, 3>, Context&);

}  // namespace vinfer::letterbox
