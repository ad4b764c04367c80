#include <algorithm>

#include "core/half.h"
#include "core/parallel.h"
#include "ops/positional_maps/positional_maps_cpu_kernels.h"

namespace vinfer::positional_maps {
namespace {

// Where the centre of a bin lies along the box, in (0, 1).
float bin_centre(std::int64_t bin, std::int64_t bins) {
  return (static_cast<float>(bin) + 0.5f) / static_cast<float>(bins);
}

void fill(CpuLevel level, const Affine& position, const float* t, std::int64_t count, float* map) {
  VINFER_SELECT_LEVEL(level, fill_float)(position, t, count, map);
}

void fill(CpuLevel level, const Affine& position, const float* t, std::int64_t count, Half* map) {
  VINFER_SELECT_LEVEL(level, fill_half)(position, t, count, map);
}

Affine across(const Inputs& in, std::int64_t r) {
  const float* const box = in.boxes.data + 4 * r;
  const float* const reference = in.reference.data + 4 * r;
  return relative_position(box[0], box[2], reference[0], reference[2]);
}

Affine down(const Inputs& in, std::int64_t r) {
  const float* const box = in.boxes.data + 4 * r;
  const float* const reference = in.reference.data + 4 * r;
  return relative_position(box[1], box[3], reference[1], reference[3]);
}

// Maps of up to kMaxBins bins, with the centres of all bins: their rows are too short for vectors.
template <typename T>
void fill_small_maps(const Params& params,
                     const Inputs& in,
                     std::int64_t first,
                     std::int64_t last,
                     T* maps,
                     CpuLevel level) {
  float x[kMaxBins];
  float y[kMaxBins];
  const std::int64_t size = params.height * params.width;
  for (std::int64_t i = 0; i < size; ++i) {
    x[i] = bin_centre(i % params.width, params.width);
    y[i] = bin_centre(i / params.width, params.height);
  }
  for (std::int64_t r = first; r < last; ++r) {
    fill(level, across(in, r), x, size, maps + 2 * r * size);
    fill(level, down(in, r), y, size, maps + (2 * r + 1) * size);
  }
}

template <typename T>
void fill_large_maps(const Params& params,
                     const Inputs& in,
                     std::int64_t first,
                     std::int64_t last,
                     T* maps,
                     CpuLevel level) {
  float x[kMaxBins];
  for (std::int64_t j = 0; j < params.width; ++j) x[j] = bin_centre(j, params.width);
  T* row = maps + 2 * first * params.height * params.width;
  for (std::int64_t r = first; r < last; ++r) {
    const Affine horizontal = across(in, r);
    for (std::int64_t i = 0; i < params.height; ++i, row += params.width) {
      fill(level, horizontal, x, params.width, row);
    }
    const Affine vertical = down(in, r);
    for (std::int64_t i = 0; i < params.height; ++i) {
      const float y = bin_centre(i, params.height);
      row = std::fill_n(row, params.width, T(vertical.alpha + vertical.beta * y));
    }
  }
}

}  // namespace

Status output_shape(const Params& params, const Inputs& in, Shape<4>& shape) {
  if (in.boxes.shape[1] != 4) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: boxes has shape ",
                   in.boxes.shape,
                   ", expected [R, 4] with x1, y1, x2, y2");
  }
  if (in.reference.shape != in.boxes.shape) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: reference has shape ",
                   in.reference.shape,
                   ", expected ",
                   in.boxes.shape,
                   ", one a box");
  }
  if (std::min(params.height, params.width) < 1 ||
      std::max(params.height, params.width) > kMaxBins) {
    return failure(StatusCode::kInvalidArgument,
                   "positional_maps: size is (",
                   params.height,
                   ", ",
                   params.width,
                   "), expected 1 to ",
                   kMaxBins,
                   " bins a side");
  }
  shape = {in.boxes.shape[0], 2, params.height, params.width};
  return check_output_size("positional_maps", shape);
}

template <typename T>
Status run(const Params& params, const Inputs& in, TensorView<T, 4> maps, Context& context) {
  Shape<4> shape{};
  if (Status status = output_shape(params, in, shape); !status.ok()) return status;
  if (maps.shape != shape) {
    return failure(StatusCode::kInvalidShape,
                   "positional_maps: the output has shape ",
                   maps.shape,
                   ", expected ",
                   shape);
  }
  if (maps.size() == 0) return {};
  if (context.device == Device::kCuda) return run_cuda(params, in, maps, context);
  const std::int64_t num_tasks = num_tasks_for(context.parallel, shape[0], maps.size());
  const bool small = params.height * params.width <= kMaxBins;
  parallel_for(context.parallel,
               shape[0],
               num_tasks,
               [&](std::int64_t, std::int64_t first, std::int64_t last) {
                 const auto fill_maps = small ? fill_small_maps<T> : fill_large_maps<T>;
                 fill_maps(params, in, first, last, maps.data, context.cpu_level);
               });
  return {};
}

template Status run(const Params&, const Inputs&, TensorView<float, 4>, Context&);
template Status run(const Params&, const Inputs&, TensorView<Half, 4>, Context&);

}  // namespace vinfer::positional_maps
