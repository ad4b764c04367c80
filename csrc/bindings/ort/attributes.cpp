#include "bindings/ort/attributes.h"

#include <algorithm>

namespace vinfer::ort {
namespace {

using GetFloat = Error*(const KernelInfo*, const char*, float*);
using GetInt = Error*(const KernelInfo*, const char*, std::int64_t*);
using GetString = Error*(const KernelInfo*, const char*, char*, std::size_t*);
using GetFloats = Error*(const KernelInfo*, const char*, float*, std::size_t*);
using GetInts = Error*(const KernelInfo*, const char*, std::int64_t*, std::size_t*);

constexpr std::size_t kMaxTextBytes = 256;
constexpr std::size_t kMaxFloats = 16;

}  // namespace

std::int64_t Attributes::integer(const char* name, std::int64_t fallback) const {
  read(name, fallback);
  return fallback;
}

bool Attributes::flag(const char* name, bool fallback) const {
  const std::int64_t value = integer(name, fallback ? 1 : 0);
  if (value != 0 && value != 1) refuse(name, "is " + std::to_string(value) + ", expected 0 or 1");
  return value == 1;
}

double Attributes::real(const char* name, double fallback) const {
  float value = 0.0f;
  return read(name, value) ? static_cast<double>(value) : fallback;
}

std::array<double, 3> Attributes::three_reals(const char* name,
                                              std::array<double, 3> fallback) const {
  std::vector<float> values;
  if (!read(name, values)) return fallback;
  if (values.size() != 3) {
    refuse(name, "has " + std::to_string(values.size()) + " values, expected 3, one a channel");
  }
  return {values[0], values[1], values[2]};
}

void Attributes::refuse(const char* name, const std::string& reason) const {
  raise_if_error(api_,
                 failure(StatusCode::kInvalidArgument, op_, ": attribute ", name, " ", reason));
  throw std::exception();  // not reached: that status is a failure
}

bool KernelAttributes::succeeded(Error* error) const {
  if (error == nullptr) return true;
  api_.release(error);
  return false;
}

// The runtime tells an absent attribute from one of another type only by its text, so every other
// type is tried: `alpha = 1`, an integer, must not become the default in silence.
bool KernelAttributes::absent(const char* name, const char* expected) const {
  float real = 0.0f;
  std::int64_t integer = 0;
  std::size_t size = 0;
  const bool present =
      succeeded(api_.get<GetFloat>(Slot::KernelInfoGetAttribute_float)(info_, name, &real)) ||
      succeeded(api_.get<GetInt>(Slot::KernelInfoGetAttribute_int64)(info_, name, &integer)) ||
      succeeded(
          api_.get<GetString>(Slot::KernelInfoGetAttribute_string)(info_, name, nullptr, &size)) ||
      succeeded(api_.get<GetFloats>(Slot::KernelInfoGetAttributeArray_float)(
          info_, name, nullptr, &size)) ||
      succeeded(
          api_.get<GetInts>(Slot::KernelInfoGetAttributeArray_int64)(info_, name, nullptr, &size));
  if (present) refuse(name, std::string("is of another type, expected ") + expected);
  return true;
}

bool KernelAttributes::read(const char* name, std::int64_t& value) const {
  std::int64_t found = 0;
  if (!succeeded(api_.get<GetInt>(Slot::KernelInfoGetAttribute_int64)(info_, name, &found))) {
    return !absent(name, "an integer");
  }
  value = found;
  return true;
}

bool KernelAttributes::read(const char* name, float& value) const {
  float found = 0.0f;
  if (!succeeded(api_.get<GetFloat>(Slot::KernelInfoGetAttribute_float)(info_, name, &found))) {
    return !absent(name, "a float, such as 1.0");
  }
  value = found;
  return true;
}

bool KernelAttributes::read(const char* name, std::vector<float>& value) const {
  const auto get = api_.get<GetFloats>(Slot::KernelInfoGetAttributeArray_float);
  std::size_t count = 0;
  if (!succeeded(get(info_, name, nullptr, &count))) return !absent(name, "floats");
  // Also what the runtime says of an attribute of another type.
  if (count == 0) refuse(name, "holds no floats, expected a list such as [1.0, 1.0, 1.0]");
  std::vector<float> found(count);
  check(get(info_, name, found.data(), &count));
  value = std::move(found);
  return true;
}

bool KernelAttributes::read(const char* name, std::string& value) const {
  const auto get = api_.get<GetString>(Slot::KernelInfoGetAttribute_string);
  std::size_t bytes = 0;  // with the closing zero
  if (!succeeded(get(info_, name, nullptr, &bytes))) return !absent(name, "a text");
  std::string found(bytes, '\0');
  check(get(info_, name, found.data(), &bytes));
  value.assign(found.c_str());
  return true;
}

bool ShapeAttributes::read_as(const char* name,
                              AttributeType type,
                              void* data,
                              std::size_t& bytes) const {
  using GetAttribute = Error*(const ShapeContext*, const char*, const NodeAttribute**);
  using ReadAttribute =
      Error*(const NodeAttribute*, AttributeType, void*, std::size_t, std::size_t*);
  const NodeAttribute* attribute = nullptr;
  Error* error =
      api_.get<GetAttribute>(Slot::ShapeInferContext_GetAttribute)(context_, name, &attribute);
  if (error == nullptr) {
    error = api_.get<ReadAttribute>(Slot::ReadOpAttr)(attribute, type, data, bytes, &bytes);
  }
  if (error == nullptr) return true;
  api_.release(error);
  return false;
}

bool ShapeAttributes::read(const char* name, std::int64_t& value) const {
  std::size_t bytes = sizeof(value);
  std::int64_t found = 0;
  if (!read_as(name, AttributeType::kInt, &found, bytes)) return false;
  value = found;
  return true;
}

bool ShapeAttributes::read(const char* name, float& value) const {
  std::size_t bytes = sizeof(value);
  float found = 0.0f;
  if (!read_as(name, AttributeType::kFloat, &found, bytes)) return false;
  value = found;
  return true;
}

bool ShapeAttributes::read(const char* name, std::vector<float>& value) const {
  std::array<float, kMaxFloats> found{};
  std::size_t bytes = sizeof(found);
  if (!read_as(name, AttributeType::kFloats, found.data(), bytes)) return false;
  value.assign(found.begin(), found.begin() + std::min(bytes / sizeof(float), kMaxFloats));
  return true;
}

bool ShapeAttributes::read(const char* name, std::string& value) const {
  std::array<char, kMaxTextBytes> found{};
  std::size_t bytes = found.size() - 1;
  if (!read_as(name, AttributeType::kString, found.data(), bytes)) return false;
  value.assign(found.data());
  return true;
}

}  // namespace vinfer::ort
