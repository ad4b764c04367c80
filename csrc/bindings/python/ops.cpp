#include "bindings/python/ops.h"

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "bindings/python/call.h"
#include "bindings/python/tensor.h"
#include "ops/letterbox/letterbox.h"
#include "ops/positional_maps/positional_maps.h"
#include "ops/roi_align/roi_align.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer::bindings {
namespace {

using Size = std::pair<std::int64_t, std::int64_t>;  // height, width

roi_align::Params roi_align_params(Size output_size,
                                   double spatial_scale,
                                   std::int64_t sampling_ratio,
                                   bool aligned) {
  roi_align::Params params;
  params.pooled_height = output_size.first;
  params.pooled_width = output_size.second;
  params.sampling_ratio = sampling_ratio;
  params.spatial_scale = spatial_scale;
  params.aligned = aligned;
  return params;
}

py::tuple call_roi_align(const Caller& caller,
                         const py::object& features_object,
                         const py::object& boxes_object,
                         const py::object& batch_indices_object,
                         Size output_size,
                         double spatial_scale,
                         std::int64_t sampling_ratio,
                         bool aligned,
                         const py::object& out_object,
                         const CallOptions& how) {
  const Tensor features = as_tensor(
      features_object,
      {"features", "[N, C, H, W]", 4, {DType::kFloat32, DType::kFloat16, DType::kFloat64}});
  const Tensor boxes = as_tensor(boxes_object, {"boxes", "[R, 4]", 2, {DType::kFloat32}});
  const Tensor batch_indices =
      as_tensor(batch_indices_object, {"batch_indices", "[R]", 1, {DType::kInt64}});
  check_same_device("roi_align", {&features, &boxes, &batch_indices});
  const auto params = roi_align_params(output_size, spatial_scale, sampling_ratio, aligned);
  return with_float_type(features.dtype, [&](auto zero) {
    using T = decltype(zero);
    const roi_align::Inputs<T> in{features.view<const T, 4>(),
                                  boxes.view<const float, 2>(),
                                  batch_indices.view<const std::int64_t, 1>()};
    Shape<4> shape{};
    raise_if_error(roi_align::output_shape(params, in, shape));
    const Tensor pooled = make_output(
        "roi_align", out_object, features.dtype, to_vector(shape), features, how.stream);
    roi_align::Outputs<T> out{pooled.view<T, 4>()};
    caller.run(
        "roi_align",
        how,
        features,
        [&](const Context& context) { return roi_align::workspace_bytes(params, in, context); },
        [&](Context& context) { return roi_align::run(params, in, out, context); });
    return py::make_tuple(pooled.owner, out.num_capped);
  });
}

py::object call_roi_align_backward(const Caller& caller,
                                   const py::object& grad_pooled_object,
                                   const py::object& boxes_object,
                                   const py::object& batch_indices_object,
                                   const Shape<4>& feature_shape,
                                   double spatial_scale,
                                   std::int64_t sampling_ratio,
                                   bool aligned,
                                   const py::object& out_object,
                                   const CallOptions& how) {
  const Tensor grad_pooled = as_tensor(
      grad_pooled_object, {"grad_pooled", "[R, C, h, w]", 4, {DType::kFloat32, DType::kFloat64}});
  const Tensor boxes = as_tensor(boxes_object, {"boxes", "[R, 4]", 2, {DType::kFloat32}});
  const Tensor batch_indices =
      as_tensor(batch_indices_object, {"batch_indices", "[R]", 1, {DType::kInt64}});
  check_same_device("roi_align_backward", {&grad_pooled, &boxes, &batch_indices});
  const auto params = roi_align_params(
      {grad_pooled.shape[2], grad_pooled.shape[3]}, spatial_scale, sampling_ratio, aligned);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const roi_align::BackwardInputs<T> in{grad_pooled.view<const T, 4>(),
                                          boxes.view<const float, 2>(),
                                          batch_indices.view<const std::int64_t, 1>()};
    raise_if_error(roi_align::check_backward(params, in, feature_shape));
    const Tensor grad = make_output("roi_align_backward",
                                    out_object,
                                    grad_pooled.dtype,
                                    to_vector(feature_shape),
                                    grad_pooled,
                                    how.stream);
    const auto grad_features = grad.view<T, 4>();
    caller.run(
        "roi_align_backward",
        how,
        grad_pooled,
        [&](const Context& context) {
          return roi_align::backward_workspace_bytes(params, in, feature_shape, context);
        },
        [&](Context& context) {
          return roi_align::run_backward(params, in, grad_features, context);
        });
    return grad.owner;
  };
  return grad_pooled.dtype == DType::kFloat64 ? run(double{}) : run(float{});
}

py::object call_positional_maps(const Caller& caller,
                                const py::object& boxes_object,
                                const py::object& reference_object,
                                Size size,
                                const std::string& dtype,
                                const py::object& out_object,
                                const CallOptions& how) {
  const Tensor boxes = as_tensor(boxes_object, {"boxes", "[R, 4]", 2, {DType::kFloat32}});
  const Tensor reference =
      as_tensor(reference_object, {"reference", "[R, 4]", 2, {DType::kFloat32}});
  check_same_device("positional_maps", {&boxes, &reference});
  const positional_maps::Params params{size.first, size.second};
  const positional_maps::Inputs in{boxes.view<const float, 2>(), reference.view<const float, 2>()};
  Shape<4> shape{};
  raise_if_error(positional_maps::output_shape(params, in, shape));
  const Tensor maps = make_output(
      "positional_maps", out_object, dtype_of(dtype), to_vector(shape), boxes, how.stream);
  with_storage_type(maps.dtype, [&](auto zero) {
    caller.run(
        "positional_maps",
        how,
        boxes,
        [](const Context&) { return std::size_t{0}; },
        [&](Context& context) {
          return positional_maps::run(params, in, maps.view<decltype(zero), 4>(), context);
        });
  });
  return maps.owner;
}

py::object call_weldon_pool(const Caller& caller,
                            const py::object& x_object,
                            std::int64_t k_max,
                            std::int64_t k_min,
                            double alpha,
                            bool return_indices,
                            const py::object& out_object,
                            const CallOptions& how) {
  const Tensor x = as_tensor(
      x_object, {"x", "[N, C, H, W]", 4, {DType::kFloat32, DType::kFloat16, DType::kFloat64}});
  const weldon_pool::Params params{k_max, k_min, alpha};
  return with_float_type(x.dtype, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const weldon_pool::Inputs<T> in{x.view<const T, 4>()};
    weldon_pool::OutputShapes shapes;
    raise_if_error(weldon_pool::output_shapes(params, in, shapes));
    const Tensor pooled =
        make_output("weldon_pool", out_object, x.dtype, to_vector(shapes.pooled), x, how.stream);
    weldon_pool::Outputs<T> out;
    out.pooled = pooled.view<T, 2>();
    Tensor max_indices;
    Tensor min_indices;
    if (return_indices) {
      const auto make = [&](const Shape<3>& shape) {
        return make_output(
            "weldon_pool", py::none(), DType::kInt64, to_vector(shape), x, how.stream);
      };
      max_indices = make(shapes.max_indices);
      min_indices = make(shapes.min_indices);
      out.max_indices = max_indices.view<std::int64_t, 3>();
      out.min_indices = min_indices.view<std::int64_t, 3>();
    }
    caller.run(
        "weldon_pool",
        how,
        x,
        [&](const Context& context) { return weldon_pool::workspace_bytes(params, in, context); },
        [&](Context& context) { return weldon_pool::run(params, in, out, context); });
    if (!return_indices) return pooled.owner;
    return py::make_tuple(pooled.owner, max_indices.owner, min_indices.owner);
  });
}

letterbox::Params letterbox_params(Size size,
                                   bool stretch,
                                   bool top_left,
                                   bool hwc,
                                   bool round_down,
                                   const std::array<double, 3>& mean,
                                   const std::array<double, 3>& std,
                                   double pad_value,
                                   bool swap_channels) {
  letterbox::Params params;
  params.height = size.first;
  params.width = size.second;
  params.mode = stretch ? letterbox::Mode::kStretch : letterbox::Mode::kPad;
  params.align = top_left ? letterbox::Align::kTopLeft : letterbox::Align::kCentre;
  params.layout = hwc ? letterbox::Layout::kHwc : letterbox::Layout::kChw;
  params.rounding = round_down ? letterbox::Rounding::kFloor : letterbox::Rounding::kNearest;
  params.mean = mean;
  params.std = std;
  params.pad_value = pad_value;
  params.swap_channels = swap_channels;
  return params;
}

template <typename In>
py::tuple run_letterbox(const Caller& caller,
                        const letterbox::Params& params,
                        const In& in,
                        const Tensor& picture,
                        Size source,
                        const std::string& dtype,
                        const py::object& out_object,
                        const CallOptions& how) {
  Shape<3> shape{};
  letterbox::Placement placement;
  raise_if_error(letterbox::output_shape(params, in, shape, placement));
  const Tensor out =
      make_output("letterbox", out_object, dtype_of(dtype), to_vector(shape), picture, how.stream);
  with_storage_type(out.dtype, [&](auto zero) {
    caller.run(
        "letterbox",
        how,
        picture,
        [&](const Context& context) { return letterbox::workspace_bytes(params, in, context); },
        [&](Context& context) {
          return letterbox::run(params, in, out.view<decltype(zero), 3>(), context);
        });
  });
  return py::make_tuple(
      out.owner,
      py::make_tuple(placement.height, placement.width, placement.top, placement.left),
      py::make_tuple(source.first, source.second));
}

// Bytes from row to row where rows themselves are contiguous, as in a crop; 0 where they are not.
std::int64_t row_stride_bytes(const py::object& object) {
  if (!py::isinstance<py::array>(object)) return 0;
  const auto array = py::reinterpret_borrow<py::array>(object);
  const bool pixels_in_a_row = array.ndim() == 3 && array.shape(2) == 3 && array.itemsize() == 1 &&
                               array.strides(2) == 1 && array.strides(1) == 3;
  const bool forward = pixels_in_a_row && array.strides(0) >= array.shape(1) * 3;
  return forward ? array.strides(0) : 0;
}

py::tuple call_letterbox(const Caller& caller,
                         const py::object& image_object,
                         Size size,
                         bool stretch,
                         bool top_left,
                         bool hwc,
                         bool round_down,
                         const std::array<double, 3>& mean,
                         const std::array<double, 3>& std,
                         double pad_value,
                         bool swap_channels,
                         const std::string& dtype,
                         const py::object& out,
                         const CallOptions& how) {
  const Wanted wanted{"image",
                      "[H, W, 3]; a grey one becomes RGB with np.stack([image] * 3, axis=2)",
                      3,
                      {DType::kUInt8}};
  const std::int64_t stride_bytes = row_stride_bytes(image_object);
  const Tensor image =
      stride_bytes > 0 ? as_rows(image_object, wanted) : as_tensor(image_object, wanted);
  const auto params = letterbox_params(
      size, stretch, top_left, hwc, round_down, mean, std, pad_value, swap_channels);
  const letterbox::Inputs in{image.view<const std::uint8_t, 3>(), stride_bytes};
  const Size source{image.shape[0], image.shape[1]};
  return run_letterbox(caller, params, in, image, source, dtype, out, how);
}

py::tuple call_letterbox_nv12(const Caller& caller,
                              const py::object& y_object,
                              const py::object& uv_object,
                              std::int64_t width,
                              int matrix,
                              bool full_range,
                              Size size,
                              bool stretch,
                              bool top_left,
                              bool hwc,
                              bool round_down,
                              const std::array<double, 3>& mean,
                              const std::array<double, 3>& std,
                              double pad_value,
                              bool swap_channels,
                              const std::string& dtype,
                              const py::object& out,
                              const CallOptions& how) {
  const Tensor y = as_tensor(y_object, {"y", "[H, S] with S >= width", 2, {DType::kUInt8}});
  const Tensor uv = as_tensor(
      uv_object, {"uv", "[ceil(H / 2), T] with T >= 2 * ceil(width / 2)", 2, {DType::kUInt8}});
  check_same_device("letterbox", {&y, &uv});
  if (width < 0) width = y.shape[1];
  const std::int64_t chroma_height = (y.shape[0] + 1) / 2;
  const std::int64_t chroma_bytes = (width + 1) / 2 * 2;
  if (width > y.shape[1] || uv.shape[0] != chroma_height || uv.shape[1] < chroma_bytes) {
    raise_if_error(failure(StatusCode::kInvalidShape,
                           "letterbox: found y ",
                           std::string(py::str(py::cast(y.shape))),
                           " and uv ",
                           std::string(py::str(py::cast(uv.shape))),
                           " for a width of ",
                           width,
                           ", expected y [H, S] with S >= width and uv [",
                           chroma_height,
                           ", T] with T >= ",
                           chroma_bytes));
  }
  const auto params = letterbox_params(
      size, stretch, top_left, hwc, round_down, mean, std, pad_value, swap_channels);
  letterbox::Nv12Inputs in;
  in.y = static_cast<const std::uint8_t*>(y.data);
  in.uv = static_cast<const std::uint8_t*>(uv.data);
  in.height = y.shape[0];
  in.width = width;
  in.y_stride_bytes = y.shape[1];
  in.uv_stride_bytes = uv.shape[1];
  in.matrix = matrix == 0   ? letterbox::ColorMatrix::kBt601
              : matrix == 1 ? letterbox::ColorMatrix::kBt709
                            : letterbox::ColorMatrix::kBt2020;
  in.full_range = full_range;
  return run_letterbox(caller, params, in, y, {in.height, in.width}, dtype, out, how);
}

// A bound op: `f` with the module's caller as its first argument.
template <typename Result, typename... Args>
auto bind(const Caller& caller, Result (*f)(const Caller&, Args...)) {
  return [caller, f](Args... args) { return f(caller, std::forward<Args>(args)...); };
}

}  // namespace

void register_ops(py::module_& module) {
  const Caller caller;
  module.def("roi_align",
             bind(caller, &call_roi_align),
             py::arg("features"),
             py::arg("boxes"),
             py::arg("batch_indices"),
             py::arg("output_size"),
             py::arg("spatial_scale"),
             py::arg("sampling_ratio"),
             py::arg("aligned"),
             py::arg("out"),
             py::arg("options"),
             "The pooled RoIs, and how many had their sampling grid capped.");
  module.def("roi_align_backward",
             bind(caller, &call_roi_align_backward),
             py::arg("grad_pooled"),
             py::arg("boxes"),
             py::arg("batch_indices"),
             py::arg("feature_shape"),
             py::arg("spatial_scale"),
             py::arg("sampling_ratio"),
             py::arg("aligned"),
             py::arg("out"),
             py::arg("options"));
  module.def("positional_maps",
             bind(caller, &call_positional_maps),
             py::arg("boxes"),
             py::arg("reference"),
             py::arg("size"),
             py::arg("dtype"),
             py::arg("out"),
             py::arg("options"));
  module.def("weldon_pool",
             bind(caller, &call_weldon_pool),
             py::arg("x"),
             py::arg("k_max"),
             py::arg("k_min"),
             py::arg("alpha"),
             py::arg("return_indices"),
             py::arg("out"),
             py::arg("options"));
  module.def("letterbox",
             bind(caller, &call_letterbox),
             py::arg("image"),
             py::arg("size"),
             py::arg("stretch"),
             py::arg("top_left"),
             py::arg("hwc"),
             py::arg("round_down"),
             py::arg("mean"),
             py::arg("std"),
             py::arg("pad_value"),
             py::arg("swap_channels"),
             py::arg("dtype"),
             py::arg("out"),
             py::arg("options"),
             "The network's input, (height, width, top, left) of the picture in it, and the "
             "picture's own height and width.");
  module.def("letterbox_nv12",
             bind(caller, &call_letterbox_nv12),
             py::arg("y"),
             py::arg("uv"),
             py::arg("width"),
             py::arg("matrix"),
             py::arg("full_range"),
             py::arg("size"),
             py::arg("stretch"),
             py::arg("top_left"),
             py::arg("hwc"),
             py::arg("round_down"),
             py::arg("mean"),
             py::arg("std"),
             py::arg("pad_value"),
             py::arg("swap_channels"),
             py::arg("dtype"),
             py::arg("out"),
             py::arg("options"),
             "As `letterbox`.");
}

}  // namespace vinfer::bindings
