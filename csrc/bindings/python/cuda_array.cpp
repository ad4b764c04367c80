#include "bindings/python/cuda_array.h"

#include <memory>
#include <utility>

#include "bindings/python/dlpack.h"

#ifdef VINFER_HAVE_CUDA
#include <cuda_runtime_api.h>
#endif

namespace vinfer::bindings {

#ifdef VINFER_HAVE_CUDA
namespace {

void check(const char* op, cudaError_t error) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // so that it is not found again by the next call
  raise_if_error(failure(
      error == cudaErrorMemoryAllocation ? StatusCode::kOutOfMemory : StatusCode::kDeviceFailed,
      op,
      ": CUDA says: ",
      cudaGetErrorString(error)));
}

// Given back on the legacy default stream, which waits for the work of all other blocking streams:
// the consumer's own stream may still be reading when its last reference goes.
struct DeviceMemory {
  void* data = nullptr;
  int device = 0;

  ~DeviceMemory() {
    if (data == nullptr) return;
    int previous = 0;
    static_cast<void>(cudaGetDevice(&previous));
    static_cast<void>(cudaSetDevice(device));
    static_cast<void>(cudaFreeAsync(data, cudaStreamLegacy));
    static_cast<void>(cudaSetDevice(previous));
  }
};

}  // namespace

// A result on the GPU until the caller's library takes it over.
class CudaArray {
 public:
  CudaArray(const Tensor& tensor, std::shared_ptr<DeviceMemory> memory, void* stream)
      : dtype_(tensor.dtype), shape_(tensor.shape), memory_(std::move(memory)), stream_(stream) {}

  py::tuple device() const {
    return py::make_tuple(static_cast<int>(dlpack::kCuda), memory_->device);
  }

  py::capsule exported(const py::object& consumer_stream) const {
    if (!consumer_stream.is_none() && consumer_stream.cast<std::int64_t>() != -1) {
      order(reinterpret_cast<void*>(consumer_stream.cast<std::int64_t>()));
    }
    struct Held {
      dlpack::Managed managed;
      std::vector<std::int64_t> shape;
      std::shared_ptr<DeviceMemory> memory;
    };
    auto held = std::make_unique<Held>();
    held->shape = shape_;
    held->memory = memory_;
    const std::uint8_t bits = dtype_ == DType::kFloat16 ? 16 : dtype_ == DType::kFloat32 ? 32 : 64;
    const std::uint8_t code = dtype_ == DType::kInt64 ? dlpack::kInt : dlpack::kFloat;
    held->managed.tensor = {memory_->data,
                            {dlpack::kCuda, memory_->device},
                            static_cast<std::int32_t>(shape_.size()),
                            {code, bits, 1},
                            held->shape.data(),
                            nullptr,
                            0};
    held->managed.manager = held.get();
    held->managed.deleter = [](dlpack::Managed* managed) {
      delete static_cast<Held*>(managed->manager);
    };
    py::capsule capsule(&held->managed, "dltensor", [](PyObject* object) {
      // A consumer that took it over has renamed it.
      if (PyCapsule_IsValid(object, "dltensor") == 0) return;
      auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(object, "dltensor"));
      managed->deleter(managed);
    });
    held.release();
    return capsule;
  }

 private:
  // Makes the consumer's stream wait for ours.
  void order(void* consumer) const {
    if (consumer == stream_) return;
    cudaEvent_t event = nullptr;
    check("__dlpack__", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    cudaError_t error = cudaEventRecord(event, static_cast<cudaStream_t>(stream_));
    if (error == cudaSuccess) {
      error = cudaStreamWaitEvent(static_cast<cudaStream_t>(consumer), event, 0);
    }
    static_cast<void>(cudaEventDestroy(event));
    check("__dlpack__", error);
  }

  DType dtype_;
  std::vector<std::int64_t> shape_;
  std::shared_ptr<DeviceMemory> memory_;
  void* stream_;
};

bool cuda_was_built() { return true; }

int num_cuda_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  static_cast<void>(cudaGetLastError());  // no driver is no error of a later call
  return 0;
}

void allocate_on_device(const char* op,
                        Tensor& tensor,
                        std::size_t bytes_per_element,
                        void* stream) {
  std::size_t bytes = bytes_per_element;
  for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::size_t>(extent);
  auto memory = std::make_shared<DeviceMemory>();
  memory->device = tensor.device_id;
  if (bytes > 0) {
    check(op, cudaMallocAsync(&memory->data, bytes, static_cast<cudaStream_t>(stream)));
  }
  tensor.data = memory->data;
  tensor.owner = py::cast(CudaArray(tensor, std::move(memory), stream));
}

DeviceScope::DeviceScope(const Tensor& tensor) {
  if (tensor.device != Device::kCuda) return;
  check("device", cudaGetDevice(&previous_));
  check("device", cudaSetDevice(tensor.device_id));
}

DeviceScope::~DeviceScope() {
  if (previous_ >= 0) static_cast<void>(cudaSetDevice(previous_));
}

void register_cuda_array(py::module_& module) {
  py::class_<CudaArray>(module, "_CudaArray", "A result on a GPU; take it over by DLPack.")
      .def(
          "__dlpack__",
          [](const CudaArray& array, const py::object& stream, const py::kwargs&) {
            return array.exported(stream);
          },
          py::kw_only(),
          py::arg("stream") = py::none())
      .def("__dlpack_device__", &CudaArray::device);
}

#else

namespace {

[[noreturn]] void refuse(const char* op) {
  raise_if_error(failure(StatusCode::kUnavailable,
                         op,
                         ": found arrays on a GPU, but this build of vinfer has no CUDA kernels; "
                         "build it where nvcc is found, or move the arrays to the CPU"));
  throw py::error_already_set();  // not reached: the line above always throws
}

}  // namespace

bool cuda_was_built() { return false; }
int num_cuda_devices() { return 0; }
void allocate_on_device(const char* op, Tensor&, std::size_t, void*) { refuse(op); }
DeviceScope::DeviceScope(const Tensor& tensor) {
  if (tensor.device == Device::kCuda) refuse("device");
}
DeviceScope::~DeviceScope() = default;
void register_cuda_array(py::module_&) {}

#endif

}  // namespace vinfer::bindings
