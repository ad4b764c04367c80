// How the CPU builds A_y and A_x. Included by roi_align_cpu.cpp only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/context.h"
#include "ops/roi_align/roi_align.h"
#include "ops/roi_align/roi_align_cpu_kernels.h"

namespace vinfer::roi_align {

// Taps of one bin ascend, and so do bins: neighbouring ones share two indices at most, so all bins
// of an axis together have few more weights than the map has rows or columns.
inline std::int64_t max_weights(const Params& params, std::int64_t bins, std::int64_t extent) {
  const std::int64_t samples =
      params.sampling_ratio > 0 ? params.sampling_ratio : max_adaptive_samples(extent, bins);
  return std::min(bins * samples * 2, extent + bins * 2);
}

template <typename Sum>
std::size_t matrices_bytes(const Params& params, std::int64_t height, std::int64_t width) {
  return Workspace::bytes<Weight<Sum>>(max_weights(params, params.pooled_height, height)) +
         Workspace::bytes<Weight<Sum>>(max_weights(params, params.pooled_width, width)) +
         Workspace::bytes<std::int64_t>(params.pooled_height + 1) +
         Workspace::bytes<std::int64_t>(params.pooled_width + 1);
}

template <typename Sum>
Roi<Sum> take_matrices(const Params& params,
                       std::int64_t height,
                       std::int64_t width,
                       Workspace& workspace) {
  Roi<Sum> roi{};
  roi.rows.bins = params.pooled_height;
  roi.rows.weights = workspace.take<Weight<Sum>>(max_weights(params, params.pooled_height, height));
  roi.rows.begin = workspace.take<std::int64_t>(params.pooled_height + 1);
  roi.columns.bins = params.pooled_width;
  roi.columns.weights =
      workspace.take<Weight<Sum>>(max_weights(params, params.pooled_width, width));
  roi.columns.begin = workspace.take<std::int64_t>(params.pooled_width + 1);
  return roi;
}

// The weights of one bin while it is filled, in float64: one ends, the next two can still grow.
template <typename Sum>
class BinWriter {
 public:
  BinWriter(Weight<Sum>* to, std::int64_t stride, double samples)
      : to_(to), stride_(stride), samples_(samples) {}

  // `low` never descends from one tap to the next.
  void add(const Tap& tap) {
    if (tap.low != low_) {
      const bool next = tap.low == low_ + 1;
      if (low_ >= 0) write(low_, low_sum_);
      if (has_high_ && !next) write(low_ + 1, high_sum_);
      low_sum_ = has_high_ && next ? high_sum_ : 0.0;
      low_ = tap.low;
      high_sum_ = 0.0;
      has_high_ = false;
    }
    low_sum_ += tap.low_weight;
    if (tap.high != tap.low) {
      high_sum_ += tap.high_weight;
      has_high_ = true;
    }
  }

  Weight<Sum>* finish() {
    if (low_ >= 0) write(low_, low_sum_);
    if (has_high_) write(low_ + 1, high_sum_);
    return to_;
  }

 private:
  void write(std::int64_t index, double sum) {
    *to_++ = {index * stride_, static_cast<Sum>(sum / samples_)};
  }

  Weight<Sum>* to_;
  std::int64_t stride_;
  double samples_;
  std::int64_t low_ = -1;
  double low_sum_ = 0.0;
  double high_sum_ = 0.0;
  bool has_high_ = false;
};

// `stride` is how many elements lie between two indices.
template <typename Sum>
void fill_axis_matrix(const Interval& interval,
                      std::int64_t extent,
                      std::int64_t stride,
                      AxisMatrix<Sum>& matrix) {
  Weight<Sum>* next = matrix.weights;
  // Samples of an inverted box descend.
  const bool inverted = interval.size < 0.0;
  for (std::int64_t bin = 0; bin < interval.bins; ++bin) {
    matrix.begin[bin] = next - matrix.weights;
    BinWriter<Sum> writer(next, stride, static_cast<double>(interval.samples));
    for (std::int64_t i = 0; i < interval.samples; ++i) {
      const std::int64_t sample = inverted ? interval.samples - 1 - i : i;
      const Tap tap = make_tap(interval, bin, sample, extent);
      if (tap.inside) writer.add(tap);
    }
    next = writer.finish();
  }
  matrix.begin[interval.bins] = next - matrix.weights;
}

// Both matrices of a box, into memory of `take_matrices`.
template <typename Sum>
void fill_matrices(const Params& params,
                   const float* box,
                   std::int64_t height,
                   std::int64_t width,
                   Roi<Sum>& roi) {
  const Interval across = make_interval(params, box[0], box[2], params.pooled_width, width);
  const Interval down = make_interval(params, box[1], box[3], params.pooled_height, height);
  fill_axis_matrix(across, width, 1, roi.columns);
  fill_axis_matrix(down, height, width, roi.rows);
  roi.max_taps = 0;
  roi.min_taps = width;
  roi.first_column = width;
  roi.end_column = 0;
  for (std::int64_t i = 0; i < roi.columns.bins; ++i) {
    const std::int64_t begin = roi.columns.begin[i];
    const std::int64_t end = roi.columns.begin[i + 1];
    roi.max_taps = std::max(roi.max_taps, end - begin);
    roi.min_taps = std::min(roi.min_taps, end - begin);
    if (begin == end) continue;
    roi.first_column = std::min(roi.first_column, roi.columns.weights[begin].offset);
    roi.end_column = std::max(roi.end_column, roi.columns.weights[end - 1].offset + 1);
  }
  if (roi.max_taps == 0) roi.first_column = 0;
  roi.capped = across.capped || down.capped;
}

}  // namespace vinfer::roi_align
