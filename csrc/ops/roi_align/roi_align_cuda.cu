#include <algorithm>

#include "ops/roi_align/roi_align_cuda.cuh"

// A block pools one RoI for some channels, kTileChannels at a time. The pixels that have a weight
// are copied to shared memory with the channels side by side, so that a lane of a warp is a channel
// and all lanes do the same: a warp forms a column of bins, each row of pixels combined once, by
// the column's weights, which it keeps in registers. Sums leave through shared memory in the order
// of the output.
namespace vinfer::roi_align {
namespace {

using namespace device;

inline constexpr int kWarpSize = cuda::kWarpSize;
inline constexpr int kWarps = kThreads / kWarpSize;
inline constexpr int kLaneChannels = 2;
inline constexpr int kTileChannels = kLaneChannels * kWarpSize;
inline constexpr int kWindowPixels = 96;
inline constexpr int kPixelStride = kTileChannels + 1;  // odd: columns fall into different banks
inline constexpr int kTileStride = kMaxBandBins;
static_assert(kTileStride % 2 == 1);
inline constexpr int kBlocksPerMultiprocessor = 4;  // bounds the registers a thread may have
// Of shares that are whole tiles of channels, and of those that divide even these.
inline constexpr std::int64_t kManyBlocks = 4096;
inline constexpr std::int64_t kFewBlocks = 256;

struct Geometry {
  Params params;
  const float* boxes;
  const std::int64_t* batch_indices;
  std::int64_t num_images;
  int channels;
  int height;
  int width;
  int pooled_height;
  int pooled_width;
  std::int64_t num_rois;
  // How a RoI is divided among blocks.
  int block_channels;
  int num_channel_blocks;
  int block_bin_rows;
  int num_bin_row_blocks;

  VINFER_HD std::int64_t num_shares() const {
    return num_rois * num_channel_blocks * num_bin_row_blocks;
  }
  VINFER_HD std::int64_t plane_size() const { return static_cast<std::int64_t>(height) * width; }
  VINFER_HD int num_bins() const { return pooled_height * pooled_width; }
};

// The share of one block.
struct Share {
  std::int64_t roi;
  std::int64_t image;
  int first_channel;
  int last_channel;
  int first_bin_row;
  int last_bin_row;
};

__device__ inline Share share_of(const Geometry& g, std::int64_t block) {
  const int shares = g.num_channel_blocks * g.num_bin_row_blocks;
  Share share;
  share.roi = block / shares;
  share.image = g.batch_indices[share.roi];
  const int index = static_cast<int>(block % shares);
  share.first_channel = index / g.num_bin_row_blocks * g.block_channels;
  share.last_channel = smaller(share.first_channel + g.block_channels, g.channels);
  share.first_bin_row = index % g.num_bin_row_blocks * g.block_bin_rows;
  share.last_bin_row = smaller(share.first_bin_row + g.block_bin_rows, g.pooled_height);
  return share;
}

// What a block knows of the RoI that it works on. In shared memory, to save registers.
struct Work {
  Share share;
  Roi roi;
  Part part;
  bool is_in_batch;
  bool has_one_part;  // whose matrices then serve all channels
};

// By all threads of the block, which may still be using the last share's.
__device__ inline void start_share(const Geometry& g, std::int64_t index, Work& work) {
  __syncthreads();
  if (threadIdx.x == 0) {
    const Share share = share_of(g, index);
    const float* const box = g.boxes + 4 * share.roi;
    work.share = share;
    work.is_in_batch = share.image >= 0 && share.image < g.num_images;
    work.roi.intervals[0] = make_interval(g.params, box[1], box[3], g.pooled_height, g.height);
    work.roi.intervals[1] = make_interval(g.params, box[0], box[2], g.pooled_width, g.width);
    work.roi.extents[0] = g.height;
    work.roi.extents[1] = g.width;
    work.part = make_part(work.roi, share.last_bin_row, share.first_bin_row, 0, 0, 0);
    work.has_one_part = work.part.is_last;
  }
  __syncthreads();
}

// Whether there was another part, which it goes on to.
__device__ inline bool advance(Work& work) {
  if (work.part.is_last) return false;
  __syncthreads();
  if (threadIdx.x == 0) work.part = next_part(work.roi, work.share.last_bin_row, work.part);
  __syncthreads();
  return true;
}

// Back to the first part.
__device__ inline void restart(Work& work) {
  __syncthreads();
  if (threadIdx.x == 0) {
    const Share& share = work.share;
    work.part = make_part(work.roi, share.last_bin_row, share.first_bin_row, 0, 0, 0);
  }
  __syncthreads();
}

// Rows or columns of the map that lie in shared memory together: those of weights [begin, end).
// Either all from `lowest` on, or, where that would be more, one a weight.
struct Segment {
  int begin;
  int end;
  int lowest;
  int count;
  bool dense;

  __device__ int index(const AxisMatrix& matrix, int i) const {
    return dense ? lowest + i : matrix.weights[begin + i].index;
  }
  __device__ int position(int weight, int index) const {
    return dense ? index - lowest : weight - begin;
  }
};

// As many weights from `begin` on as need at most `limit` rows or columns.
__device__ inline Segment next_segment(const AxisMatrix& matrix,
                                       int num_weights,
                                       int begin,
                                       int limit) {
  const int left = num_weights - begin;
  if (left == 0) return {begin, begin, 0, 0, false};
  const int span = matrix.highest - matrix.lowest + 1;
  const bool dense = span <= num_weights;
  if (!dense) {
    const int count = left < limit ? left : limit;
    return {begin, begin + count, 0, count, false};
  }
  if (span <= limit) return {begin, num_weights, matrix.lowest, span, true};
  int lowest = matrix.weights[begin].index;
  int highest = lowest;
  int end = begin + 1;
  for (; end < num_weights; ++end) {
    const int index = matrix.weights[end].index;
    const int low = index < lowest ? index : lowest;
    const int high = index > highest ? index : highest;
    if (high - low + 1 > limit) break;
    lowest = low;
    highest = high;
  }
  return {begin, end, lowest, highest - lowest + 1, true};
}

union Scratch {
  MatrixScratch matrices;
  float window[kWindowPixels * kPixelStride];  // [pixel][channel]
};

struct Shared {
  Work work;
  AxisMatrix matrices[2];
  float sums[kTileChannels * kTileStride];  // [channel][bin of the band]
  Scratch scratch;
};

// Neighbouring threads copy neighbouring columns.
template <typename T>
__device__ inline void copy_window(const T* map,
                                   const Geometry& g,
                                   int num_channels,
                                   const AxisMatrix* matrices,
                                   const Segment& rows,
                                   const Segment& columns,
                                   float* window) {
  const std::int64_t plane_size = g.plane_size();
  const int num_pixels = rows.count * columns.count;
  const int across = num_pixels > 16 ? 32 : num_pixels > 8 ? 16 : 8;  // threads a channel
  const int first_channel = static_cast<int>(threadIdx.x) / across;
  const int channel_step = kThreads / across;
  for (int p = static_cast<int>(threadIdx.x) % across; p < num_pixels; p += across) {
    const int row = p / columns.count;
    const int column = p - row * columns.count;
    const T* from = map + static_cast<std::int64_t>(rows.index(matrices[0], row)) * g.width +
                    columns.index(matrices[1], column) + first_channel * plane_size;
    float* const to = window + p * kPixelStride;
#pragma unroll 4
    for (int c = first_channel; c < num_channels; c += channel_step) {
      to[c] = cuda::to_float(*from);
      from += channel_step * plane_size;
    }
  }
}

struct LaneSums {
  float channel[kLaneChannels] = {};

  __device__ void add(float weight, const float* pixel) {
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      channel[c] = fmaf(weight, pixel[c * kWarpSize], channel[c]);
    }
  }
  __device__ void add(float weight, const LaneSums& other) {
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      channel[c] = fmaf(weight, other.channel[c], channel[c]);
    }
  }
};

// Weights of one column of bins, in registers; `pixel` is the lane's first channel of a row's
// column 0.
template <int count>
struct ColumnWeights {
  float weight[count];
  int offset[count];

  __device__ ColumnWeights(const AxisMatrix& matrix, const Segment& segment, int begin, int) {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      const Weight w = matrix.weights[begin + k];
      weight[k] = w.value;
      offset[k] = segment.position(begin + k, w.index) * kPixelStride;
    }
  }

  __device__ LaneSums combine(const float* pixel) const {
    LaneSums sums;
#pragma unroll
    for (int k = 0; k < count; ++k) sums.add(weight[k], pixel + offset[k]);
    return sums;
  }
};

// Any number of them, in shared memory.
template <>
struct ColumnWeights<0> {
  const AxisMatrix& matrix;
  const Segment& segment;
  int begin;
  int end;

  __device__ ColumnWeights(const AxisMatrix& m, const Segment& s, int first, int last)
      : matrix(m), segment(s), begin(first), end(last) {}

  __device__ LaneSums combine(const float* pixel) const {
    LaneSums sums;
    for (int k = begin; k < end; ++k) {
      const Weight w = matrix.weights[k];
      sums.add(w.value, pixel + segment.position(k, w.index) * kPixelStride);
    }
    return sums;
  }
};

// Column `j` of the band's bins, of weights [begin, end); `is_first`: sums are not there yet.
template <int count>
__device__ inline void pool_column(Shared& shared,
                                   const Part& part,
                                   const Segment& rows,
                                   const Segment& columns,
                                   int j,
                                   int begin,
                                   int end,
                                   bool is_first) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const AxisMatrix& down = shared.matrices[0];
  const ColumnWeights<count> weights(shared.matrices[1], columns, begin, end);
  const int row_stride = columns.count * kPixelStride;
  const float* const window = shared.scratch.window + lane;
  // Neighbouring bins share up to two rows of pixels.
  LaneSums last;
  LaneSums before_last;
  int last_row = -1;
  int before_last_row = -1;
  for (int i = 0; i < part.down.num_bins; ++i) {
    LaneSums bin;
    const int first_weight = down.begin[i] > rows.begin ? down.begin[i] : rows.begin;
    const int last_weight = down.begin[i + 1] < rows.end ? down.begin[i + 1] : rows.end;
    for (int k = first_weight; k < last_weight; ++k) {
      const Weight w = down.weights[k];
      if (w.index == before_last_row) {
        bin.add(w.value, before_last);
        continue;
      }
      if (w.index != last_row) {
        before_last = last;
        before_last_row = last_row;
        last = weights.combine(window + rows.position(k, w.index) * row_stride);
        last_row = w.index;
      }
      bin.add(w.value, last);
    }
    float* const to = shared.sums + lane * kTileStride + i * part.across.num_bins + j;
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      float& sum = to[c * kWarpSize * kTileStride];
      sum = is_first ? bin.channel[c] : sum + bin.channel[c];
    }
  }
}

// Adds what the window holds to the sums of the band.
__device__ inline void pool_window(
    Shared& shared, const Part& part, const Segment& rows, const Segment& columns, bool is_first) {
  const AxisMatrix& across = shared.matrices[1];
  for (int j = static_cast<int>(threadIdx.x) / kWarpSize; j < part.across.num_bins; j += kWarps) {
    const int begin = across.begin[j] > columns.begin ? across.begin[j] : columns.begin;
    const int end = across.begin[j + 1] < columns.end ? across.begin[j + 1] : columns.end;
    if (begin >= end && !is_first) continue;
    switch (end - begin) {
      case 1:
        pool_column<1>(shared, part, rows, columns, j, begin, end, is_first);
        break;
      case 2:
        pool_column<2>(shared, part, rows, columns, j, begin, end, is_first);
        break;
      case 3:
        pool_column<3>(shared, part, rows, columns, j, begin, end, is_first);
        break;
      case 4:
        pool_column<4>(shared, part, rows, columns, j, begin, end, is_first);
        break;
      default:
        pool_column<0>(shared, part, rows, columns, j, begin, end, is_first);
    }
  }
}

// `map` is that of the first of the channels.
template <typename T>
__device__ inline void pool_part(
    Shared& shared, const Geometry& g, const Part& part, const T* map, int num_channels) {
  const int num_down = shared.matrices[0].num_weights(part.down.num_bins);
  const int num_across = shared.matrices[1].num_weights(part.across.num_bins);
  bool is_first = part.starts_band;
  int across = 0;
  do {  // at least once, so that the sums are there
    const Segment columns = next_segment(shared.matrices[1], num_across, across, kWindowPixels);
    const int limit = columns.count > 0 ? kWindowPixels / columns.count : kWindowPixels;
    int down = 0;
    do {
      const Segment rows = next_segment(shared.matrices[0], num_down, down, limit);
      __syncthreads();  // the window is still in use
      copy_window(map, g, num_channels, shared.matrices, rows, columns, shared.scratch.window);
      __syncthreads();
      pool_window(shared, part, rows, columns, is_first);
      is_first = false;
      down = rows.end;
    } while (down < num_down);
    across = columns.end;
  } while (across < num_across);
}

// `pooled` is that of the first of the channels.
template <typename T>
__device__ inline void write_sums(
    const Shared& shared, const Geometry& g, const Part& part, int num_channels, T* pooled) {
  const int columns = part.across.num_bins;
  const int bins = part.down.num_bins * columns;
  for (int e = static_cast<int>(threadIdx.x); e < num_channels * bins; e += kThreads) {
    const int channel = e / bins;
    const int bin = e - channel * bins;
    const int row = bin / columns;
    const int column = bin - row * columns;
    pooled[static_cast<std::int64_t>(channel) * g.num_bins() +
           (part.down.first_bin + row) * g.pooled_width + part.across.first_bin + column] =
        cuda::from_float<T>(shared.sums[channel * kTileStride + bin]);
  }
}

template <typename T>
__device__ inline void write_zeros(const Geometry& g, const Share& share, T* pooled) {
  const int num_bins = (share.last_bin_row - share.first_bin_row) * g.pooled_width;
  for (int c = share.first_channel; c < share.last_channel; ++c) {
    T* const to =
        pooled + (share.roi * g.channels + c) * g.num_bins() + share.first_bin_row * g.pooled_width;
    for (int i = static_cast<int>(threadIdx.x); i < num_bins; i += kThreads) {
      to[i] = cuda::from_float<T>(0.0f);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    pool_rois(Geometry g, const T* features, T* pooled) {
  __shared__ Shared shared;
  Work& work = shared.work;
  const Share& share = work.share;
  const Part& part = work.part;
  for (std::int64_t block = blockIdx.x; block < g.num_shares(); block += gridDim.x) {
    start_share(g, block, work);
    if (!work.is_in_batch) {
      write_zeros(g, share, pooled);
      continue;
    }
    for (int c = share.first_channel; c < share.last_channel; c += kTileChannels) {
      const int num_channels = smaller(kTileChannels, share.last_channel - c);
      if (c > share.first_channel && !work.has_one_part) restart(work);
      do {
        if (c == share.first_channel || !work.has_one_part) {
          __syncthreads();  // the window is still in use
          build_matrices(work.roi, part, shared.scratch.matrices, shared.matrices);
        }
        pool_part(shared,
                  g,
                  part,
                  features + (share.image * g.channels + c) * g.plane_size(),
                  num_channels);
        if (part.ends_band) {
          __syncthreads();
          write_sums(
              shared, g, part, num_channels, pooled + (share.roi * g.channels + c) * g.num_bins());
        }
      } while (advance(work));
    }
  }
}

// The gradient of the map: every element of grad_pooled goes to the pixels that it came from.
__global__ void __launch_bounds__(kThreads)
    spread_gradients(Geometry g, const float* grad_pooled, float* grad_features) {
  __shared__ Work work;
  __shared__ MatrixScratch scratch;
  __shared__ AxisMatrix matrices[2];
  const Share& share = work.share;
  const Part& part = work.part;
  for (std::int64_t block = blockIdx.x; block < g.num_shares(); block += gridDim.x) {
    start_share(g, block, work);
    if (!work.is_in_batch) continue;
    const int num_channels = share.last_channel - share.first_channel;
    const float* const from =
        grad_pooled + (share.roi * g.channels + share.first_channel) * g.num_bins();
    float* const to =
        grad_features + (share.image * g.channels + share.first_channel) * g.plane_size();
    do {
      build_matrices(work.roi, part, scratch, matrices);
      const int columns = part.across.num_bins;
      const int bins = part.down.num_bins * columns;
      const std::int64_t num_elements = static_cast<std::int64_t>(num_channels) * bins;
      for (std::int64_t e = threadIdx.x; e < num_elements; e += kThreads) {
        const std::int64_t channel = e / bins;
        const int bin = static_cast<int>(e - channel * bins);
        const int i = bin / columns;
        const int j = bin - i * columns;
        const float grad =
            from[channel * g.num_bins() + (part.down.first_bin + i) * g.pooled_width +
                 part.across.first_bin + j];
        float* const plane = to + channel * g.plane_size();
        for (int y = matrices[0].begin[i]; y < matrices[0].begin[i + 1]; ++y) {
          const Weight row = matrices[0].weights[y];
          float* const pixels = plane + static_cast<std::int64_t>(row.index) * g.width;
          for (int x = matrices[1].begin[j]; x < matrices[1].begin[j + 1]; ++x) {
            const Weight column = matrices[1].weights[x];
            atomicAdd(pixels + column.index, grad * (row.value * column.value));
          }
        }
      }
    } while (advance(work));
  }
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Divides few RoIs among many blocks: first their channels, then their rows of bins.
Geometry make_geometry(const Params& params,
                       const TensorView<const float, 2>& boxes,
                       const TensorView<const std::int64_t, 1>& batch_indices,
                       const Shape<4>& feature_shape) {
  const std::int64_t num_rois = boxes.shape[0];
  const std::int64_t channels = feature_shape[1];
  const std::int64_t tiles = ceil_div(channels, kTileChannels);
  const std::int64_t channel_blocks = std::min(tiles, ceil_div(kManyBlocks, num_rois));
  const std::int64_t block_channels = ceil_div(tiles, channel_blocks) * kTileChannels;
  const std::int64_t num_channel_blocks = ceil_div(channels, block_channels);
  const std::int64_t row_blocks =
      std::min(params.pooled_height, ceil_div(kFewBlocks, num_rois * num_channel_blocks));
  const std::int64_t block_bin_rows = ceil_div(params.pooled_height, row_blocks);
  return {params,
          boxes.data,
          batch_indices.data,
          feature_shape[0],
          static_cast<int>(channels),
          static_cast<int>(feature_shape[2]),
          static_cast<int>(feature_shape[3]),
          static_cast<int>(params.pooled_height),
          static_cast<int>(params.pooled_width),
          num_rois,
          static_cast<int>(block_channels),
          static_cast<int>(num_channel_blocks),
          static_cast<int>(block_bin_rows),
          static_cast<int>(ceil_div(params.pooled_height, block_bin_rows))};
}

Status check_extents(const Shape<4>& feature_shape) {
  const auto& [images, channels, height, width] = feature_shape;
  if (std::max({channels, height, width}) <= kMaxExtent) return {};
  return failure(StatusCode::kInvalidShape,
                 "roi_align: features has shape ",
                 feature_shape,
                 ", expected at most ",
                 kMaxExtent,
                 " channels, rows and columns on a GPU");
}

}  // namespace

template <typename T>
Status run_cuda(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  if (Status status = check_extents(in.features.shape); !status.ok()) return status;
  const Geometry g = make_geometry(params, in.boxes, in.batch_indices, in.features.shape);
  return cuda::launch("roi_align",
                      context.stream,
                      dim3(cuda::num_blocks(g.num_shares())),
                      kThreads,
                      pool_rois<T>,
                      g,
                      in.features.data,
                      out.pooled.data);
}

template Status run_cuda(const Params&, const Inputs<float>&, Outputs<float>&, Context&);
template Status run_cuda(const Params&, const Inputs<Half>&, Outputs<Half>&, Context&);

Status run_backward_cuda(const Params& params,
                         const BackwardInputs<float>& in,
                         TensorView<float, 4> grad_features,
                         Context& context) {
  if (Status status = check_extents(grad_features.shape); !status.ok()) return status;
  const cudaError_t error =
      cudaMemsetAsync(grad_features.data,
                      0,
                      static_cast<std::size_t>(grad_features.size()) * sizeof(float),
                      static_cast<cudaStream_t>(context.stream));
  if (Status status = cuda::status_of("roi_align_backward", error); !status.ok()) return status;
  if (in.grad_pooled.size() == 0) return {};
  const Geometry g = make_geometry(params, in.boxes, in.batch_indices, grad_features.shape);
  return cuda::launch("roi_align_backward",
                      context.stream,
                      dim3(cuda::num_blocks(g.num_shares())),
                      kThreads,
                      spread_gradients,
                      g,
                      in.grad_pooled.data,
                      grad_features.data);
}

}  // namespace vinfer::roi_align
