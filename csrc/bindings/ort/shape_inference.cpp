#include "bindings/ort/shape_inference.h"

#include <atomic>

namespace vinfer::ort {

// Belongs to the context, so it is not released.
const TensorInfo* ShapeInference::info(std::size_t index) const {
  TensorInfo* info = nullptr;
  check(api_.get<Error*(const ShapeContext*, std::size_t, TensorInfo**)>(
      Slot::ShapeInferContext_GetInputTypeShape)(context_, index, &info));
  return info;
}

ElementType ShapeInference::input_type(std::size_t index) const {
  ElementType type = ElementType::kUndefined;
  check(api_.get<Error*(const TensorInfo*, ElementType*)>(Slot::GetTensorElementType)(info(index),
                                                                                      &type));
  return type;
}

Dims ShapeInference::input(std::size_t index, std::size_t rank) const {
  const TensorInfo* const tensor = info(index);
  std::size_t found = 0;  // 0 also when the rank is unknown
  check(
      api_.get<Error*(const TensorInfo*, std::size_t*)>(Slot::GetDimensionsCount)(tensor, &found));
  if (found != rank) return {};
  std::vector<std::int64_t> extents(rank);
  std::vector<const char*> names(rank);
  check(api_.get<Error*(const TensorInfo*, std::int64_t*, std::size_t)>(Slot::GetDimensions)(
      tensor, extents.data(), rank));
  check(api_.get<Error*(const TensorInfo*, const char**, std::size_t)>(Slot::GetSymbolicDimensions)(
      tensor, names.data(), rank));
  Dims dims(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    dims[i] = {extents[i], names[i] == nullptr ? "" : names[i]};
  }
  return dims;
}

void ShapeInference::set_output(ElementType type, Dims dims) const {
  // An unknown extent without a name would become the literal extent -1 in the graph.
  static std::atomic<std::int64_t> num_made_up{0};
  std::vector<std::int64_t> extents;
  std::vector<const char*> names;
  for (Dim& dim : dims) {
    if (!dim.known() && !dim.named()) dim.name = "vinfer_dim_" + std::to_string(++num_made_up);
    extents.push_back(dim.extent);
    names.push_back(dim.known() ? "" : dim.name.c_str());
  }
  TensorInfo* info = nullptr;
  check(api_.get<Error*(TensorInfo**)>(Slot::CreateTensorTypeAndShapeInfo)(&info));
  Error* error = api_.get<Error*(TensorInfo*, ElementType)>(Slot::SetTensorElementType)(info, type);
  if (error == nullptr) {
    error = api_.get<Error*(TensorInfo*, const std::int64_t*, std::size_t)>(Slot::SetDimensions)(
        info, extents.data(), extents.size());
  }
  if (error == nullptr) {
    error = api_.get<Error*(TensorInfo*, const char**, std::size_t)>(Slot::SetSymbolicDimensions)(
        info, names.data(), names.size());
  }
  if (error == nullptr) {
    error = api_.get<Error*(const ShapeContext*, std::size_t, const TensorInfo*)>(
        Slot::ShapeInferContext_SetOutputTypeShape)(context_, 0, info);
  }
  api_.get<void(TensorInfo*)>(Slot::ReleaseTensorTypeAndShapeInfo)(info);
  check(error);
}

}  // namespace vinfer::ort
