#include "bindings/python/errors.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace vinfer::bindings {

const char* error_name(StatusCode code) {
  switch (code) {  // without a default: the compiler names a code that is missing here
    case StatusCode::kOk:
      return "";
    case StatusCode::kInvalidShape:
      return "ShapeError";
    case StatusCode::kInvalidDType:
      return "DTypeError";
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfMemory:
      return "InputError";
    case StatusCode::kUnavailable:
      return "ProviderUnavailableError";
    case StatusCode::kDeviceFailed:
      return "BackendError";
  }
  return "VinferError";
}

void raise_if_error(const Status& status) {
  if (status.ok()) return;
  const py::object type = py::module_::import("vinfer.errors").attr(error_name(status.code()));
  py::set_error(type, status.message().c_str());
  throw py::error_already_set();
}

void raise_out_of_memory(const char* op) {
  raise_if_error(failure(StatusCode::kOutOfMemory,
                         op,
                         ": not enough memory; ask for a smaller size or pass less a call"));
  throw py::error_already_set();  // not reached: the line above always throws
}

}  // namespace vinfer::bindings
