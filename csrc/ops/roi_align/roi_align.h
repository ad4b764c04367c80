#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/context.h"
#include "core/host_device.h"
#include "core/status.h"
#include "core/tensor_view.h"

// RoIAlign, average mode (Mask R-CNN, He et al. 2017, section 3; ONNX RoiAlign-16).
//
// A bin is the mean of a grid of bilinear samples. Validity, clamping and weights of a sample are
// products of a y and an x factor, so a RoI is out[c] = A_y f[c] A_x^T with two sparse matrices
// that all channels share.
//
// Precision: what is discontinuous in a position (samples a bin, inside or outside) is decided in
// float32 in the order of the ONNX kernel, so that both decide alike; positions and weights are
// float64. Weights are then rounded to the type of the sums over the map: float32 for float and
// Half, float64 for double. On the CPU results are the same bit for bit for every level, number of
// threads and number of RoIs a call. A pixel to which no sample gives a weight has no influence,
// not even where it is NaN.
namespace vinfer::roi_align {

struct Params {
  std::int64_t pooled_height = 7;  // bins, in [1, kMaxBins]
  std::int64_t pooled_width = 7;
  std::int64_t sampling_ratio =
      0;                       // samples a bin and axis, in [0, kMaxSamples]; 0: ceil(bin size)
  double spatial_scale = 1.0;  // feature-map pixels per image pixel, finite, > 0
  bool aligned = true;         // pixel i covers [i, i + 1); false: the first published form
};

// T is float, Half or double (CPU only, for checking gradients).
template <typename T>
struct Inputs {
  TensorView<const T, 4> features;                  // [N, C, H, W]
  TensorView<const float, 2> boxes;                 // [R, 4] xyxy in image pixels
  TensorView<const std::int64_t, 1> batch_indices;  // [R], each in [0, N)
};

template <typename T>
struct Outputs {
  TensorView<T, 4> pooled;  // [R, C, pooled_height, pooled_width]; overlaps no input
  // RoIs whose adaptive grid was cut down to max_adaptive_samples: boxes far outside the map.
  std::int64_t num_capped = 0;
};

inline constexpr std::int64_t kMaxBins = 4096;
inline constexpr std::int64_t kMaxSamples = 1024;

// Checks everything but the values of `batch_indices`, then gives the shape of `pooled`.
template <typename T>
Status output_shape(const Params& params, const Inputs<T>& in, Shape<4>& shape);

// Scratch that `run` needs for arguments that `output_shape` accepted, on a context like this one.
template <typename T>
std::size_t workspace_bytes(const Params& params, const Inputs<T>& in, const Context& context);

// Edges: no RoIs is no error. A sample outside [-1, extent], or at NaN, counts as 0. Zero size
// gives zeros when aligned and adaptive, the point's value when aligned and fixed, and a window of
// one pixel when not aligned. An inverted box gives zeros when adaptive.
template <typename T>
Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);

// `run` on a GPU, for arguments that it has checked but for the values of `batch_indices`: a RoI
// whose image is not in the batch gives zeros, and `num_capped` stays 0, since nothing is read
// back. Puts the work on the context's stream. T is float or Half.
template <typename T>
Status run_cuda(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);

template <typename T>
struct BackwardInputs {
  TensorView<const T, 4> grad_pooled;               // [R, C, pooled_height, pooled_width]
  TensorView<const float, 2> boxes;                 // [R, 4], as in Inputs
  TensorView<const std::int64_t, 1> batch_indices;  // [R]
};

// Checks everything but the values of `batch_indices`.
template <typename T>
Status check_backward(const Params& params,
                      const BackwardInputs<T>& in,
                      const Shape<4>& feature_shape);

template <typename T>
std::size_t backward_workspace_bytes(const Params& params,
                                     const BackwardInputs<T>& in,
                                     const Shape<4>& feature_shape,
                                     const Context& context);

// The gradient of `run` by its features, for T float or double: the sum of A_y^T grad_pooled A_x
// over the RoIs in their order, zero where no RoI reaches. Overwrites `grad_features`.
template <typename T>
Status run_backward(const Params& params,
                    const BackwardInputs<T>& in,
                    TensorView<T, 4> grad_features,
                    Context& context);

// Likewise `run_backward` on a GPU; the order of the additions varies from run to run.
Status run_backward_cuda(const Params& params,
                         const BackwardInputs<float>& in,
                         TensorView<float, 4> grad_features,
                         Context& context);

// A box reaching no further than the map never needs more samples than this.
VINFER_HD inline std::int64_t max_adaptive_samples(std::int64_t extent, std::int64_t bins) {
  const std::int64_t inside = (extent + bins - 1) / bins;
  return inside > 64 ? inside : 64;
}

// One axis of one RoI, in feature-map pixels.
struct Interval {
  double start;
  double size;
  float rounded_start;
  float rounded_bin;
  std::int64_t bins;
  std::int64_t samples;  // a bin
  bool capped;
};

VINFER_HD inline Interval make_interval(
    const Params& params, float low, float high, std::int64_t bins, std::int64_t extent) {
  const float scale = static_cast<float>(params.spatial_scale);
  const float offset = params.aligned ? 0.5f : 0.0f;
  Interval interval{};
  interval.bins = bins;
  interval.start = static_cast<double>(low) * params.spatial_scale - offset;
  interval.size = (static_cast<double>(high) - low) * params.spatial_scale;
  interval.rounded_start = low * scale - offset;
  float rounded_size = (high * scale - offset) - interval.rounded_start;
  if (!params.aligned) {
    if (interval.size < 1.0) interval.size = 1.0;
    if (rounded_size < 1.0f) rounded_size = 1.0f;
  }
  interval.rounded_bin = rounded_size / static_cast<float>(bins);
  if (params.sampling_ratio > 0) {
    interval.samples = params.sampling_ratio;
    return interval;
  }
  // Compared before it is cast: NaN and infinity have no integer.
  const std::int64_t cap = max_adaptive_samples(extent, bins);
  interval.capped = interval.rounded_bin > static_cast<float>(cap);
  if (interval.capped) {
    interval.samples = cap;
  } else if (interval.rounded_bin > 0.0f) {
    interval.samples = static_cast<std::int64_t>(std::ceil(interval.rounded_bin));
  }
  return interval;
}

// Two neighbours and their weights, or one, twice; both weights are 0 for a sample outside.
struct Tap {
  std::int64_t low = 0;
  std::int64_t high = 0;
  double low_weight = 0.0;
  double high_weight = 0.0;
  bool inside = false;
};

VINFER_HD inline Tap make_tap(const Interval& interval,
                              std::int64_t bin,
                              std::int64_t sample,
                              std::int64_t extent) {
  const float rounded = interval.rounded_start + static_cast<float>(bin) * interval.rounded_bin +
                        (static_cast<float>(sample) + 0.5f) * interval.rounded_bin /
                            static_cast<float>(interval.samples);
  Tap tap;
  // NaN is never inside, so it cannot reach the integer cast.
  tap.inside = rounded >= -1.0f && rounded <= static_cast<float>(extent);
  if (!tap.inside) return tap;
  const double in_bins = static_cast<double>(bin) + (static_cast<double>(sample) + 0.5) /
                                                        static_cast<double>(interval.samples);
  double position = interval.start + in_bins * interval.size / static_cast<double>(interval.bins);
  if (position < 0.0) position = 0.0;
  if (position >= static_cast<double>(extent - 1)) {
    tap.low = tap.high = extent - 1;
    tap.low_weight = 1.0;
    return tap;
  }
  tap.low = static_cast<std::int64_t>(position);
  tap.high_weight = position - static_cast<double>(tap.low);
  tap.low_weight = 1.0 - tap.high_weight;
  // A neighbour of weight 0 is none: 0 times infinity would be NaN.
  tap.high = tap.high_weight > 0.0 ? tap.low + 1 : tap.low;
  return tap;
}

}  // namespace vinfer::roi_align
