#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bindings/ort/errors.h"

namespace vinfer::ort {

// An extent of a graph's tensor, or its name where only a run tells it.
struct Dim {
  std::int64_t extent = -1;
  std::string name;

  bool known() const { return extent >= 0; }
  bool named() const { return !name.empty(); }
};

using Dims = std::vector<Dim>;  // empty when not even the rank is known

// The extent of whichever says more.
inline const Dim& same_extent(const Dim& a, const Dim& b) {
  if (a.known() || (a.named() && !b.known())) return a;
  return b.known() || b.named() ? b : a;
}

// What the runtime knows of a node's inputs while it loads a graph.
class ShapeInference {
 public:
  ShapeInference(const Api& api, ShapeContext* context) : api_(api), context_(context) {}

  // Empty unless it is known to be of this rank.
  Dims input(std::size_t index, std::size_t rank) const;
  ElementType input_type(std::size_t index) const;
  void set_output(ElementType type, Dims dims) const;

 private:
  const TensorInfo* info(std::size_t index) const;

  const Api& api_;
  ShapeContext* context_;
};

}  // namespace vinfer::ort
