#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <string>

#include "bindings/python/errors.h"
#include "core/context.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace vinfer::bindings {

namespace py = pybind11;

// Contiguous, aligned, native byte order: what a TensorView promises.
template <typename T>
using Array =
    py::array_t<T, int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_}>;

// A numpy argument as T, checked for dtype and rank, copied only where its memory is not as above.
// `layout` is shown to the caller, such as "[R, 4]".
template <typename T, std::size_t Rank>
Array<T> as_array(const py::object& object, const std::string& name, const std::string& layout) {
  const std::string wanted = py::str(py::dtype::of<T>());
  if (!py::isinstance<py::array>(object)) {
    raise_if_error(failure(StatusCode::kInvalidDType,
                           name,
                           ": found ",
                           std::string(py::str(py::type::of(object).attr("__name__"))),
                           ", expected a numpy array of ",
                           wanted,
                           " and shape ",
                           layout));
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<T>>(object)) {
    raise_if_error(failure(StatusCode::kInvalidDType,
                           name,
                           ": found dtype ",
                           std::string(py::str(array.dtype())),
                           ", expected ",
                           wanted,
                           "; convert with ",
                           name,
                           ".astype(np.",
                           wanted,
                           ")"));
  }
  if (array.ndim() != static_cast<py::ssize_t>(Rank)) {
    raise_if_error(failure(StatusCode::kInvalidShape,
                           name,
                           ": found shape ",
                           std::string(py::str(py::list(array.attr("shape")))),
                           ", expected ",
                           layout));
  }
  Array<T> result = Array<T>::ensure(array);
  if (!result) throw py::error_already_set();
  return result;
}

template <std::size_t Rank, typename T>
Shape<Rank> shape_of(const Array<T>& array) {
  Shape<Rank> shape{};
  for (std::size_t i = 0; i < Rank; ++i) shape[i] = array.shape(static_cast<py::ssize_t>(i));
  return shape;
}

template <std::size_t Rank, typename T>
TensorView<const T, Rank> view(const Array<T>& array) {
  return {array.data(), shape_of<Rank>(array)};
}

template <std::size_t Rank, typename T>
TensorView<T, Rank> mutable_view(Array<T>& array) {
  return {array.mutable_data(), shape_of<Rank>(array)};
}

[[noreturn]] inline void raise_out_of_memory(const char* op) {
  raise_if_error(failure(StatusCode::kOutOfMemory,
                         op,
                         ": not enough memory; ask for a smaller size or pass less a call"));
  throw std::bad_alloc();  // not reached: the line above always throws
}

template <typename T, std::size_t Rank>
Array<T> make_output(const char* op, const Shape<Rank>& shape) {
  try {
    return Array<T>(shape);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_MemoryError)) throw;
  }
  raise_out_of_memory(op);
}

struct AlignedDelete {
  void operator()(std::byte* bytes) const {
    ::operator delete[](bytes, std::align_val_t{kWorkspaceAlignment});
  }
};

// Runs `call` on a context with a workspace of that size, the GIL released, and raises its status.
template <typename Call>
void run_without_gil(const char* op, std::size_t workspace_bytes, const Call& call) {
  const std::unique_ptr<std::byte[], AlignedDelete> memory(static_cast<std::byte*>(
      ::operator new[](workspace_bytes, std::align_val_t{kWorkspaceAlignment}, std::nothrow)));
  if (memory == nullptr) raise_out_of_memory(op);
  Context context;
  context.workspace = Workspace(memory.get(), workspace_bytes);
  context.cpu_level = best_cpu_level();
  Status status;
  {
    const py::gil_scoped_release release;
    status = call(context);
  }
  raise_if_error(status);
}

}  // namespace vinfer::bindings
