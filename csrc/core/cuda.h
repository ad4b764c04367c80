// What the CUDA files share. Kernels use CUDA's own names; where no CUDA compiler reads them, the
// tests' emulation of these names takes its place, so that the same kernels run without a GPU.
#pragma once

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "cuda_on_cpu.h"
#endif

#include <algorithm>
#include <cstdint>

#include "core/half.h"
#include "core/status.h"

namespace vinfer::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Blocks of a grid-stride loop over this many pieces of work, one a block. Far below CUDA's limit
// of 2^31 - 1, and enough for any GPU to even out its load.
inline unsigned num_blocks(std::int64_t num_pieces) {
  return static_cast<unsigned>(std::min<std::int64_t>(num_pieces, 1 << 20));
}

inline Status status_of(const char* op, cudaError_t error) {
  if (error == cudaSuccess) return {};
  static_cast<void>(cudaGetLastError());  // so that no later call finds it again
  return failure(StatusCode::kDeviceFailed, op, ": CUDA says: ", cudaGetErrorString(error));
}

// Puts the kernel on the stream and returns at once.
template <typename... Parameters, typename... Args>
Status launch(const char* op,
              void* stream,
              dim3 grid,
              unsigned num_threads,
              void (*kernel)(Parameters...),
              const Args&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(num_threads);
  config.stream = static_cast<cudaStream_t>(stream);
  return status_of(op, cudaLaunchKernelEx(&config, kernel, args...));
}

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(Half value) { return __half2float(__ushort_as_half(value.bits)); }

template <typename T>
__device__ inline T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline Half from_float<Half>(float value) {
  Half half;
  half.bits = __half_as_ushort(__float2half_rn(value));
  return half;
}

// `count` elements that are read or written by one instruction; at an address of its alignment.
template <typename T, int count>
struct alignas(sizeof(T) * count) Pack {
  T element[count];
};

// Whether `pointer` and all distances of `stride` elements from it are aligned for packs.
template <typename T>
bool is_aligned_for_packs(const T* pointer, std::int64_t stride, std::int64_t count) {
  return stride % count == 0 && reinterpret_cast<std::uintptr_t>(pointer) %
                                        (sizeof(T) * static_cast<std::size_t>(count)) ==
                                    0;
}

// Over all lanes of a warp, which all call it; every lane gets the result.
template <typename T, typename Combine>
__device__ inline T over_warp(T value, const Combine& combine) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

}  // namespace vinfer::cuda
