#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "bindings/ort/errors.h"

namespace vinfer::ort {

// A node's attributes; one that the node does not have is `fallback`. Raises what is not of the
// type or not among the values that it should be.
class Attributes {
 public:
  Attributes(const Api& api, const char* op) : api_(api), op_(op) {}
  virtual ~Attributes() = default;

  std::int64_t integer(const char* name, std::int64_t fallback) const;
  bool flag(const char* name, bool fallback) const;  // an integer, 0 or 1
  double real(const char* name, double fallback) const;
  std::array<double, 3> three_reals(const char* name, std::array<double, 3> fallback) const;

  // One of several texts, the first of them without the attribute.
  template <typename Choice>
  Choice choice(const char* name,
                std::initializer_list<std::pair<const char*, Choice>> choices) const {
    std::string found = choices.begin()->first;
    read(name, found);
    std::string expected;
    for (const auto& [text, value] : choices) {
      if (found == text) return value;
      expected += expected.empty() ? text : std::string(" or ") + text;
    }
    refuse(name, "is '" + found + "', expected " + expected);
  }

 protected:
  // False, with `value` untouched, where the node has no such attribute.
  virtual bool read(const char* name, std::int64_t& value) const = 0;
  virtual bool read(const char* name, float& value) const = 0;
  virtual bool read(const char* name, std::vector<float>& value) const = 0;
  virtual bool read(const char* name, std::string& value) const = 0;

  [[noreturn]] void refuse(const char* name, const std::string& reason) const;

  const Api& api_;

 private:
  const char* op_;
};

// As a kernel sees them when it is made.
class KernelAttributes final : public Attributes {
 public:
  KernelAttributes(const Api& api, const char* op, const KernelInfo* info)
      : Attributes(api, op), info_(info) {}

 private:
  bool read(const char* name, std::int64_t& value) const override;
  bool read(const char* name, float& value) const override;
  bool read(const char* name, std::vector<float>& value) const override;
  bool read(const char* name, std::string& value) const override;

  bool succeeded(Error* error) const;
  bool absent(const char* name, const char* expected) const;

  const KernelInfo* info_;
};

// As shape inference sees them.
class ShapeAttributes final : public Attributes {
 public:
  ShapeAttributes(const Api& api, const char* op, const ShapeContext* context)
      : Attributes(api, op), context_(context) {}

 private:
  bool read(const char* name, std::int64_t& value) const override;
  bool read(const char* name, float& value) const override;
  bool read(const char* name, std::vector<float>& value) const override;
  bool read(const char* name, std::string& value) const override;

  bool read_as(const char* name, AttributeType type, void* data, std::size_t& bytes) const;

  const ShapeContext* context_;
};

}  // namespace vinfer::ort
