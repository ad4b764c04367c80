#pragma once

#include <vector>

#include "bindings/ort/custom_op.h"

namespace vinfer::ort {

// All kernels of all ops, for the runtime with these functions. docs/onnxruntime.md has the nodes.
std::vector<RegisteredOp> make_ops(const Api& api);

}  // namespace vinfer::ort
