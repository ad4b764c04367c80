#pragma once

#include <cstddef>
#include <iterator>
#include <limits>
#include <memory>

#include "bindings/ort/attributes.h"
#include "bindings/ort/call.h"
#include "bindings/ort/shape_inference.h"
#include "core/half.h"

namespace vinfer::ort {

// A CustomOp and the runtime that it was given to: shape inference is handed no table of functions.
struct RegisteredOp : CustomOp {
  explicit RegisteredOp(const Api& runtime) : api(runtime) {}

  Api api;
};

template <typename T>
inline constexpr ElementType kElementType = ElementType::kUndefined;
template <>
inline constexpr ElementType kElementType<float> = ElementType::kFloat;
template <>
inline constexpr ElementType kElementType<Half> = ElementType::kFloat16;

template <typename Params>
struct Kernel {
  Api api;
  Params params;
  MemoryInfo* cpu_memory = nullptr;

  explicit Kernel(const Api& runtime) : api(runtime) {
    check(api.get<Error*(AllocatorType, MemoryType, MemoryInfo**)>(Slot::CreateCpuMemoryInfo)(
        AllocatorType::kDevice, MemoryType::kDefault, &cpu_memory));
  }
  ~Kernel() { api.get<void(MemoryInfo*)>(Slot::ReleaseMemoryInfo)(cpu_memory); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
};

template <typename Op>
typename Op::Params checked_params(const Api& api, const Attributes& attributes) {
  const typename Op::Params params = Op::read(attributes);
  raise_if_error(api, Op::check(params));
  return params;
}

// What the runtime calls, made from an op's description: see ops.cpp. T is the type of the tensors
// that may be float or float16.
template <typename Op, typename T, Device kDevice>
struct Entries {
  using Params = typename Op::Params;

  static Error* create(const CustomOp* op, const void*, const KernelInfo* info, void** kernel) {
    const Api& api = static_cast<const RegisteredOp*>(op)->api;
    return guarded(api, [&] {
      auto made = std::make_unique<Kernel<Params>>(api);
      made->params = checked_params<Op>(api, KernelAttributes(api, Op::kName, info));
      *kernel = made.release();
    });
  }

  static void destroy(void* kernel) { delete static_cast<Kernel<Params>*>(kernel); }

  static Error* compute(void* untyped, KernelContext* context) {
    const auto& kernel = *static_cast<const Kernel<Params>*>(untyped);
    return guarded(kernel.api, [&] {
      Call call(kernel.api, Op::kName, context, kernel.cpu_memory, kDevice);
      Op::template run<T>(kernel.params, call);
    });
  }

  static Error* infer_shape(const CustomOp* op, ShapeContext* context) {
    const Api& api = static_cast<const RegisteredOp*>(op)->api;
    return guarded(api, [&] {
      const ShapeInference inference(api, context);
      Params params;
      try {
        params = checked_params<Op>(api, ShapeAttributes(api, Op::kName, context));
      } catch (const Failure& failure) {
        api.release(failure.error);  // the kernel refuses it with a better text
        return;
      }
      // One op's kernels share the first one's inference, so T says nothing here.
      const ElementType type = Op::template kOutput<T> == Op::template kInputs<T>[0]
                                   ? inference.input_type(0)
                                   : Op::template kOutput<T>;
      const Dims dims = Op::infer_shape(params, inference);
      if (!dims.empty()) inference.set_output(type, dims);
    });
  }

  static RegisteredOp make(const Api& api) {
    RegisteredOp op(api);
    op.get_name = [](const CustomOp*) { return Op::kName; };
    op.get_execution_provider = [](const CustomOp*) -> const char* {
      return kDevice == Device::kCuda ? "CUDAExecutionProvider" : nullptr;
    };
    op.get_input_type = [](const CustomOp*, std::size_t index) {
      return Op::template kInputs<T>[index];
    };
    op.get_num_inputs = [](const CustomOp*) { return std::size(Op::template kInputs<T>); };
    op.get_output_type = [](const CustomOp*, std::size_t) { return Op::template kOutput<T>; };
    op.get_num_outputs = [](const CustomOp*) -> std::size_t { return 1; };
    op.get_input_arity = [](const CustomOp*, std::size_t) { return Arity::kRequired; };
    op.get_output_arity = [](const CustomOp*, std::size_t) { return Arity::kRequired; };
    op.get_input_memory = [](const CustomOp*, std::size_t) { return MemoryType::kDefault; };
    op.create_kernel_v2 = create;
    op.destroy_kernel = destroy;
    op.compute_v2 = compute;
    op.infer_shape = infer_shape;
    op.get_start_version = [](const CustomOp*) { return 1; };
    op.get_end_version = [](const CustomOp*) { return std::numeric_limits<int>::max(); };
    return op;
  }
};

}  // namespace vinfer::ort
