// The part of CUDA that our kernels use, on a CPU: csrc/core/cuda.h includes this file where no
// CUDA compiler reads it, so that a machine without a GPU can test the kernels themselves.
//
// Blocks run one after the other. The threads of a block are fibers of one thread of the system,
// each with its own stack, that change places only where they wait for each other: __syncthreads,
// __syncwarp, shuffles and votes. So a run is the same every time. A thread that waits for one that
// has ended or waits elsewhere ends the test with a message.
//
// The sanitizers know about the fibers. Under ThreadSanitizer only barriers order what two threads
// do, as on a GPU, so that a barrier which is missing is reported as a race.
#pragma once

#include <ucontext.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "core/half.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// The emulation itself is no part of what is checked for races.
#define VINFER_UNCHECKED __attribute__((no_sanitize("thread"), noinline))

#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block at a time
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  constexpr explicit(false) dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)
      : x(x_), y(y_), z(z_) {}
};

namespace cuda_on_cpu {

inline constexpr int kMaxThreads = 1024;
inline constexpr int kWarpSize = 32;
inline constexpr std::size_t kStackBytes = 128 << 10;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "cuda_on_cpu: %s\n", what);
  std::abort();
}

struct Fiber {
  ucontext_t context;
  char* stack = nullptr;  // kept from launch to launch
  bool ended = true;
  void* tsan = nullptr;
  void* asan = nullptr;
};

// Threads that wait for each other: `count` of `expected` have come to the present round.
struct Meeting {
  int expected = 0;
  int count = 0;
  std::uint64_t round = 0;
  char order[2] = {};  // addresses for ThreadSanitizer, by the parity of the round
};

struct Warp {
  Meeting meeting;
  // By the parity of the round: a lane may come to the next round while others still read.
  std::atomic<std::uint64_t> values[2][kWarpSize];
};

struct Machine {
  Fiber fibers[kMaxThreads];
  Fiber launcher;
  Warp warps[kMaxThreads / kWarpSize];
  Meeting block;
  int num_threads = 0;
  int current = -1;  // thread that runs
  int idle = 0;      // changes of threads since the last time that any of them got further
  dim3 block_index;
  dim3 grid_size;
  void (*call)(const void* state) = nullptr;
  const void* state = nullptr;
  const void* launcher_stack = nullptr;
  std::size_t launcher_stack_bytes = 0;
};

inline Machine machine;

inline void order_before([[maybe_unused]] void* address) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(address);
#endif
}

inline void order_after([[maybe_unused]] void* address) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(address);
#endif
}

VINFER_UNCHECKED inline void finish_switch([[maybe_unused]] void* asan) {
#if defined(__SANITIZE_ADDRESS__)
  const void* left = nullptr;
  std::size_t left_bytes = 0;
  __sanitizer_finish_switch_fiber(asan, &left, &left_bytes);
  if (machine.launcher_stack == nullptr) {
    machine.launcher_stack = left;  // the first switch of a launch leaves the launcher
    machine.launcher_stack_bytes = left_bytes;
  }
#endif
}

VINFER_UNCHECKED inline void switch_to(Fiber& from, Fiber& to, [[maybe_unused]] bool for_ever) {
#if defined(__SANITIZE_ADDRESS__)
  const bool home = &to == &machine.launcher;
  __sanitizer_start_switch_fiber(for_ever ? nullptr : &from.asan,
                                 home ? machine.launcher_stack : to.stack,
                                 home ? machine.launcher_stack_bytes : kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  swapcontext(&from.context, &to.context);
  finish_switch(from.asan);
}

// Lets the next thread that has not ended run; the launcher when all have.
VINFER_UNCHECKED inline void leave() {
  Fiber& from = machine.fibers[machine.current];
  for (int step = 1; step <= machine.num_threads; ++step) {
    const int next = (machine.current + step) % machine.num_threads;
    if (machine.fibers[next].ended) continue;
    if (&machine.fibers[next] == &from) return;
    machine.current = next;
    switch_to(from, machine.fibers[next], from.ended);
    return;
  }
  switch_to(from, machine.launcher, true);
}

VINFER_UNCHECKED inline void meet(Meeting& meeting) {
  const std::uint64_t round = meeting.round;
  if (++meeting.count == meeting.expected) {
    meeting.count = 0;
    ++meeting.round;
    machine.idle = 0;
    return;
  }
  while (meeting.round == round) {
    if (++machine.idle > 2 * machine.num_threads) {
      fail("threads wait for others that have ended or wait elsewhere");
    }
    leave();
  }
}

VINFER_UNCHECKED inline void synchronise(Meeting& meeting) {
  char* const order = &meeting.order[meeting.round % 2];
  order_before(order);
  meet(meeting);
  order_after(order);
}

VINFER_UNCHECKED inline Warp& warp() { return machine.warps[machine.current / kWarpSize]; }

// Value of `lane` of the warp, where all lanes give one. Orders nothing else, as on a GPU.
VINFER_UNCHECKED inline std::uint64_t exchange(std::uint64_t value, int lane) {
  Warp& mine = warp();
  std::atomic<std::uint64_t>* const values = mine.values[mine.meeting.round % 2];
  values[machine.current % kWarpSize].store(value, std::memory_order_relaxed);
  meet(mine.meeting);
  const bool there = lane >= 0 && lane < mine.meeting.expected;
  return there ? values[lane].load(std::memory_order_relaxed) : value;
}

VINFER_UNCHECKED inline unsigned vote(bool predicate) {
  Warp& mine = warp();
  std::atomic<std::uint64_t>* const values = mine.values[mine.meeting.round % 2];
  values[machine.current % kWarpSize].store(predicate ? 1 : 0, std::memory_order_relaxed);
  meet(mine.meeting);
  unsigned ballot = 0;
  for (int lane = 0; lane < mine.meeting.expected; ++lane) {
    ballot |= static_cast<unsigned>(values[lane].load(std::memory_order_relaxed)) << lane;
  }
  return ballot;
}

template <typename T>
T exchange_as(unsigned mask, T value, int lane) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  if (mask != 0xffffffffu) fail("a shuffle must be of the whole warp");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(value));
  bits = exchange(bits, lane);
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

VINFER_UNCHECKED inline unsigned thread_x() { return static_cast<unsigned>(machine.current); }
VINFER_UNCHECKED inline unsigned block_x() { return machine.block_index.x; }
VINFER_UNCHECKED inline unsigned block_y() { return machine.block_index.y; }
VINFER_UNCHECKED inline unsigned grid_x() { return machine.grid_size.x; }
VINFER_UNCHECKED inline unsigned grid_y() { return machine.grid_size.y; }

// A variable whose value depends on the thread that reads it.
template <unsigned (*read)()>
struct PerThread {
  operator unsigned() const { return read(); }
};

VINFER_UNCHECKED inline void enter() {
  finish_switch(nullptr);
  order_after(&machine.block);
  machine.call(machine.state);
  order_before(&machine.state);
  machine.fibers[machine.current].ended = true;
  machine.idle = 0;
  leave();
}

VINFER_UNCHECKED inline void reset(Meeting& meeting, int expected) {
  if (meeting.count != 0) fail("threads ended while others waited");
  meeting.expected = expected;
}

VINFER_UNCHECKED inline void run_block() {
  reset(machine.block, machine.num_threads);
  for (int first = 0; first < machine.num_threads; first += kWarpSize) {
    const int left = machine.num_threads - first;
    reset(machine.warps[first / kWarpSize].meeting, left < kWarpSize ? left : kWarpSize);
  }
  for (int i = 0; i < machine.num_threads; ++i) {
    Fiber& fiber = machine.fibers[i];
    if (fiber.stack == nullptr) fiber.stack = static_cast<char*>(std::malloc(kStackBytes));
#if defined(__SANITIZE_THREAD__)
    if (fiber.tsan == nullptr) fiber.tsan = __tsan_create_fiber(0);
#endif
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
    fiber.ended = false;
  }
#if defined(__SANITIZE_THREAD__)
  machine.launcher.tsan = __tsan_get_current_fiber();
#endif
  machine.current = 0;
  machine.idle = 0;
  machine.launcher_stack = nullptr;
  order_before(&machine.block);
  switch_to(machine.launcher, machine.fibers[0], false);
  order_after(&machine.state);
}

VINFER_UNCHECKED inline void run_grid(dim3 grid,
                                      dim3 block,
                                      void (*call)(const void* state),
                                      const void* state) {
  if (block.x < 1 || block.x > kMaxThreads || block.y != 1 || block.z != 1) fail("block size");
  if (grid.x < 1 || grid.x > 0x7fffffffu || grid.y < 1 || grid.y > 65535 || grid.z != 1) {
    fail("grid size");
  }
  machine.num_threads = static_cast<int>(block.x);
  machine.grid_size = grid;
  machine.call = call;
  machine.state = state;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      machine.block_index = dim3(x, y, 0);
      run_block();
    }
  }
}

}  // namespace cuda_on_cpu

inline constexpr struct {
  cuda_on_cpu::PerThread<cuda_on_cpu::thread_x> x;
} threadIdx;
inline constexpr struct {
  cuda_on_cpu::PerThread<cuda_on_cpu::block_x> x;
  cuda_on_cpu::PerThread<cuda_on_cpu::block_y> y;
} blockIdx;
inline constexpr struct {
  cuda_on_cpu::PerThread<cuda_on_cpu::grid_x> x;
  cuda_on_cpu::PerThread<cuda_on_cpu::grid_y> y;
} gridDim;

// ---- the runtime ----

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
using cudaStream_t = void*;

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid argument";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

template <typename... Parameters, typename... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Parameters...),
                               const Args&... args) {
  if (config->gridDim.x == 0 || config->gridDim.y == 0 || config->blockDim.x == 0) {
    return cudaErrorInvalidValue;
  }
  struct State {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;
  };
  const State state{kernel, {args...}};
  cuda_on_cpu::run_grid(
      config->gridDim,
      config->blockDim,
      [](const void* untyped) {
        const State& s = *static_cast<const State*>(untyped);
        std::apply(s.kernel, s.arguments);
      },
      &state);
  return cudaSuccess;
}

// ---- built-in functions ----

inline void __syncthreads() { cuda_on_cpu::synchronise(cuda_on_cpu::machine.block); }
inline void __syncwarp() { cuda_on_cpu::synchronise(cuda_on_cpu::warp().meeting); }

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  const int lane = static_cast<int>(threadIdx.x) % cuda_on_cpu::kWarpSize;
  return cuda_on_cpu::exchange_as(mask, value, lane ^ distance);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int distance) {
  const int lane = static_cast<int>(threadIdx.x) % cuda_on_cpu::kWarpSize;
  return cuda_on_cpu::exchange_as(mask, value, lane - distance);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  if (mask != 0xffffffffu) cuda_on_cpu::fail("a vote must be of the whole warp");
  return cuda_on_cpu::vote(predicate);
}
inline bool __any_sync(unsigned mask, bool predicate) {
  return __ballot_sync(mask, predicate) != 0;
}

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __clz(unsigned value) { return value == 0 ? 32 : __builtin_clz(value); }
inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }

template <typename T>
T atomicAdd(T* to, T value) {
  return std::atomic_ref<T>(*to).fetch_add(value, std::memory_order_relaxed);
}

template <typename T>
T atomicMin(T* to, T value) {
  std::atomic_ref<T> at(*to);
  T found = at.load(std::memory_order_relaxed);
  while (value < found && !at.compare_exchange_weak(found, value, std::memory_order_relaxed)) {
  }
  return found;
}

template <typename T>
T atomicMax(T* to, T value) {
  std::atomic_ref<T> at(*to);
  T found = at.load(std::memory_order_relaxed);
  while (value > found && !at.compare_exchange_weak(found, value, std::memory_order_relaxed)) {
  }
  return found;
}

using __half = vinfer::Half;
inline __half __ushort_as_half(unsigned short bits) {
  __half half;
  half.bits = bits;
  return half;
}
inline unsigned short __half_as_ushort(__half half) { return half.bits; }
inline float __half2float(__half half) { return static_cast<float>(half); }
inline __half __float2half_rn(float value) { return __half(value); }
