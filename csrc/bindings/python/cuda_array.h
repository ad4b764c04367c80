#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

#include "bindings/python/tensor.h"
#include "core/context.h"

namespace vinfer::bindings {

// Whether the CUDA kernels were built, and for how many GPUs there is a driver right now.
bool cuda_was_built();
int num_cuda_devices();

// Gives `tensor` new memory on its GPU, in the order of the stream; its owner speaks DLPack.
void allocate_on_device(const char* op,
                        Tensor& tensor,
                        std::size_t bytes_per_element,
                        void* stream);

// Makes `tensor`'s GPU the calling thread's current one while it lives.
class DeviceScope {
 public:
  explicit DeviceScope(const Tensor& tensor);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = -1;
};

void register_cuda_array(py::module_& module);

}  // namespace vinfer::bindings
