#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/half.h"
#include "ops/roi_align/roi_align.h"

namespace vinfer::roi_align {
namespace {

template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// A non-zero of A_y or A_x.
struct Weight {
  std::int64_t index;  // row or column of the map
  double value;
};

// A_y or A_x by rows: the weights of bin i are weights[begin[i]] .. weights[begin[i + 1] - 1].
struct AxisMatrix {
  Weight* weights;
  std::int64_t* begin;
};

std::int64_t max_weights(const Params& params, std::int64_t bins, std::int64_t extent) {
  const std::int64_t samples =
      params.sampling_ratio > 0 ? params.sampling_ratio : max_adaptive_samples(extent, bins);
  return bins * samples * 2;
}

void add_weight(
    AxisMatrix& matrix, std::int64_t first, std::int64_t& count, std::int64_t index, double value) {
  // Samples of a bin ascend, so a repeated index is one of the last two; anything that this misses
  // (an inverted box) is stored twice, which is right as well.
  for (std::int64_t i = count - 1; i >= first && i >= count - 2; --i) {
    if (matrix.weights[i].index == index) {
      matrix.weights[i].value += value;
      return;
    }
  }
  matrix.weights[count++] = Weight{index, value};
}

void fill_axis_matrix(const Interval& interval, std::int64_t extent, AxisMatrix& matrix) {
  std::int64_t count = 0;
  for (std::int64_t bin = 0; bin < interval.bins; ++bin) {
    const std::int64_t first = count;
    matrix.begin[bin] = first;
    for (std::int64_t sample = 0; sample < interval.samples; ++sample) {
      const Tap tap = make_tap(interval, bin, sample, extent);
      if (!tap.inside) continue;
      add_weight(matrix, first, count, tap.low, tap.low_weight);
      if (tap.high != tap.low) add_weight(matrix, first, count, tap.high, tap.high_weight);
    }
    for (std::int64_t i = first; i < count; ++i) {
      matrix.weights[i].value /= static_cast<double>(interval.samples);
    }
  }
  matrix.begin[interval.bins] = count;
}

// sums[x] = sum of weight * plane[row][x] over the rows of one bin, for x in [first, last).
template <typename T, typename Sum>
void sum_rows(const T* plane,
              std::int64_t width,
              const Weight* weights,
              std::int64_t num_weights,
              std::int64_t first,
              std::int64_t last,
              Sum* __restrict sums) {
  std::fill(sums + first, sums + last, Sum{0});
  for (std::int64_t i = 0; i < num_weights; ++i) {
    const T* __restrict row = plane + weights[i].index * width;
    const Sum weight = static_cast<Sum>(weights[i].value);
    for (std::int64_t x = first; x < last; ++x) sums[x] += weight * static_cast<Sum>(row[x]);
  }
}

template <typename T, typename Sum>
void pool_plane(const T* plane,
                std::int64_t width,
                const Params& params,
                const AxisMatrix& rows,
                const AxisMatrix& columns,
                Sum* sums,
                T* pooled) {
  const std::int64_t num_columns = columns.begin[params.pooled_width];
  if (num_columns == 0) {
    std::fill_n(pooled, params.pooled_height * params.pooled_width, T(0.0f));
    return;
  }
  const auto [leftmost, rightmost] = std::minmax_element(
      columns.weights, columns.weights + num_columns, [](const Weight& a, const Weight& b) {
        return a.index < b.index;
      });
  const std::int64_t first = leftmost->index;
  const std::int64_t last = rightmost->index + 1;
  for (std::int64_t i = 0; i < params.pooled_height; ++i) {
    const std::int64_t begin = rows.begin[i];
    sum_rows(plane, width, rows.weights + begin, rows.begin[i + 1] - begin, first, last, sums);
    for (std::int64_t j = 0; j < params.pooled_width; ++j) {
      Sum bin = 0;
      for (std::int64_t k = columns.begin[j]; k < columns.begin[j + 1]; ++k) {
        bin += static_cast<Sum>(columns.weights[k].value) * sums[columns.weights[k].index];
      }
      *pooled++ = T(bin);
    }
  }
}

template <typename T>
Status check_batch_indices(const Inputs<T>& in) {
  const std::int64_t num_images = in.features.shape[0];
  for (std::int64_t r = 0; r < in.batch_indices.shape[0]; ++r) {
    const std::int64_t index = in.batch_indices.data[r];
    if (index >= 0 && index < num_images) continue;
    return failure(StatusCode::kInvalidArgument,
                   "roi_align: batch_indices[",
                   r,
                   "] is ",
                   index,
                   ", expected an image of the batch, 0 to ",
                   num_images - 1,
                   " (features has ",
                   num_images,
                   ")");
  }
  return {};
}

}  // namespace

template <typename T>
Status output_shape(const Params& params, const Inputs<T>& in, Shape<4>& shape) {
  const auto& [images, channels, height, width] = in.features.shape;
  const std::int64_t num_rois = in.boxes.shape[0];
  if (in.boxes.shape[1] != 4) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align: boxes has shape ",
                   in.boxes.shape,
                   ", expected [R, 4] with x1, y1, x2, y2");
  }
  if (in.batch_indices.shape[0] != num_rois) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align: batch_indices has shape ",
                   in.batch_indices.shape,
                   ", expected [",
                   num_rois,
                   "], one a box");
  }
  if (num_rois > 0 && (height < 1 || width < 1)) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align: features has shape ",
                   in.features.shape,
                   ", expected at least one row and column");
  }
  if (std::min(params.pooled_height, params.pooled_width) < 1 ||
      std::max(params.pooled_height, params.pooled_width) > kMaxBins) {
    return failure(StatusCode::kInvalidArgument,
                   "roi_align: output_size is (",
                   params.pooled_height,
                   ", ",
                   params.pooled_width,
                   "), expected 1 to ",
                   kMaxBins,
                   " bins a side");
  }
  if (params.sampling_ratio < 0 || params.sampling_ratio > kMaxSamples) {
    return failure(StatusCode::kInvalidArgument,
                   "roi_align: sampling_ratio is ",
                   params.sampling_ratio,
                   ", expected 1 to ",
                   kMaxSamples,
                   " samples a bin and axis, or 0 for as many as the bin has pixels");
  }
  if (!std::isfinite(params.spatial_scale) || params.spatial_scale <= 0.0) {
    return failure(StatusCode::kInvalidArgument,
                   "roi_align: spatial_scale is ",
                   params.spatial_scale,
                   ", expected feature-map pixels per image pixel, such as 1/16 for stride 16");
  }
  shape = {num_rois, channels, params.pooled_height, params.pooled_width};
  return check_output_size("roi_align", shape);
}

template <typename T>
std::size_t workspace_bytes(const Params& params, const Inputs<T>& in, const Context&) {
  const std::int64_t height = in.features.shape[2];
  const std::int64_t width = in.features.shape[3];
  return Workspace::bytes<Weight>(max_weights(params, params.pooled_height, height)) +
         Workspace::bytes<Weight>(max_weights(params, params.pooled_width, width)) +
         Workspace::bytes<std::int64_t>(params.pooled_height + 1) +
         Workspace::bytes<std::int64_t>(params.pooled_width + 1) +
         Workspace::bytes<SumOf<T>>(width);
}

template <typename T>
Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  Shape<4> shape{};
  if (Status status = output_shape(params, in, shape); !status.ok()) return status;
  if (out.pooled.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align: the output has shape ",
                   out.pooled.shape,
                   ", expected ",
                   shape);
  }
  if (Status status = check_batch_indices(in); !status.ok()) return status;
  out.num_capped = 0;
  if (out.pooled.size() == 0) return {};
  Status status = check_workspace("roi_align", context, workspace_bytes(params, in, context));
  if (!status.ok()) return status;

  const auto& [images, channels, height, width] = in.features.shape;
  Workspace workspace = context.workspace;
  AxisMatrix rows{workspace.take<Weight>(max_weights(params, params.pooled_height, height)),
                  workspace.take<std::int64_t>(params.pooled_height + 1)};
  AxisMatrix columns{workspace.take<Weight>(max_weights(params, params.pooled_width, width)),
                     workspace.take<std::int64_t>(params.pooled_width + 1)};
  SumOf<T>* const sums = workspace.take<SumOf<T>>(width);

  const std::int64_t plane_size = height * width;
  T* pooled = out.pooled.data;
  for (std::int64_t r = 0; r < in.boxes.shape[0]; ++r) {
    const float* box = in.boxes.data + 4 * r;
    const Interval across = make_interval(params, box[0], box[2], params.pooled_width, width);
    const Interval down = make_interval(params, box[1], box[3], params.pooled_height, height);
    out.num_capped += across.capped || down.capped;
    fill_axis_matrix(across, width, columns);
    fill_axis_matrix(down, height, rows);
    const T* plane = in.features.data + in.batch_indices.data[r] * channels * plane_size;
    for (std::int64_t c = 0; c < channels; ++c, plane += plane_size) {
      pool_plane(plane, width, params, rows, columns, sums, pooled);
      pooled += params.pooled_height * params.pooled_width;
    }
  }
  return {};
}

#define VINFER_INSTANTIATE(T)                                                               \
  template Status output_shape(const Params& params, const Inputs<T>& in, Shape<4>& shape); \
  template std::size_t workspace_bytes(                                                     \
      const Params& params, const Inputs<T>& in, const Context& context);                   \
  template Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);
VINFER_INSTANTIATE(float)
VINFER_INSTANTIATE(Half)
VINFER_INSTANTIATE(double)
#undef VINFER_INSTANTIATE

}  // namespace vinfer::roi_align
