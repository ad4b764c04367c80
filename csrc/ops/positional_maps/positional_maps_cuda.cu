#include "core/cuda.h"
#include "ops/positional_maps/positional_maps.h"

namespace vinfer::positional_maps {
namespace {

inline constexpr int kThreads = 256;

__device__ inline float bin_centre(const Affine& position, std::uint32_t bin, std::uint32_t bins) {
  const float t = (static_cast<float>(bin) + 0.5f) / static_cast<float>(bins);
  return position.alpha + position.beta * t;
}

struct Arguments {
  const float* boxes;
  const float* reference;
  std::uint32_t num_maps;  // two a box; all maps have at most kMaxOutputElements, below 2^32
  std::uint32_t height;
  std::uint32_t width;
};

// Walks over the elements of the maps in the order of memory. The divisions are made once a walk.
class Walk {
 public:
  __device__ Walk(const Arguments& a, std::uint32_t first)
      : a_(a),
        column_(first % a.width),
        row_(first / a.width % a.height),
        map_(first / a.width / a.height) {
    enter_map();
  }

  __device__ float value() const {
    return axis_ == 0 ? bin_centre(position_, column_, a_.width)
                      : bin_centre(position_, row_, a_.height);
  }

  __device__ void advance() {
    if (++column_ < a_.width) return;
    column_ = 0;
    if (++row_ < a_.height) return;
    row_ = 0;
    ++map_;
    if (map_ < a_.num_maps) enter_map();
  }

 private:
  __device__ void enter_map() {
    axis_ = map_ % 2;  // x, then y
    const std::size_t low = std::size_t{map_ / 2} * 4 + axis_;
    position_ = relative_position(
        a_.boxes[low], a_.boxes[low + 2], a_.reference[low], a_.reference[low + 2]);
  }

  const Arguments& a_;
  std::uint32_t column_;
  std::uint32_t row_;
  std::uint32_t map_;
  std::uint32_t axis_ = 0;
  Affine position_;
};

// A pack of neighbouring elements a thread.
template <int count, typename T>
__global__ void __launch_bounds__(kThreads) fill_maps(Arguments a, T* maps) {
  const std::uint32_t num_elements = a.num_maps * a.height * a.width;
  const std::uint32_t num_packs = (num_elements + count - 1) / count;
  const std::uint32_t step = gridDim.x * kThreads;
  for (std::uint32_t p = blockIdx.x * kThreads + threadIdx.x; p < num_packs; p += step) {
    const std::uint32_t first = p * count;
    Walk walk(a, first);
    cuda::Pack<T, count> pack;
#pragma unroll
    for (int k = 0; k < count; ++k) {
      pack.element[k] = cuda::from_float<T>(walk.value());
      walk.advance();
    }
    if (first + count <= num_elements) {
      *reinterpret_cast<cuda::Pack<T, count>*>(maps + first) = pack;
    } else {
#pragma unroll
      for (int k = 0; k < count; ++k) {
        if (first + static_cast<std::uint32_t>(k) < num_elements) maps[first + k] = pack.element[k];
      }
    }
  }
}

}  // namespace

template <typename T>
Status run_cuda(const Params& params, const Inputs& in, TensorView<T, 4> maps, Context& context) {
  constexpr int kPack = 16 / sizeof(T);
  const Arguments arguments{in.boxes.data,
                            in.reference.data,
                            static_cast<std::uint32_t>(maps.shape[0] * 2),
                            static_cast<std::uint32_t>(params.height),
                            static_cast<std::uint32_t>(params.width)};
  const auto start = [&](std::int64_t pack, void (*kernel)(Arguments, T*)) {
    const unsigned blocks =
        cuda::num_blocks((maps.size() + kThreads * pack - 1) / (kThreads * pack));
    return cuda::launch(
        "positional_maps", context.stream, dim3(blocks), kThreads, kernel, arguments, maps.data);
  };
  return cuda::is_aligned_for_packs(maps.data, 0, kPack) ? start(kPack, fill_maps<kPack, T>)
                                                         : start(1, fill_maps<1, T>);
}

template Status run_cuda(const Params&, const Inputs&, TensorView<float, 4>, Context&);
template Status run_cuda(const Params&, const Inputs&, TensorView<Half, 4>, Context&);

}  // namespace vinfer::positional_maps
