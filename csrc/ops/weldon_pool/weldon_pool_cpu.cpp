#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "core/half.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer::weldon_pool {
namespace {

// What values of type T are compared as.
template <typename T>
using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Mean of the k values of `map` that come first under `before`, whose k-th is tau.
template <typename N, typename Before>
double mean_of_first(const N* map, std::int64_t size, std::int64_t k, N tau, const Before& before) {
  double sum = 0.0;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (!before(map[i], tau)) continue;
    sum += map[i];
    ++count;
  }
  return (sum + static_cast<double>(k - count) * tau) / static_cast<double>(k);
}

template <typename N, typename Before>
void indices_of_first(const N* map,
                      std::int64_t size,
                      std::int64_t k,
                      N tau,
                      const Before& before,
                      std::int64_t* indices) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (before(map[i], tau)) indices[count++] = i;
  }
  for (std::int64_t i = 0; count < k; ++i) {
    if (map[i] == tau) indices[count++] = i;
  }
  std::sort(indices, indices + k, [&](std::int64_t a, std::int64_t b) {
    if (map[a] == map[b]) return a < b;
    return before(map[a], map[b]);
  });
}

// One side of one map. `scratch` holds the map's values in any order and keeps holding them.
template <typename N, typename Before>
double pool_side(const N* map,
                 std::int64_t size,
                 std::int64_t k,
                 const Before& before,
                 N* scratch,
                 std::int64_t* indices) {
  if (k == 0) return 0.0;
  std::nth_element(scratch, scratch + (k - 1), scratch + size, before);
  const N tau = scratch[k - 1];
  if (indices != nullptr) indices_of_first(map, size, k, tau, before, indices);
  return mean_of_first(map, size, k, tau, before);
}

Status check_output(const char* name, bool right) {
  if (right) return {};
  return failure(StatusCode::kInvalidShape,
                 "weldon_pool: the output ",
                 name,
                 " has another shape than output_shapes() tells");
}

}  // namespace

template <typename T>
Status output_shapes(const Params& params, const Inputs<T>& in, OutputShapes& shapes) {
  const auto& [images, channels, height, width] = in.features.shape;
  if (height < 1 || width < 1) {
    return failure(StatusCode::kInvalidShape,
                   "weldon_pool: x has shape ",
                   in.features.shape,
                   ", expected at least one row and column");
  }
  if (params.k_max < 1) {
    return failure(StatusCode::kInvalidArgument,
                   "weldon_pool: k_max is ",
                   params.k_max,
                   ", expected at least 1");
  }
  if (params.k_min < 0) {
    return failure(StatusCode::kInvalidArgument,
                   "weldon_pool: k_min is ",
                   params.k_min,
                   ", expected at least 1, or 0 for the highest values alone");
  }
  if (!std::isfinite(params.alpha)) {
    return failure(StatusCode::kInvalidArgument,
                   "weldon_pool: alpha is ",
                   params.alpha,
                   ", expected a finite weight of the lowest values");
  }
  const std::int64_t size = height * width;
  shapes.pooled = {images, channels};
  shapes.max_indices = {images, channels, std::min(params.k_max, size)};
  shapes.min_indices = {images, channels, std::min(params.k_min, size)};
  return {};
}

template <typename T>
std::size_t workspace_bytes(const Params&, const Inputs<T>& in, const Context&) {
  return 2 * Workspace::bytes<Number<T>>(in.features.shape[2] * in.features.shape[3]);
}

template <typename T>
Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  OutputShapes shapes;
  if (Status status = output_shapes(params, in, shapes); !status.ok()) return status;
  const bool want_indices = out.max_indices.data != nullptr;
  if (Status status = check_output("pooled", out.pooled.shape == shapes.pooled); !status.ok()) {
    return status;
  }
  if (want_indices) {
    const bool right =
        out.max_indices.shape == shapes.max_indices && out.min_indices.shape == shapes.min_indices;
    if (Status status = check_output("indices", right); !status.ok()) return status;
  }
  if (out.pooled.size() == 0) return {};
  Status status = check_workspace("weldon_pool", context, workspace_bytes(params, in, context));
  if (!status.ok()) return status;

  const std::int64_t size = in.features.shape[2] * in.features.shape[3];
  const std::int64_t k_max = shapes.max_indices[2];
  const std::int64_t k_min = shapes.min_indices[2];
  Workspace workspace = context.workspace;
  Number<T>* const scratch = workspace.take<Number<T>>(size);
  Number<T>* const map = workspace.take<Number<T>>(size);

  const T* stored = in.features.data;
  std::int64_t* max_indices = out.max_indices.data;
  std::int64_t* min_indices = want_indices ? out.min_indices.data : nullptr;
  for (std::int64_t m = 0; m < out.pooled.size(); ++m, stored += size) {
    for (std::int64_t i = 0; i < size; ++i) map[i] = static_cast<Number<T>>(stored[i]);
    // Selection needs an order, and NaN has none.
    if (std::any_of(map, map + size, [](Number<T> value) { return std::isnan(value); })) {
      out.pooled.data[m] = T(std::numeric_limits<float>::quiet_NaN());
      if (want_indices) {
        max_indices = std::fill_n(max_indices, k_max, std::int64_t{-1});
        min_indices = std::fill_n(min_indices, k_min, std::int64_t{-1});
      }
      continue;
    }
    std::copy(map, map + size, scratch);
    double pooled = pool_side(map, size, k_max, std::greater<Number<T>>{}, scratch, max_indices);
    if (want_indices || params.alpha != 0.0) {
      const double low = pool_side(map, size, k_min, std::less<Number<T>>{}, scratch, min_indices);
      // Skipped rather than multiplied by 0: that would be NaN where the lowest are infinite.
      if (params.alpha != 0.0 && k_min > 0) pooled += params.alpha * low;
    }
    out.pooled.data[m] = T(static_cast<Number<T>>(pooled));
    if (want_indices) {
      max_indices += k_max;
      min_indices += k_min;
    }
  }
  return {};
}

#define VINFER_INSTANTIATE(T)                                                                     \
  template Status output_shapes(const Params& params, const Inputs<T>& in, OutputShapes& shapes); \
  template std::size_t workspace_bytes(                                                           \
      const Params& params, const Inputs<T>& in, const Context& context);                         \
  template Status run(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context);
VINFER_INSTANTIATE(float)
VINFER_INSTANTIATE(Half)
VINFER_INSTANTIATE(double)
#undef VINFER_INSTANTIATE

}  // namespace vinfer::weldon_pool
