#pragma once

#include <cstdint>

#include "core/cpu_level.h"
#include "core/half.h"

namespace vinfer::roi_align {

// A non-zero of A_y or A_x.
template <typename Sum>
struct Weight {
  std::int64_t offset;  // of the row or column, in elements from the start of a channel's map
  Sum value;
};

// A_y or A_x by rows: the weights of bin i are weights[begin[i]] .. weights[begin[i + 1] - 1], in
// ascending order of their offsets.
template <typename Sum>
struct AxisMatrix {
  Weight<Sum>* weights;
  std::int64_t* begin;
  std::int64_t bins;
};

// What all channels of a RoI share. Row offsets count from column 0.
template <typename Sum>
struct Roi {
  AxisMatrix<Sum> rows;
  AxisMatrix<Sum> columns;
  // Columns that have a weight lie in [first_column, end_column); none when these are equal.
  std::int64_t first_column;
  std::int64_t end_column;
  std::int64_t max_taps;  // weights of the bin that has most of them across, and fewest
  std::int64_t min_taps;
  bool capped;  // the sampling grid, to max_adaptive_samples
};

// Some channels of one image. Nothing from `end` on can be read; what lies between a map's last
// weight and `end` can, and is never used.
template <typename T>
struct Maps {
  const T* first;
  const T* end;
  std::int64_t stride;  // from one channel to the next
  std::int64_t width;
  std::int64_t channels;
};

// Elements of scratch that a kernel needs: a vector, of at most 16 lanes, for every column of the
// map and every bin across, both rounded up to whole vectors.
inline std::int64_t scratch_elements(std::int64_t width, std::int64_t bins) {
  return 16 * (width + 15 + bins + 15);
}

template <typename T>
struct GradMaps {
  T* first;
  std::int64_t stride;
  std::int64_t channels;
};

}  // namespace vinfer::roi_align

// pool: pooled[c] = A_y map[c] A_x^T, in this order of operations at every level: the rows of a bin
// from the top, then its columns from the left. spread: grad_maps[c] += A_y^T grad_pooled[c] A_x.
// `sums` is scratch of a row's length.
#define VINFER_DECLARE(level)                                                                     \
  namespace vinfer::roi_align::level {                                                            \
  void pool_float(const Roi<float>& roi, const Maps<float>& maps, float* scratch, float* pooled); \
  void pool_half(const Roi<float>& roi, const Maps<Half>& maps, float* scratch, Half* pooled);    \
  void spread_float(const Roi<float>& roi,                                                        \
                    const float* grad_pooled,                                                     \
                    const GradMaps<float>& grad_maps,                                             \
                    float* sums);                                                                 \
  void spread_double(const Roi<double>& roi,                                                      \
                     const double* grad_pooled,                                                   \
                     const GradMaps<double>& grad_maps,                                           \
                     double* sums);                                                               \
  }
VINFER_FOR_EACH_LEVEL(VINFER_DECLARE)
#undef VINFER_DECLARE
