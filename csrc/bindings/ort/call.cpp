#include "bindings/ort/call.h"

#include <algorithm>
#include <sstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace vinfer::ort {
namespace {

// Scratch grows with the number of tasks, so with this.
constexpr std::int64_t kMaxThreads = 64;

std::int64_t usable_cpus() {
#ifdef __linux__
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof(usable), &usable) == 0) return CPU_COUNT(&usable);
#endif
  return std::thread::hardware_concurrency();
}

}  // namespace

std::int64_t SessionThreads::num_threads() const {
  static const std::int64_t count = std::clamp<std::int64_t>(usable_cpus(), 1, kMaxThreads);
  return count;
}

void SessionThreads::run(std::int64_t num_tasks, Task task, const void* state) {
  struct Job {
    Task task;
    const void* state;
  };
  using RunOne = void (*)(void*, std::size_t);
  const RunOne run_one = [](void* untyped, std::size_t index) {
    const Job& job = *static_cast<const Job*>(untyped);
    job.task(job.state, static_cast<std::int64_t>(index));
  };
  Job job{task, state};
  // With 0 batches the runtime hands out the tasks one by one.
  Error* const error =
      api_.get<Error*(const KernelContext*, RunOne, std::size_t, std::size_t, void*)>(
          Slot::KernelContext_ParallelFor)(
          context_, run_one, static_cast<std::size_t>(num_tasks), 0, &job);
  if (error == nullptr) return;
  api_.release(error);  // a build of the runtime without this function
  for (std::int64_t index = 0; index < num_tasks; ++index) task(state, index);
}

CpuScratch::CpuScratch(const Api& api,
                       const KernelContext* context,
                       const MemoryInfo* cpu_memory,
                       std::size_t bytes)
    : api_(api) {
  if (bytes == 0) return;
  check(api.get<Error*(const KernelContext*, const MemoryInfo*, Allocator**)>(
      Slot::KernelContext_GetAllocator)(context, cpu_memory, &allocator_));
  Error* error = api.get<Error*(Allocator*, std::size_t, void**)>(Slot::AllocatorAlloc)(
      allocator_, bytes + kWorkspaceAlignment, &memory_);
  if (error == nullptr && memory_ == nullptr) {
    error = api.make_error(ErrorCode::kFail, "vinfer: the session gives no scratch memory");
  }
  if (error == nullptr) return;
  api.get<void(Allocator*)>(Slot::ReleaseAllocator)(allocator_);
  throw Failure{error};
}

CpuScratch::~CpuScratch() {
  if (allocator_ == nullptr) return;
  Error* const error =
      api_.get<Error*(Allocator*, void*)>(Slot::AllocatorFree)(allocator_, memory_);
  if (error != nullptr) api_.release(error);
  api_.get<void(Allocator*)>(Slot::ReleaseAllocator)(allocator_);
}

std::byte* CpuScratch::data() const {
  const auto address = reinterpret_cast<std::uintptr_t>(memory_);
  const std::uintptr_t past = address % kWorkspaceAlignment;
  return static_cast<std::byte*>(memory_) + (past == 0 ? 0 : kWorkspaceAlignment - past);
}

Call::Call(const Api& api,
           const char* op,
           KernelContext* kernel_context,
           const MemoryInfo* cpu_memory,
           Device device)
    : api_(api),
      op_(op),
      kernel_context_(kernel_context),
      cpu_memory_(cpu_memory),
      threads_(api, kernel_context) {
  static const CpuLevel cpu_level = best_cpu_level();
  context_.device = device;
  context_.cpu_level = cpu_level;
  if (device == Device::kCuda) {
    check(api.get<Error*(const KernelContext*, void**)>(Slot::KernelContext_GetGPUComputeStream)(
        kernel_context, &context_.stream));
  } else {
    context_.parallel = &threads_;
  }
}

Call::Tensor Call::find_input(std::size_t index) const {
  const Value* value = nullptr;
  check(api_.get<Error*(const KernelContext*, std::size_t, const Value**)>(
      Slot::KernelContext_GetInput)(kernel_context_, index, &value));
  TensorInfo* info = nullptr;
  check(api_.get<Error*(const Value*, TensorInfo**)>(Slot::GetTensorTypeAndShape)(value, &info));
  Tensor tensor;
  std::size_t rank = 0;
  Error* error =
      api_.get<Error*(const TensorInfo*, std::size_t*)>(Slot::GetDimensionsCount)(info, &rank);
  if (error == nullptr) {
    tensor.shape.resize(rank);
    error = api_.get<Error*(const TensorInfo*, std::int64_t*, std::size_t)>(Slot::GetDimensions)(
        info, tensor.shape.data(), rank);
  }
  api_.get<void(TensorInfo*)>(Slot::ReleaseTensorTypeAndShapeInfo)(info);
  check(error);
  check(api_.get<Error*(const Value*, const void**)>(Slot::GetTensorMutableData)(value,
                                                                                 &tensor.data));
  return tensor;
}

void* Call::make_output(const std::int64_t* shape, std::size_t rank) const {
  Value* value = nullptr;
  check(api_.get<Error*(KernelContext*, std::size_t, const std::int64_t*, std::size_t, Value**)>(
      Slot::KernelContext_GetOutput)(kernel_context_, 0, shape, rank, &value));
  void* data = nullptr;
  check(api_.get<Error*(Value*, void**)>(Slot::GetTensorMutableData)(value, &data));
  return data;
}

void Call::refuse(const char* name, const char* expected, const Tensor& found) const {
  std::ostringstream shape;
  for (std::size_t i = 0; i < found.shape.size(); ++i) {
    shape << (i == 0 ? "" : ", ") << found.shape[i];
  }
  raise_if_error(api_,
                 failure(StatusCode::kInvalidShape,
                         op_,
                         ": ",
                         name,
                         " has shape [",
                         shape.str(),
                         "], expected ",
                         expected));
  throw std::exception();  // not reached: that status is a failure
}

}  // namespace vinfer::ort
