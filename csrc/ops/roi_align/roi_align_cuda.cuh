// The matrices A_y and A_x of one RoI in the shared memory of a block: see roi_align.h.
#pragma once

#include "core/cuda.h"
#include "ops/roi_align/roi_align.h"

namespace vinfer::roi_align::device {

inline constexpr int kThreads = 256;
inline constexpr int kMaxBandBins = 49;  // bins whose matrices and sums are held at once
// Rows or columns of a map: so that the samples of a band can be counted in an int.
inline constexpr std::int64_t kMaxExtent = 1 << 24;
inline constexpr int kMaxAxisSamples = 128;  // samples whose weights are held at once, an axis

// A non-zero of A_y or A_x: a row or column of the map.
struct Weight {
  int index;
  float value;
};

// Part of A_y or A_x by rows: weights of bin i of the band are weights[begin[i]] to [begin[i + 1]].
struct AxisMatrix {
  Weight weights[2 * kMaxAxisSamples];
  int begin[kMaxBandBins + 1];
  int lowest;  // and highest index, where there are any
  int highest;

  __device__ int num_weights(int num_bins) const { return begin[num_bins]; }
};

// Memory for building the matrices, that may be used for something else in between.
struct MatrixScratch {
  struct Sample {
    int low;
    int high;
    double low_weight;
    double high_weight;
    bool inside;
  };
  struct Axis {
    Sample samples[kMaxAxisSamples];
    Weight merged[2 * kMaxAxisSamples];
    int num_merged[kMaxBandBins];
  };
  Axis axes[2];
};

// What is built for one axis: the samples [first, last), counted through the bins from first_bin
// on.
struct AxisPart {
  int first_bin;
  int num_bins;
  int first;
  int last;
};

// A band of bins, or, where these have too many samples, a part of one.
struct Part {
  AxisPart down;
  AxisPart across;
  bool starts_band;
  bool ends_band;
  bool is_last;  // of the RoI's share of a block
};

// Weights of a bin; repeated indices are one of the last two, for samples ascend or descend.
class Merger {
 public:
  __device__ Merger(Weight* to, int samples) : to_(to), samples_(samples) {}

  __device__ void add(int index, double weight) {
    if (count_ > 0 && index == index_[0]) {
      weight_[0] += weight;
    } else if (count_ > 1 && index == index_[1]) {
      weight_[1] += weight;
    } else {
      if (count_ > 1) write(1);
      index_[1] = index_[0];
      weight_[1] = weight_[0];
      index_[0] = index;
      weight_[0] = weight;
      ++count_;
    }
  }

  // Writes what is left and gives the number of weights.
  __device__ int finish() {
    if (count_ > 1) write(1);
    if (count_ > 0) write(0);
    return count_;
  }

 private:
  __device__ void write(int i) {
    *to_++ = Weight{index_[i], static_cast<float>(weight_[i] / samples_)};
  }

  Weight* to_;
  double samples_;
  int index_[2] = {0, 0};  // the last one, and the one before
  double weight_[2] = {0.0, 0.0};
  int count_ = 0;
};

// What all threads of a block know of a RoI: the rows of the map first, then its columns.
struct Roi {
  Interval intervals[2];
  int extents[2];

  __device__ int samples(int axis) const { return static_cast<int>(intervals[axis].samples); }
};

// By all threads of the block, which have left `scratch` and `matrices` and find them ready after.
__device__ inline void build_matrices(const Roi& roi,
                                      const Part& part,
                                      MatrixScratch& scratch,
                                      AxisMatrix* matrices) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 2) {
    matrices[thread].lowest = 0x7fffffff;
    matrices[thread].highest = 0;
  }
  const int num_down = part.down.last - part.down.first;
  const int num_across = part.across.last - part.across.first;
  for (int t = thread; t < num_down + num_across; t += kThreads) {
    const int axis = t < num_down ? 0 : 1;
    const int slot = axis == 0 ? t : t - num_down;
    const int in_band = slot + (axis == 0 ? part.down.first : part.across.first);
    const int bin = in_band / roi.samples(axis);
    const Tap tap = make_tap(roi.intervals[axis],
                             bin + (axis == 0 ? part.down.first_bin : part.across.first_bin),
                             in_band - bin * roi.samples(axis),
                             roi.extents[axis]);
    scratch.axes[axis].samples[slot] = {static_cast<int>(tap.low),
                                        static_cast<int>(tap.high),
                                        tap.low_weight,
                                        tap.high_weight,
                                        tap.inside};
  }
  __syncthreads();

  // One thread a bin: of the first two warps for the rows, of the next two for the columns.
  static_assert(kMaxBandBins <= 64 && kThreads >= 128);
  const int axis = thread / 64;
  const int bin = thread % 64;
  const int num_bins = axis == 0 ? part.down.num_bins : axis == 1 ? part.across.num_bins : 0;
  int first = 0;
  if (bin < num_bins) {
    const int num_slots = axis == 0 ? num_down : num_across;
    const int samples = roi.samples(axis);
    // Samples of this bin, as far as they are of this part.
    const int begin = bin * samples - (axis == 0 ? part.down.first : part.across.first);
    first = begin < 0 ? 0 : begin < num_slots ? begin : num_slots;
    const int last = begin + samples < num_slots ? begin + samples : num_slots;
    MatrixScratch::Axis& built = scratch.axes[axis];
    Merger merger(built.merged + 2 * first, samples);
    for (int s = first; s < last; ++s) {
      const MatrixScratch::Sample& sample = built.samples[s];
      if (!sample.inside) continue;
      merger.add(sample.low, sample.low_weight);
      if (sample.high != sample.low) merger.add(sample.high, sample.high_weight);
      atomicMin(&matrices[axis].lowest, sample.low);
      atomicMax(&matrices[axis].highest, sample.high);
    }
    built.num_merged[bin] = merger.finish();
  }
  __syncthreads();
  if (bin < num_bins) {
    const MatrixScratch::Axis& built = scratch.axes[axis];
    AxisMatrix& matrix = matrices[axis];
    int begin = 0;
    for (int b = 0; b < bin; ++b) begin += built.num_merged[b];
    const int count = built.num_merged[bin];
    for (int i = 0; i < count; ++i) matrix.weights[begin + i] = built.merged[2 * first + i];
    matrix.begin[bin] = begin;
    if (bin == num_bins - 1) matrix.begin[bin + 1] = begin + count;
  }
  __syncthreads();
}

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }

// Rows [first_row, last_row) of the bins of a RoI are done part by part. Parts lie in shared
// memory, where they cost no registers: one thread makes them, and the block synchronises.
__device__ inline Part make_part(
    const Roi& roi, int last_row, int bin_row, int bin_column, int sample_down, int sample_across) {
  const int num_columns = static_cast<int>(roi.intervals[1].bins);
  const int band_columns = smaller(num_columns, kMaxBandBins);
  const int rows = smaller(last_row - bin_row, kMaxBandBins / band_columns);
  const int columns = smaller(num_columns - bin_column, band_columns);
  const int samples_down = rows * roi.samples(0);
  const int samples_across = columns * roi.samples(1);
  Part part;
  part.down = {bin_row, rows, sample_down, smaller(samples_down, sample_down + kMaxAxisSamples)};
  part.across = {
      bin_column, columns, sample_across, smaller(samples_across, sample_across + kMaxAxisSamples)};
  part.starts_band = sample_down == 0 && sample_across == 0;
  part.ends_band = part.down.last == samples_down && part.across.last == samples_across;
  part.is_last =
      part.ends_band && bin_row + rows == last_row && bin_column + columns == num_columns;
  return part;
}

// The part after one that is not the last.
__device__ inline Part next_part(const Roi& roi, int last_row, const Part& part) {
  const AxisPart& down = part.down;
  const AxisPart& across = part.across;
  if (across.last < across.num_bins * roi.samples(1)) {
    return make_part(roi, last_row, down.first_bin, across.first_bin, down.first, across.last);
  }
  if (down.last < down.num_bins * roi.samples(0)) {
    return make_part(roi, last_row, down.first_bin, across.first_bin, down.last, 0);
  }
  const int bin_column = across.first_bin + across.num_bins;
  if (bin_column < roi.intervals[1].bins) {
    return make_part(roi, last_row, down.first_bin, bin_column, 0, 0);
  }
  return make_part(roi, last_row, down.first_bin + down.num_bins, 0, 0, 0);
}

}  // namespace vinfer::roi_align::device
