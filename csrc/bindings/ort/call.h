#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bindings/ort/errors.h"
#include "core/context.h"
#include "core/parallel.h"
#include "core/tensor_view.h"

namespace vinfer::ort {

// The session's own threads: ours beside them would want the same cores.
class SessionThreads final : public Parallel {
 public:
  SessionThreads(const Api& api, const KernelContext* context) : api_(api), context_(context) {}

  // What the process may use: the runtime does not tell how many threads the session has.
  std::int64_t num_threads() const override;
  void run(std::int64_t num_tasks, Task task, const void* state) override;

 private:
  const Api& api_;
  const KernelContext* context_;
};

// Memory for one call, from the session's arena, which keeps it for the next one. A buffer of the
// kernel's own would not do: a session may be run in several threads at once.
class CpuScratch {
 public:
  CpuScratch(const Api& api,
             const KernelContext* context,
             const MemoryInfo* cpu_memory,
             std::size_t bytes);
  ~CpuScratch();
  CpuScratch(const CpuScratch&) = delete;
  CpuScratch& operator=(const CpuScratch&) = delete;

  std::byte* data() const;  // aligned to kWorkspaceAlignment

 private:
  const Api& api_;
  Allocator* allocator_ = nullptr;
  void* memory_ = nullptr;
};

// One run of one node.
class Call {
 public:
  Call(const Api& api,
       const char* op,
       KernelContext* kernel_context,
       const MemoryInfo* cpu_memory,
       Device device);

  // Raises a tensor of another rank; `expected` names its axes.
  template <typename T, std::size_t Rank>
  TensorView<const T, Rank> input(std::size_t index, const char* name, const char* expected) const {
    const Tensor tensor = find_input(index);
    if (tensor.shape.size() != Rank) refuse(name, expected, tensor);
    TensorView<const T, Rank> view{static_cast<const T*>(tensor.data)};
    for (std::size_t i = 0; i < Rank; ++i) view.shape[i] = tensor.shape[i];
    return view;
  }

  template <typename T, std::size_t Rank>
  TensorView<T, Rank> output(const Shape<Rank>& shape) const {
    return {static_cast<T*>(make_output(shape.data(), Rank)), shape};
  }

  // Runs `run(context)` on a context with the workspace that `workspace_bytes(context)` tells.
  template <typename WorkspaceBytes, typename Run>
  void run(const WorkspaceBytes& workspace_bytes, const Run& run) {
    const std::size_t bytes = workspace_bytes(context_);
    const CpuScratch scratch(api_, kernel_context_, cpu_memory_, bytes);
    context_.workspace = Workspace(scratch.data(), bytes);
    raise_if_error(api_, run(context_));
  }

  // Raises a status.
  void require(const Status& status) const { raise_if_error(api_, status); }

 private:
  struct Tensor {
    const void* data = nullptr;
    std::vector<std::int64_t> shape;
  };

  Tensor find_input(std::size_t index) const;
  void* make_output(const std::int64_t* shape, std::size_t rank) const;
  [[noreturn]] void refuse(const char* name, const char* expected, const Tensor& found) const;

  const Api& api_;
  const char* op_;
  KernelContext* kernel_context_;
  const MemoryInfo* cpu_memory_;
  SessionThreads threads_;
  Context context_;
};

}  // namespace vinfer::ort
