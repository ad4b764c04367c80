#include "bindings/python/call.h"

#include <unistd.h>

#include <algorithm>

namespace vinfer::bindings {

std::shared_ptr<ThreadPool> ThreadPools::get(std::int64_t num_threads) {
  const std::lock_guard lock(mutex_);
  if (process_ != ::getpid()) {
    // After a fork the threads are the parent's alone: to join them here would wait for ever.
    for (auto& [size, pool] : pools_) static_cast<void>(new std::shared_ptr<ThreadPool>(pool));
    pools_.clear();
    process_ = ::getpid();
  }
  std::shared_ptr<ThreadPool>& pool = pools_[num_threads];
  if (pool == nullptr) pool = std::make_shared<ThreadPool>(num_threads);
  return pool;
}

void register_call_options(py::module_& module) {
  py::class_<CallOptions>(module,
                          "CallOptions",
                          "How a call runs.",
                          py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type)),
                          py::is_final())
      .def(
          py::init([](std::int64_t num_threads, const std::string& cpu_level, std::int64_t stream) {
            CallOptions options;
            options.num_threads = num_threads;
            options.stream = reinterpret_cast<void*>(stream);
            options.cpu_level = best_cpu_level();
            for (int level = 0; level < static_cast<int>(best_cpu_level()); ++level) {
              const auto candidate = static_cast<CpuLevel>(level);
              if (cpu_level == name_of(candidate)) options.cpu_level = candidate;
            }
            return options;
          }),
          py::arg("num_threads"),
          py::arg("cpu_level"),
          py::arg("stream"),
          "`cpu_level` is one of `cpu_levels()`; the best one for any other text.");
}

}  // namespace vinfer::bindings
