#pragma once

#include <pybind11/pybind11.h>

namespace vinfer::bindings {

void register_ops(pybind11::module_& module);

}  // namespace vinfer::bindings
