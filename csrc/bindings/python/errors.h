#pragma once

#include "core/status.h"

namespace vinfer::bindings {

// Name of the class in vinfer.errors that a failed status becomes.
const char* error_name(StatusCode code);

// Called with the GIL held.
void raise_if_error(const Status& status);

[[noreturn]] void raise_out_of_memory(const char* op);

}  // namespace vinfer::bindings
