#include <pybind11/pybind11.h>

#include "bindings/python/call.h"
#include "bindings/python/cuda_array.h"
#include "bindings/python/errors.h"
#include "bindings/python/ops.h"
#include "core/cpu_level.h"

namespace py = pybind11;

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native operators of vinfer; vinfer.ops is their documented form.";
  vinfer::bindings::register_cuda_array(module);
  vinfer::bindings::register_call_options(module);
  vinfer::bindings::register_ops(module);
  module.def("error_names", [] {
    py::list names;
    for (int code = 1; code < vinfer::kNumStatusCodes; ++code) {
      names.append(vinfer::bindings::error_name(static_cast<vinfer::StatusCode>(code)));
    }
    return names;
  });
  module.def(
      "cpu_levels",
      [] {
        py::list names;
        for (int level = 0; level <= static_cast<int>(vinfer::best_cpu_level()); ++level) {
          names.append(vinfer::name_of(static_cast<vinfer::CpuLevel>(level)));
        }
        return names;
      },
      "Instruction sets that this machine can run, the best one last.");
  module.def("cuda_was_built", &vinfer::bindings::cuda_was_built);
  module.def("num_cuda_devices", &vinfer::bindings::num_cuda_devices);
}
