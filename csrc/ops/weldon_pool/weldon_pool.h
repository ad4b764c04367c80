#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/context.h"
#include "core/status.h"
#include "core/tensor_view.h"

// Weldon pooling (Durand, Thome, Cord 2016): the mean of the k_max highest values of a map plus
// alpha times the mean of its k_min lowest.
//
// Precision: float32 in and out, exact comparisons, sums in float64 with one rounding at the end.
// With tau the k-th value, a sum is (the values strictly beyond tau) + (the rest of k) * tau. The
// former is made of 16 partial sums, in index order: value i goes to partial i % 16, and then
// partial j + 8 is added to partial j, j + 4 to j, j + 2, j + 1. So it depends neither on the
// selection algorithm nor on threads nor on the CPU level.
namespace vinfer::weldon_pool {

inline constexpr int kNumPartialSums = 16;

struct Params {
  std::int64_t k_max = 16;  // >= 1; above the size of the map it counts as that size
  std::int64_t k_min = 16;  // >= 0; likewise; 0 drops the second term
  double alpha = 1.0;       // finite; 0 drops the second term, whatever the map holds
};

// T is float, Half or double (CPU only, for checking gradients).
template <typename T>
struct Inputs {
  TensorView<const T, 4> features;  // [N, C, H, W], H * W >= 1
};

template <typename T>
struct Outputs {
  TensorView<T, 2> pooled;  // [N, C]
  // Flat positions in the map, best first, the lowest index first among equals (-0 equals +0).
  // Wanted when data is set: [N, C, min(k_max, H * W)] and [N, C, min(k_min, H * W)].
  TensorView<std::int64_t, 3> max_indices;
  TensorView<std::int64_t, 3> min_indices;
};

struct OutputShapes {
  Shape<2> pooled{};
  Shape<3> max_indices{};
  Shape<3> min_indices{};
};

// Checks the arguments, then gives the shapes of all outputs.
template <typename T>
Status output_shapes(const Params& params, const Inputs<T>& in, OutputShapes& shapes);

// Scratch that `run` needs for arguments that `output_shapes` accepted, on a context like this one.
template <typename T>
std::size_t workspace_bytes(const Params& params, const Inputs<T>& in, const Context& context);

// Edges: a NaN makes its own map NaN with all positions -1. Infinities order as values do;
// inf + (-inf) is NaN.
template <typename T>
Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);

// `run` on a GPU, for arguments that it has checked: puts the work on the context's stream. T is
// float or Half.
template <typename T>
Status run_cuda(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);

}  // namespace vinfer::weldon_pool
