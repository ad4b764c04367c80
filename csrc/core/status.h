#pragma once

#include <algorithm>
#include <sstream>
#include <string>
#include <utility>

#include "core/tensor_view.h"

namespace vinfer {

enum class StatusCode {
  kOk,
  kInvalidShape,     // an array's rank or extents
  kInvalidDType,     // an array's element type
  kInvalidArgument,  // a scalar, or a value inside an array
  kOutOfMemory,      // larger than an op may ask for, or than the machine has
  kUnavailable,      // what this build or machine does not have
  kDeviceFailed,     // the GPU or its driver refused
};
inline constexpr int kNumStatusCodes = 7;

// Outcome of an op. The message says what was found, what was expected and what to do.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

template <std::size_t Rank>
std::ostream& operator<<(std::ostream& stream, const Shape<Rank>& shape) {
  stream << '[';
  for (std::size_t i = 0; i < Rank; ++i) stream << (i == 0 ? "" : ", ") << shape[i];
  return stream << ']';
}

// A failed status whose message is the parts in a row.
template <typename... Parts>
Status failure(StatusCode code, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return {code, text.str()};
}

// 4 GiB of float32: more is a mistake in a size, and would end the process on most machines.
inline constexpr std::int64_t kMaxOutputElements = std::int64_t{1} << 30;

// Fails when an output of this shape is larger than any op may ask for; extents are >= 0. An extent
// of 0 counts as 1: the product of the others has to fit 64 bits even where the output is empty.
template <std::size_t Rank>
Status check_output_size(const char* op, const Shape<Rank>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent > kMaxOutputElements / count) {
      return failure(StatusCode::kOutOfMemory,
                     op,
                     ": the output would have shape ",
                     shape,
                     ", expected at most ",
                     kMaxOutputElements,
                     " elements; ask for a smaller size or pass fewer boxes a call");
    }
    count *= std::max<std::int64_t>(extent, 1);
  }
  return {};
}

}  // namespace vinfer
