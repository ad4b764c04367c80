#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cpu_level.h"
#include "core/parallel.h"
#include "core/status.h"

namespace vinfer {

inline constexpr std::size_t kWorkspaceAlignment = 64;  // a cache line, and the widest vector

// Scratch memory of the caller, handed out piece by piece. An op never allocates.
class Workspace {
 public:
  Workspace() = default;
  // `data` is aligned to kWorkspaceAlignment.
  Workspace(std::byte* data, std::size_t size_bytes) : next_(data), left_bytes_(size_bytes) {}

  // Bytes that `take<T>(count)` uses up.
  template <typename T>
  static constexpr std::size_t bytes(std::int64_t count) {
    const std::size_t raw = static_cast<std::size_t>(count) * sizeof(T);
    return (raw + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
  }

  template <typename T>
  T* take(std::int64_t count) {
    T* const piece = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    left_bytes_ -= bytes<T>(count);
    return piece;
  }

  std::size_t left_bytes() const { return left_bytes_; }

 private:
  std::byte* next_ = nullptr;
  std::size_t left_bytes_ = 0;
};

enum class Device { kCpu, kCuda };

// What a call may use besides its arguments.
struct Context {
  Workspace workspace;           // CPU only: no op needs any on a GPU
  Parallel* parallel = nullptr;  // CPU only; without one the call runs on its own thread
  CpuLevel cpu_level = CpuLevel::kBaseline;
  Device device = Device::kCpu;
  void* stream = nullptr;  // CUDA only: the cudaStream_t on which all work is put
};

inline Status check_workspace(const char* op, const Context& context, std::size_t needed_bytes) {
  if (context.workspace.left_bytes() >= needed_bytes) return {};
  return failure(StatusCode::kInvalidArgument,
                 op,
                 ": found a workspace of ",
                 context.workspace.left_bytes(),
                 " bytes, expected the ",
                 needed_bytes,
                 " that workspace_bytes() tells");
}

}  // namespace vinfer
