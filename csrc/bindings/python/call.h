#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>

#include "bindings/python/cuda_array.h"
#include "bindings/python/errors.h"
#include "bindings/python/tensor.h"
#include "core/context.h"
#include "core/thread_pool.h"

namespace vinfer::bindings {

// How a call runs: the last argument of every bound op.
struct CallOptions {
  std::int64_t num_threads = 1;  // the caller's own included
  CpuLevel cpu_level = CpuLevel::kBaseline;
  void* stream = nullptr;  // CUDA only
};

void register_call_options(py::module_& module);

// The pools of one module, one a size, made when first asked for.
class ThreadPools {
 public:
  std::shared_ptr<ThreadPool> get(std::int64_t num_threads);

 private:
  std::mutex mutex_;
  std::int64_t process_ = 0;
  std::map<std::int64_t, std::shared_ptr<ThreadPool>> pools_;
};

struct AlignedDelete {
  void operator()(std::byte* bytes) const {
    ::operator delete[](bytes, std::align_val_t{kWorkspaceAlignment});
  }
};

// Runs ops for one module.
class Caller {
 public:
  // Runs `call(context)` on a context with the workspace that `workspace_bytes(context)` tells, the
  // GIL released, and raises its status. `like` tells the device.
  template <typename WorkspaceBytes, typename Call>
  void run(const char* op,
           const CallOptions& options,
           const Tensor& like,
           const WorkspaceBytes& workspace_bytes,
           const Call& call) const {
    std::shared_ptr<ThreadPool> pool;
    Context context;
    context.device = like.device;
    context.stream = options.stream;
    context.cpu_level = options.cpu_level;
    if (options.num_threads > 1 && like.device == Device::kCpu) {
      pool = pools_->get(options.num_threads);
      context.parallel = pool.get();
    }
    const std::size_t bytes = workspace_bytes(context);
    const std::unique_ptr<std::byte[], AlignedDelete> memory(static_cast<std::byte*>(
        ::operator new[](bytes, std::align_val_t{kWorkspaceAlignment}, std::nothrow)));
    if (memory == nullptr) raise_out_of_memory(op);
    context.workspace = Workspace(memory.get(), bytes);
    Status status;
    {
      const DeviceScope scope(like);
      const py::gil_scoped_release release;
      status = call(context);
    }
    raise_if_error(status);
  }

 private:
  std::shared_ptr<ThreadPools> pools_ = std::make_shared<ThreadPools>();
};

}  // namespace vinfer::bindings
