// The part of ONNX Runtime's C interface that custom ops need, written down here so that a build
// needs none of its headers. Version 17 of the interface: ONNX Runtime 1.17 and later, which keep
// the places of all functions and fields and add new ones at the end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vinfer::ort {

inline constexpr std::uint32_t kApiVersion = 17;

// Objects of the runtime; a null Error* is success.
struct Error;
struct SessionOptions;
struct Domain;
struct Value;
struct TensorInfo;
struct MemoryInfo;
struct Allocator;
struct KernelInfo;
struct KernelContext;
struct ShapeContext;
struct NodeAttribute;

enum class ErrorCode : int { kFail = 1, kInvalidArgument = 2 };
enum class ElementType : int { kUndefined = 0, kFloat = 1, kUInt8 = 2, kInt64 = 7, kFloat16 = 10 };
enum class AttributeType : int { kInt = 1, kFloat = 3, kFloats = 4, kString = 5 };
enum class AllocatorType : int { kDevice = 0 };
enum class MemoryType : int { kDefault = 0 };
enum class Arity : int { kRequired = 0 };

// Starting point that the runtime gives to a library.
struct ApiBase {
  const void* (*get_api)(std::uint32_t version);  // null when the runtime is older
  const char* (*get_version_string)();
};

// Places in the table of functions, by their names in ONNX Runtime's OrtApi.
enum class Slot : std::size_t {
  CreateStatus = 0,
  CreateCustomOpDomain = 26,
  CustomOpDomain_Add = 27,
  AddCustomOpDomain = 28,
  GetTensorMutableData = 51,
  CreateTensorTypeAndShapeInfo = 57,
  SetTensorElementType = 58,
  SetDimensions = 59,
  GetTensorElementType = 60,
  GetDimensionsCount = 61,
  GetDimensions = 62,
  GetSymbolicDimensions = 63,
  GetTensorTypeAndShape = 65,
  CreateCpuMemoryInfo = 69,
  AllocatorAlloc = 75,
  AllocatorFree = 76,
  KernelInfoGetAttribute_float = 85,
  KernelInfoGetAttribute_int64 = 86,
  KernelInfoGetAttribute_string = 87,
  KernelContext_GetInput = 90,
  KernelContext_GetOutput = 91,
  ReleaseStatus = 93,
  ReleaseMemoryInfo = 94,
  ReleaseTensorTypeAndShapeInfo = 99,
  ReleaseCustomOpDomain = 101,
  ReleaseAllocator = 132,
  KernelInfoGetAttributeArray_float = 162,
  KernelInfoGetAttributeArray_int64 = 163,
  KernelContext_GetGPUComputeStream = 193,
  KernelContext_GetAllocator = 253,
  ShapeInferContext_GetInputTypeShape = 268,
  ShapeInferContext_GetAttribute = 269,
  ShapeInferContext_SetOutputTypeShape = 270,
  SetSymbolicDimensions = 271,
  ReadOpAttr = 272,
  KernelContext_ParallelFor = 274,
};

// The table of functions. `get<Signature>(slot)` must name the function's own signature.
class Api {
 public:
  explicit Api(const void* table) : table_(static_cast<const Function*>(table)) {}

  const void* table() const { return table_; }

  template <typename Signature>
  Signature* get(Slot slot) const {
    return reinterpret_cast<Signature*>(table_[static_cast<std::size_t>(slot)]);
  }

  Error* make_error(ErrorCode code, const char* message) const {
    return get<Error*(ErrorCode, const char*)>(Slot::CreateStatus)(code, message);
  }
  void release(Error* error) const { get<void(Error*)>(Slot::ReleaseStatus)(error); }

 private:
  using Function = void (*)();

  const Function* table_;
};

// One kernel of one op. The runtime reads the fields by their places, and of those only the ones
// that `version` had; null where it may do without.
struct CustomOp {
  std::uint32_t version = kApiVersion;
  void* create_kernel = nullptr;  // before version 16
  const char* (*get_name)(const CustomOp*) = nullptr;
  const char* (*get_execution_provider)(const CustomOp*) = nullptr;  // gives null for the CPU
  ElementType (*get_input_type)(const CustomOp*, std::size_t) = nullptr;
  std::size_t (*get_num_inputs)(const CustomOp*) = nullptr;
  ElementType (*get_output_type)(const CustomOp*, std::size_t) = nullptr;
  std::size_t (*get_num_outputs)(const CustomOp*) = nullptr;
  void* compute = nullptr;  // before version 16
  void (*destroy_kernel)(void*) = nullptr;
  Arity (*get_input_arity)(const CustomOp*, std::size_t) = nullptr;
  Arity (*get_output_arity)(const CustomOp*, std::size_t) = nullptr;
  MemoryType (*get_input_memory)(const CustomOp*, std::size_t) = nullptr;
  void* variadic[4] = {};
  Error* (*create_kernel_v2)(const CustomOp*,
                             const void* api,
                             const KernelInfo*,
                             void** kernel) = nullptr;
  Error* (*compute_v2)(void* kernel, KernelContext*) = nullptr;
  Error* (*infer_shape)(const CustomOp*, ShapeContext*) = nullptr;
  int (*get_start_version)(const CustomOp*) = nullptr;
  int (*get_end_version)(const CustomOp*) = nullptr;
  void* later_versions[4] = {};
};
static_assert(sizeof(void*) != 8 || sizeof(CustomOp) == 208);

}  // namespace vinfer::ort
