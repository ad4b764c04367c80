#pragma once

#include <exception>

#include "bindings/ort/abi.h"
#include "core/status.h"

namespace vinfer::ort {

// An error on its way to the runtime; whoever catches it releases it or hands it on.
struct Failure {
  Error* error;
};

// Raises what a function of the runtime gave back.
inline void check(Error* error) {
  if (error != nullptr) throw Failure{error};
}

inline void raise_if_error(const Api& api, const Status& status) {
  if (status.ok()) return;
  const bool callers_fault = status.code() == StatusCode::kInvalidShape ||
                             status.code() == StatusCode::kInvalidDType ||
                             status.code() == StatusCode::kInvalidArgument;
  throw Failure{api.make_error(callers_fault ? ErrorCode::kInvalidArgument : ErrorCode::kFail,
                               status.message().c_str())};
}

// Calls body() for the runtime, which knows no exceptions.
template <typename Body>
Error* guarded(const Api& api, const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Failure& failure) {
    return failure.error;
  } catch (const std::exception& error) {
    return api.make_error(ErrorCode::kFail, error.what());
  }
}

}  // namespace vinfer::ort
