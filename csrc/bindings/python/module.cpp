#include <pybind11/pybind11.h>

#include "bindings/python/errors.h"
#include "bindings/python/ops.h"

namespace py = pybind11;

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native operators of vinfer; vinfer.ops is their documented form.";
  vinfer::bindings::register_ops(module);
  module.def("error_names", [] {
    py::list names;
    for (int code = 1; code < vinfer::kNumStatusCodes; ++code) {
      names.append(vinfer::bindings::error_name(static_cast<vinfer::StatusCode>(code)));
    }
    return names;
  });
}
