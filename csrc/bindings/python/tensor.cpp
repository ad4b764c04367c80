#include "bindings/python/tensor.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/python/cuda_array.h"
#include "bindings/python/dlpack.h"

namespace vinfer::bindings {
namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  char kind;  // numpy's
  std::uint8_t dlpack_code;
  std::uint8_t bytes;
};

constexpr DTypeRow kDTypes[] = {
    {DType::kFloat32, "float32", 'f', dlpack::kFloat, 4},
    {DType::kFloat16, "float16", 'f', dlpack::kFloat, 2},
    {DType::kFloat64, "float64", 'f', dlpack::kFloat, 8},
    {DType::kInt64, "int64", 'i', dlpack::kInt, 8},
    {DType::kUInt8, "uint8", 'u', dlpack::kUInt, 1},
};

const DTypeRow& row_of(DType dtype) {
  return *std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& row) {
    return row.dtype == dtype;
  });
}

std::string wanted_dtypes(const Wanted& wanted) {
  std::string text;
  std::size_t i = 0;
  for (const DType dtype : wanted.dtypes) {
    if (i > 0) text += i + 1 == wanted.dtypes.size() ? " or " : ", ";
    text += name_of(dtype);
    ++i;
  }
  return text;
}

[[noreturn]] void refuse_dtype(const Wanted& wanted, const std::string& found) {
  raise_if_error(failure(StatusCode::kInvalidDType,
                         wanted.name,
                         ": found dtype ",
                         found,
                         ", expected ",
                         wanted_dtypes(wanted),
                         "; convert with ",
                         wanted.name,
                         ".astype(\"",
                         name_of(*wanted.dtypes.begin()),
                         "\")"));
  throw py::error_already_set();  // not reached: the line above always throws
}

void refuse_shape(const char* name,
                  const std::vector<std::int64_t>& found,
                  const std::string& expected) {
  raise_if_error(failure(StatusCode::kInvalidShape,
                         name,
                         ": found shape ",
                         std::string(py::str(py::cast(found))),
                         ", expected ",
                         expected));
}

void check_rank(const Wanted& wanted, const std::vector<std::int64_t>& shape) {
  if (shape.size() != wanted.rank) refuse_shape(wanted.name, shape, wanted.layout);
}

bool accepted(const Wanted& wanted, DType dtype) {
  return std::find(wanted.dtypes.begin(), wanted.dtypes.end(), dtype) != wanted.dtypes.end();
}

// Dtype and shape of a numpy array; the memory stays to be taken.
Tensor described(const py::array& array, const Wanted& wanted) {
  Tensor tensor;
  const py::dtype dtype = array.dtype();
  const char order = dtype.byteorder();
  const auto row = std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& r) {
    return r.kind == dtype.kind() && r.bytes == dtype.itemsize();
  });
  const bool native = order == '=' || order == '|' || order == '<';
  if (row == std::end(kDTypes) || !native || !accepted(wanted, row->dtype)) {
    refuse_dtype(wanted, py::str(dtype));
  }
  tensor.dtype = row->dtype;
  tensor.shape.assign(array.shape(), array.shape() + array.ndim());
  check_rank(wanted, tensor.shape);
  return tensor;
}

Tensor from_numpy(const py::array& array, const Wanted& wanted) {
  Tensor tensor = described(array, wanted);
  constexpr int kLayout =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  py::array contiguous = array;
  if ((array.flags() & kLayout) != kLayout) {
    contiguous = py::module_::import("numpy").attr("require")(array, py::none(), "CA");
  }
  tensor.data = const_cast<void*>(contiguous.data());
  tensor.owner = std::move(contiguous);
  return tensor;
}

bool is_row_major(const dlpack::Tensor& tensor) {
  if (tensor.strides == nullptr) return true;
  std::int64_t expected = 1;
  for (std::int32_t i = tensor.rank - 1; i >= 0; --i) {
    if (tensor.shape[i] == 0) return true;
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

Tensor from_dlpack(const dlpack::Tensor& source, const py::object& owner, const Wanted& wanted) {
  Tensor tensor;
  const auto row = std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& r) {
    return r.dlpack_code == source.dtype.code && r.bytes * 8 == source.dtype.bits &&
           source.dtype.lanes == 1;
  });
  if (row == std::end(kDTypes) || !accepted(wanted, row->dtype)) {
    refuse_dtype(wanted,
                 row == std::end(kDTypes)
                     ? "of code " + std::to_string(source.dtype.code) + " and " +
                           std::to_string(source.dtype.bits) + " bits"
                     : row->name);
  }
  tensor.dtype = row->dtype;
  tensor.shape.assign(source.shape, source.shape + source.rank);
  check_rank(wanted, tensor.shape);
  if (!is_row_major(source)) {
    raise_if_error(failure(StatusCode::kInvalidArgument,
                           wanted.name,
                           ": found memory that is not contiguous, expected row-major; make it so "
                           "with your library, such as .contiguous() or ascontiguousarray()"));
  }
  tensor.device = source.device.type == dlpack::kCuda ? Device::kCuda : Device::kCpu;
  tensor.device_id = source.device.id;
  tensor.data = static_cast<std::byte*>(source.data) + source.byte_offset;
  tensor.owner = owner;
  return tensor;
}

// The tensor that a capsule holds; the capsule stays its owner, and is not marked as used.
const dlpack::Tensor* held_tensor(const py::object& object) {
  if (PyCapsule_IsValid(object.ptr(), "dltensor_versioned") != 0) {
    const auto* managed = static_cast<const dlpack::ManagedVersioned*>(
        PyCapsule_GetPointer(object.ptr(), "dltensor_versioned"));
    return managed->version.major == 1 ? &managed->tensor : nullptr;
  }
  if (PyCapsule_IsValid(object.ptr(), "dltensor") != 0) {
    return &static_cast<const dlpack::Managed*>(PyCapsule_GetPointer(object.ptr(), "dltensor"))
                ->tensor;
  }
  return nullptr;
}

}  // namespace

const char* name_of(DType dtype) { return row_of(dtype).name; }

DType dtype_of(const std::string& name) {
  const auto row = std::find_if(
      std::begin(kDTypes), std::end(kDTypes), [&](const DTypeRow& r) { return r.name == name; });
  return row->dtype;
}

Tensor as_tensor(const py::object& object, const Wanted& wanted) {
  if (py::isinstance<py::array>(object)) {
    return from_numpy(py::reinterpret_borrow<py::array>(object), wanted);
  }
  if (const dlpack::Tensor* tensor = held_tensor(object)) {
    return from_dlpack(*tensor, object, wanted);
  }
  raise_if_error(failure(StatusCode::kInvalidDType,
                         wanted.name,
                         ": found ",
                         std::string(py::str(py::type::of(object).attr("__name__"))),
                         ", expected a numpy array or another library's (by DLPack) of ",
                         wanted_dtypes(wanted),
                         " and shape ",
                         wanted.layout));
  throw py::error_already_set();  // not reached: the line above always throws
}

Tensor as_rows(const py::object& object, const Wanted& wanted) {
  const auto array = py::reinterpret_borrow<py::array>(object);
  Tensor tensor = described(array, wanted);
  tensor.data = const_cast<void*>(array.data());
  tensor.owner = object;
  return tensor;
}

Tensor make_output(const char* op,
                   const py::object& out,
                   DType dtype,
                   const std::vector<std::int64_t>& shape,
                   const Tensor& like,
                   void* stream) {
  if (!out.is_none()) {
    const std::string layout = py::str(py::cast(shape));
    Tensor tensor = as_tensor(out, {"out", layout.c_str(), shape.size(), {dtype}});
    const bool copied = py::isinstance<py::array>(out) && !tensor.owner.is(out);
    const bool read_only =
        py::isinstance<py::array>(out) && !py::reinterpret_borrow<py::array>(out).writeable();
    if (tensor.shape != shape) refuse_shape("out", tensor.shape, layout);
    if (copied || read_only) {
      raise_if_error(failure(StatusCode::kInvalidArgument,
                             "out: found an array that is ",
                             copied ? "not contiguous" : "read-only",
                             ", expected one that can be written to in row-major order"));
    }
    check_same_device(op, {&like, &tensor});
    return tensor;
  }
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.shape = shape;
  tensor.device = like.device;
  tensor.device_id = like.device_id;
  if (like.device == Device::kCuda) {
    allocate_on_device(op, tensor, row_of(dtype).bytes, stream);
    return tensor;
  }
  try {
    py::array array(py::dtype(row_of(dtype).name), shape);
    tensor.data = array.mutable_data();
    tensor.owner = std::move(array);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_MemoryError)) throw;
    raise_out_of_memory(op);
  }
  return tensor;
}

void check_same_device(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  for (const Tensor* tensor : tensors) {
    if (tensor->device == first.device && tensor->device_id == first.device_id) continue;
    raise_if_error(failure(StatusCode::kInvalidArgument,
                           op,
                           ": found arrays on different devices, expected all on the CPU or all on "
                           "one GPU; move them with your library first"));
  }
}

}  // namespace vinfer::bindings
