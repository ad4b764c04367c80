#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "bindings/python/errors.h"
#include "core/context.h"
#include "core/half.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace vinfer::bindings {

namespace py = pybind11;

enum class DType { kFloat32, kFloat16, kFloat64, kInt64, kUInt8 };

const char* name_of(DType dtype);
DType dtype_of(const std::string& name);

// An argument or a result: row-major memory of numpy, or of another library by DLPack.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  Device device = Device::kCpu;
  std::int32_t device_id = 0;
  py::object owner;  // keeps the memory alive

  template <typename T, std::size_t Rank>
  TensorView<T, Rank> view() const {
    TensorView<T, Rank> result{static_cast<T*>(data), {}};
    for (std::size_t i = 0; i < Rank; ++i) result.shape[i] = shape[i];
    return result;
  }
};

// What an argument must be; `layout` is shown to the caller, such as "[R, 4]".
struct Wanted {
  const char* name;
  const char* layout;
  std::size_t rank;
  std::initializer_list<DType> dtypes;
};

// A numpy array, copied only where it is not contiguous, or a DLPack capsule, which must be.
Tensor as_tensor(const py::object& object, const Wanted& wanted);

// A numpy array whose rows are contiguous and lie apart, taken as it is: a crop of a picture.
Tensor as_rows(const py::object& object, const Wanted& wanted);

// The memory that a result is written to: `out` if it is not None, and then it must be exactly that
// (writable, contiguous); else new memory on the device of `like`.
Tensor make_output(const char* op,
                   const py::object& out,
                   DType dtype,
                   const std::vector<std::int64_t>& shape,
                   const Tensor& like,
                   void* stream);

// Fails unless all are on the device of the first.
void check_same_device(const char* op, std::initializer_list<const Tensor*> tensors);

template <std::size_t Rank>
std::vector<std::int64_t> to_vector(const Shape<Rank>& shape) {
  return {shape.begin(), shape.end()};
}

// Calls f with a value of the C++ type, for the dtypes that `as_tensor` was told to accept.
template <typename F>
auto with_float_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kFloat16:
      return f(Half{});
    case DType::kFloat64:
      return f(double{});
    default:
      return f(float{});
  }
}

template <typename F>
auto with_storage_type(DType dtype, const F& f) {
  return dtype == DType::kFloat16 ? f(Half{}) : f(float{});
}

}  // namespace vinfer::bindings
