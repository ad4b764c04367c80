#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/half.h"
#include "core/parallel.h"
#include "ops/roi_align/roi_align.h"
#include "ops/roi_align/roi_align_cpu_kernels.h"
#include "ops/roi_align/roi_align_cpu_matrices.h"

namespace vinfer::roi_align {
namespace {

template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// RoIs whose matrices are kept at once.
constexpr std::int64_t kMatricesBytes = std::int64_t{1} << 20;
constexpr std::int64_t kMaxGroup = 256;
// Maps that stay in a core's cache while all RoIs of a group read them.
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 18;
constexpr std::int64_t kMinBlock = 8;

// How the work is cut up: groups of RoIs one after the other; in a group first the matrices, then
// items of one block of channels and, forwards, one RoI.
struct Split {
  std::int64_t group;         // RoIs
  std::int64_t block;         // channels
  std::int64_t num_blocks;    // the last one can be shorter
  std::int64_t matrix_tasks;  // for the matrices of one group
  std::int64_t num_tasks;     // for the items of one group
};

template <typename T>
Split split_work(const Params& params,
                 const Shape<4>& feature_shape,
                 std::int64_t num_rois,
                 bool backward,
                 const Context& context) {
  const auto& [images, channels, height, width] = feature_shape;
  const auto bytes = static_cast<std::int64_t>(sizeof(Roi<SumOf<T>>) +
                                               matrices_bytes<SumOf<T>>(params, height, width));
  Split split{};
  split.group = std::clamp<std::int64_t>(kMatricesBytes / bytes, 1, kMaxGroup);
  split.group = std::min(split.group, num_rois);
  split.matrix_tasks = num_tasks_for(context.parallel, split.group, split.group << 10);
  // Of one channel.
  const std::int64_t items = backward ? images : split.group;
  const std::int64_t elements = split.group * (params.pooled_height * params.pooled_width * 2) +
                                (backward ? height * width : 0);
  const std::int64_t most = num_tasks_for(context.parallel, items * channels, elements * channels);
  const std::int64_t plane_bytes = height * width * static_cast<std::int64_t>(sizeof(T));
  split.block = std::max(kBlockBytes / plane_bytes, 2 * kMinBlock);
  // A block a task at least, as far as that leaves blocks worth their fixed cost.
  split.block = std::min(split.block, std::max(items * channels / most, kMinBlock));
  split.block = std::min(split.block, channels);
  split.num_blocks = (channels + split.block - 1) / split.block;
  split.num_tasks = std::min(most, items * split.num_blocks);
  return split;
}

// The matrices of RoIs [first_roi, first_roi + group).
template <typename Sum>
void fill_group(const Params& params,
                const float* boxes,
                const Shape<4>& feature_shape,
                std::int64_t first_roi,
                std::int64_t group,
                const Split& split,
                Context& context,
                Roi<Sum>* rois) {
  const auto fill = [&](std::int64_t, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const float* const box = boxes + 4 * (first_roi + i);
      fill_matrices(params, box, feature_shape[2], feature_shape[3], rois[i]);
    }
  };
  parallel_for(context.parallel, group, std::min(split.matrix_tasks, group), fill);
}

template <typename Sum>
std::size_t group_bytes(const Params& params, const Shape<4>& feature_shape, const Split& split) {
  return Workspace::bytes<Roi<Sum>>(split.group) +
         static_cast<std::size_t>(split.group) *
             matrices_bytes<Sum>(params, feature_shape[2], feature_shape[3]);
}

template <typename Sum>
Roi<Sum>* take_group(const Params& params,
                     const Shape<4>& feature_shape,
                     const Split& split,
                     Workspace& workspace) {
  Roi<Sum>* const rois = workspace.take<Roi<Sum>>(split.group);
  for (std::int64_t i = 0; i < split.group; ++i) {
    rois[i] = take_matrices<Sum>(params, feature_shape[2], feature_shape[3], workspace);
  }
  return rois;
}

void pool_double(const Roi<double>& roi, const Maps<double>& maps, double* sums, double* pooled) {
  for (std::int64_t c = 0; c < maps.channels; ++c) {
    const double* const map = maps.first + c * maps.stride;
    for (std::int64_t i = 0; i < roi.rows.bins; ++i) {
      std::fill(sums + roi.first_column, sums + roi.end_column, 0.0);
      for (std::int64_t k = roi.rows.begin[i]; k < roi.rows.begin[i + 1]; ++k) {
        const double* const row = map + roi.rows.weights[k].offset;
        const double weight = roi.rows.weights[k].value;
        for (std::int64_t x = roi.first_column; x < roi.end_column; ++x) sums[x] += weight * row[x];
      }
      for (std::int64_t j = 0; j < roi.columns.bins; ++j) {
        double bin = 0.0;
        for (std::int64_t k = roi.columns.begin[j]; k < roi.columns.begin[j + 1]; ++k) {
          bin += roi.columns.weights[k].value * sums[roi.columns.weights[k].offset];
        }
        *pooled++ = bin;
      }
    }
  }
}

template <typename T>
using Pool = void (*)(const Roi<SumOf<T>>&, const Maps<T>&, SumOf<T>*, T*);

template <typename T>
Pool<T> pool_of([[maybe_unused]] CpuLevel level) {
  if constexpr (std::is_same_v<T, double>) {
    return pool_double;
  } else if constexpr (std::is_same_v<T, Half>) {
    return VINFER_SELECT_LEVEL(level, pool_half);
  } else {
    return VINFER_SELECT_LEVEL(level, pool_float);
  }
}

template <typename T>
using Spread = void (*)(const Roi<T>&, const T*, const GradMaps<T>&, T*);

template <typename T>
Spread<T> spread_of(CpuLevel level) {
  if constexpr (std::is_same_v<T, double>) {
    return VINFER_SELECT_LEVEL(level, spread_double);
  } else {
    return VINFER_SELECT_LEVEL(level, spread_float);
  }
}

Status check_batch_indices(const TensorView<const std::int64_t, 1>& batch_indices,
                           std::int64_t num_images) {
  for (std::int64_t r = 0; r < batch_indices.shape[0]; ++r) {
    const std::int64_t index = batch_indices.data[r];
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

Status refuse_float64(const char* op) {
  return failure(StatusCode::kInvalidDType,
                 op,
                 ": found float64 on a GPU, expected float32 or float16; float64 is for checking "
                 "gradients on the CPU");
}

template <typename T>
Status start_on_gpu(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  if constexpr (std::is_same_v<T, double>) {
    return refuse_float64("roi_align");
  } else {
    return run_cuda(params, in, out, context);
  }
}

template <typename T>
Status start_backward_on_gpu(const Params& params,
                             const BackwardInputs<T>& in,
                             TensorView<T, 4> grad_features,
                             Context& context) {
  if constexpr (std::is_same_v<T, double>) {
    return refuse_float64("roi_align_backward");
  } else {
    return run_backward_cuda(params, in, grad_features, context);
  }
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
std::size_t workspace_bytes(const Params& params, const Inputs<T>& in, const Context& context) {
  const Shape<4>& shape = in.features.shape;
  if (context.device == Device::kCuda || in.boxes.shape[0] == 0 || shape[1] == 0) return 0;
  const Split split = split_work<T>(params, shape, in.boxes.shape[0], false, context);
  return group_bytes<SumOf<T>>(params, shape, split) +
         Workspace::bytes<SumOf<T>>(split.num_tasks *
                                    scratch_elements(shape[3], params.pooled_width));
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
  out.num_capped = 0;
  if (out.pooled.size() == 0) return {};
  if (context.device == Device::kCuda) return start_on_gpu(params, in, out, context);
  Status status = check_batch_indices(in.batch_indices, in.features.shape[0]);
  if (!status.ok()) return status;
  status = check_workspace("roi_align", context, workspace_bytes(params, in, context));
  if (!status.ok()) return status;

  const Shape<4>& feature_shape = in.features.shape;
  const std::int64_t channels = feature_shape[1];
  const std::int64_t plane = feature_shape[2] * feature_shape[3];
  const std::int64_t bins = params.pooled_height * params.pooled_width;
  const std::int64_t num_rois = in.boxes.shape[0];
  const Split split = split_work<T>(params, feature_shape, num_rois, false, context);
  Workspace workspace = context.workspace;
  auto* const rois = take_group<SumOf<T>>(params, feature_shape, split, workspace);
  const std::int64_t scratch_stride = scratch_elements(feature_shape[3], params.pooled_width);
  auto* const scratch = workspace.take<SumOf<T>>(scratch_stride * split.num_tasks);
  const Pool<T> pool = pool_of<T>(context.cpu_level);

  for (std::int64_t first_roi = 0; first_roi < num_rois; first_roi += split.group) {
    const std::int64_t group = std::min(split.group, num_rois - first_roi);
    fill_group(params, in.boxes.data, feature_shape, first_roi, group, split, context, rois);
    for (std::int64_t i = 0; i < group; ++i) out.num_capped += rois[i].capped;
    const auto pool_items = [&](std::int64_t task, std::int64_t first, std::int64_t last) {
      for (std::int64_t item = first; item < last; ++item) {
        const std::int64_t channel = item / group * split.block;
        const std::int64_t i = item % group;
        const std::int64_t r = first_roi + i;
        const Maps<T> maps{
            in.features.data + (in.batch_indices.data[r] * channels + channel) * plane,
            in.features.data + in.features.size(),
            plane,
            feature_shape[3],
            std::min(split.block, channels - channel)};
        pool(rois[i],
             maps,
             scratch + task * scratch_stride,
             out.pooled.data + (r * channels + channel) * bins);
      }
    };
    const std::int64_t num_items = group * split.num_blocks;
    parallel_for(context.parallel, num_items, std::min(split.num_tasks, num_items), pool_items);
  }
  return {};
}

template <typename T>
Status check_backward(const Params& params,
                      const BackwardInputs<T>& in,
                      const Shape<4>& feature_shape) {
  if (std::any_of(feature_shape.begin(), feature_shape.end(), [](auto n) { return n < 0; })) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align_backward: feature_shape is ",
                   feature_shape,
                   ", expected the shape [N, C, H, W] of the features");
  }
  Shape<4> shape{};
  const Inputs<T> forward{{nullptr, feature_shape}, in.boxes, in.batch_indices};
  if (Status status = output_shape(params, forward, shape); !status.ok()) return status;
  if (in.grad_pooled.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "roi_align_backward: grad_pooled has shape ",
                   in.grad_pooled.shape,
                   ", expected that of the forward output, ",
                   shape);
  }
  return check_output_size("roi_align_backward", feature_shape);
}

template <typename T>
std::size_t backward_workspace_bytes(const Params& params,
                                     const BackwardInputs<T>& in,
                                     const Shape<4>& feature_shape,
                                     const Context& context) {
  const std::int64_t num_rois = in.boxes.shape[0];
  if (context.device == Device::kCuda) return 0;
  if (num_rois == 0 || TensorView<T, 4>{nullptr, feature_shape}.size() == 0) return 0;
  const Split split = split_work<T>(params, feature_shape, num_rois, true, context);
  return group_bytes<T>(params, feature_shape, split) +
         static_cast<std::size_t>(split.num_tasks) * Workspace::bytes<T>(feature_shape[3]);
}

template <typename T>
Status run_backward(const Params& params,
                    const BackwardInputs<T>& in,
                    TensorView<T, 4> grad_features,
                    Context& context) {
  const Shape<4>& shape = grad_features.shape;
  if (Status status = check_backward(params, in, shape); !status.ok()) return status;
  if (grad_features.size() == 0) return {};
  if (context.device == Device::kCuda) {
    return start_backward_on_gpu(params, in, grad_features, context);
  }
  Status status = check_batch_indices(in.batch_indices, shape[0]);
  if (!status.ok()) return status;
  const std::size_t needed = backward_workspace_bytes(params, in, shape, context);
  if (status = check_workspace("roi_align_backward", context, needed); !status.ok()) return status;
  const std::int64_t num_rois = in.boxes.shape[0];
  if (num_rois == 0) {
    std::fill_n(grad_features.data, grad_features.size(), T{0});
    return {};
  }

  const std::int64_t channels = shape[1];
  const std::int64_t plane = shape[2] * shape[3];
  const std::int64_t bins = params.pooled_height * params.pooled_width;
  const Split split = split_work<T>(params, shape, num_rois, true, context);
  Workspace workspace = context.workspace;
  auto* const rois = take_group<T>(params, shape, split, workspace);
  const auto sums_stride = static_cast<std::int64_t>(Workspace::bytes<T>(shape[3]) / sizeof(T));
  T* const sums = workspace.take<T>(sums_stride * split.num_tasks);
  const Spread<T> spread = spread_of<T>(context.cpu_level);

  for (std::int64_t first_roi = 0; first_roi < num_rois; first_roi += split.group) {
    const std::int64_t group = std::min(split.group, num_rois - first_roi);
    fill_group(params, in.boxes.data, shape, first_roi, group, split, context, rois);
    // A map belongs to one task, which adds RoI after RoI: no two threads write one element, and
    // the order of additions is always the same.
    const auto spread_items = [&](std::int64_t task, std::int64_t first, std::int64_t last) {
      for (std::int64_t item = first; item < last; ++item) {
        const std::int64_t image = item / split.num_blocks;
        const std::int64_t channel = item % split.num_blocks * split.block;
        const GradMaps<T> maps{grad_features.data + (image * channels + channel) * plane,
                               plane,
                               std::min(split.block, channels - channel)};
        if (first_roi == 0) std::fill_n(maps.first, maps.channels * plane, T{0});
        for (std::int64_t r = first_roi; r < first_roi + group; ++r) {
          if (in.batch_indices.data[r] != image) continue;
          const T* const grad_pooled = in.grad_pooled.data + (r * channels + channel) * bins;
          spread(rois[r - first_roi], grad_pooled, maps, sums + task * sums_stride);
        }
      }
    };
    parallel_for(context.parallel, shape[0] * split.num_blocks, split.num_tasks, spread_items);
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

#define VINFER_INSTANTIATE_BACKWARD(T)                                                   \
  template Status check_backward(                                                        \
      const Params& params, const BackwardInputs<T>& in, const Shape<4>& feature_shape); \
  template std::size_t backward_workspace_bytes(const Params& params,                    \
                                                const BackwardInputs<T>& in,             \
                                                const Shape<4>& feature_shape,           \
                                                const Context& context);                 \
  template Status run_backward(const Params& params,                                     \
                               const BackwardInputs<T>& in,                              \
                               TensorView<T, 4> grad_features,                           \
                               Context& context);
VINFER_INSTANTIATE_BACKWARD(float)
VINFER_INSTANTIATE_BACKWARD(double)
#undef VINFER_INSTANTIATE_BACKWARD

}  // namespace vinfer::roi_align
