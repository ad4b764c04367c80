#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "core/half.h"
#include "core/parallel.h"
#include "ops/weldon_pool/weldon_pool_cpu_kernels.h"

namespace vinfer::weldon_pool {
namespace {

constexpr std::int64_t kMapsAtOnce = 64;

// What values of type T are compared as.
template <typename T>
using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The sum that the header defines, over the values of `map` that are `before` tau, the k-th.
template <typename N, typename Before>
double mean_of_first(const N* map, std::int64_t size, std::int64_t k, N tau, const Before& before) {
  double sums[kNumPartialSums] = {};
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (!before(map[i], tau)) continue;
    sums[i % kNumPartialSums] += map[i];
    ++count;
  }
  for (int half = kNumPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return weldon_pool::mean_of_first(sums[0], count, tau, k);
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

// Where the results of a map go. Without indices both pointers are null.
template <typename T>
struct Result {
  T* pooled;
  std::int64_t* max_indices;
  std::int64_t* min_indices;
};

// One map of any values. `map` and `order` have room for its values.
template <typename T>
void pool_any(const Params& params,
              const T* stored,
              std::int64_t size,
              Number<T>* map,
              Number<T>* order,
              const Result<T>& result) {
  using N = Number<T>;
  const std::int64_t k_max = std::min(params.k_max, size);
  const std::int64_t k_min = std::min(params.k_min, size);
  const bool want_indices = result.max_indices != nullptr;
  for (std::int64_t i = 0; i < size; ++i) map[i] = static_cast<N>(stored[i]);
  // Selection needs an order, and NaN has none.
  if (std::any_of(map, map + size, [](N value) { return std::isnan(value); })) {
    *result.pooled = T(std::numeric_limits<float>::quiet_NaN());
    if (!want_indices) return;
    std::fill_n(result.max_indices, k_max, std::int64_t{-1});
    std::fill_n(result.min_indices, k_min, std::int64_t{-1});
    return;
  }
  std::copy(map, map + size, order);
  double pooled = pool_side(map, size, k_max, std::greater<N>{}, order, result.max_indices);
  if (want_indices || params.alpha != 0.0) {
    const double low = pool_side(map, size, k_min, std::less<N>{}, order, result.min_indices);
    // Skipped rather than multiplied by 0: that would be NaN where the lowest are infinite.
    if (params.alpha != 0.0 && k_min > 0) pooled += params.alpha * low;
  }
  *result.pooled = T(static_cast<N>(pooled));
}

// Kernels count in int32. Indices and float64 are for training, where the rest costs more.
template <typename T>
bool has_kernel(std::int64_t size, bool want_indices) {
  return !std::is_same_v<T, double> && !want_indices &&
         size <= std::numeric_limits<std::int32_t>::max();
}

void pool_maps(CpuLevel level,
               const Job& job,
               const float* maps,
               std::int64_t num_maps,
               float* scratch,
               float* pooled,
               bool* unfinished) {
  VINFER_SELECT_LEVEL(level, pool_float)(job, maps, num_maps, scratch, pooled, unfinished);
}

void pool_maps(CpuLevel level,
               const Job& job,
               const Half* maps,
               std::int64_t num_maps,
               float* scratch,
               Half* pooled,
               bool* unfinished) {
  VINFER_SELECT_LEVEL(level, pool_half)(job, maps, num_maps, scratch, pooled, unfinished);
}

template <typename T>
std::size_t task_bytes(std::int64_t size) {
  return 2 * Workspace::bytes<Number<T>>(size) + Workspace::bytes<float>(scratch_floats(size));
}

Status check_output(const char* name, bool right) {
  if (right) return {};
  return failure(StatusCode::kInvalidShape,
                 "weldon_pool: the output ",
                 name,
                 " has another shape than output_shapes() tells");
}

template <typename T>
Status start_on_gpu(const Params& params, const Inputs<T>& in, Outputs<T>& out, Context& context) {
  if constexpr (std::is_same_v<T, double>) {
    return failure(
        StatusCode::kInvalidDType,
        "weldon_pool: found float64 on a GPU, expected float32 or float16; float64 is for "
        "checking gradients on the CPU");
  } else {
    return run_cuda(params, in, out, context);
  }
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
std::size_t workspace_bytes(const Params&, const Inputs<T>& in, const Context& context) {
  if (context.device == Device::kCuda) return 0;
  const auto& [images, channels, height, width] = in.features.shape;
  const std::int64_t num_tasks =
      num_tasks_for(context.parallel, images * channels, in.features.size());
  return static_cast<std::size_t>(num_tasks) * task_bytes<T>(height * width);
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
  if (context.device == Device::kCuda) return start_on_gpu(params, in, out, context);
  Status status = check_workspace("weldon_pool", context, workspace_bytes(params, in, context));
  if (!status.ok()) return status;

  const std::int64_t size = in.features.shape[2] * in.features.shape[3];
  const std::int64_t k_max = shapes.max_indices[2];
  const std::int64_t k_min = shapes.min_indices[2];
  const Job job{size, k_max, params.alpha != 0.0 ? k_min : 0, params.alpha};
  const bool kernel = has_kernel<T>(size, want_indices);

  const std::int64_t num_maps = out.pooled.size();
  const std::int64_t num_tasks = num_tasks_for(context.parallel, num_maps, in.features.size());
  const auto bytes = static_cast<std::int64_t>(task_bytes<T>(size));
  std::byte* const memory = Workspace(context.workspace).take<std::byte>(num_tasks * bytes);
  const auto pool_range = [&](std::int64_t task, std::int64_t first, std::int64_t last) {
    Workspace workspace(memory + task * bytes, static_cast<std::size_t>(bytes));
    Number<T>* const map = workspace.take<Number<T>>(size);
    Number<T>* const order = workspace.take<Number<T>>(size);
    float* const scratch = workspace.take<float>(scratch_floats(size));
    for (std::int64_t start = first; start < last; start += kMapsAtOnce) {
      const std::int64_t count = std::min(kMapsAtOnce, last - start);
      const T* const stored = in.features.data + start * size;
      T* const pooled = out.pooled.data + start;
      bool unfinished[kMapsAtOnce];
      std::fill_n(unfinished, count, true);
      if constexpr (!std::is_same_v<T, double>) {
        if (kernel) {
          pool_maps(context.cpu_level, job, stored, count, scratch, pooled, unfinished);
        }
      }
      for (std::int64_t m = 0; m < count; ++m) {
        if (!unfinished[m]) continue;
        Result<T> result{pooled + m, nullptr, nullptr};
        if (want_indices) {
          result.max_indices = out.max_indices.data + (start + m) * k_max;
          result.min_indices = out.min_indices.data + (start + m) * k_min;
        }
        pool_any(params, stored + m * size, size, map, order, result);
      }
    }
  };
  parallel_for(context.parallel, num_maps, num_tasks, pool_range);
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
