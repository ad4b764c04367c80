#include "bindings/python/ops.h"

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "bindings/python/arrays.h"
#include "ops/letterbox/letterbox.h"
#include "ops/positional_maps/positional_maps.h"
#include "ops/roi_align/roi_align.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer::bindings {
namespace {

using Size = std::pair<std::int64_t, std::int64_t>;  // height, width

py::tuple call_roi_align(const py::object& features_object,
                         const py::object& boxes_object,
                         const py::object& batch_indices_object,
                         Size output_size,
                         double spatial_scale,
                         std::int64_t sampling_ratio,
                         bool aligned) {
  const auto features = as_array<float, 4>(features_object, "features", "[N, C, H, W]");
  const auto boxes = as_array<float, 2>(boxes_object, "boxes", "[R, 4]");
  const auto batch_indices =
      as_array<std::int64_t, 1>(batch_indices_object, "batch_indices", "[R]");
  roi_align::Params params;
  params.pooled_height = output_size.first;
  params.pooled_width = output_size.second;
  params.sampling_ratio = sampling_ratio;
  params.spatial_scale = spatial_scale;
  params.aligned = aligned;
  const roi_align::Inputs<float> in{view<4>(features), view<2>(boxes), view<1>(batch_indices)};
  Shape<4> shape{};
  raise_if_error(roi_align::output_shape(params, in, shape));
  auto pooled = make_output<float>("roi_align", shape);
  roi_align::Outputs<float> out{mutable_view<4>(pooled)};
  run_without_gil("roi_align",
                  roi_align::workspace_bytes(params, in, Context{}),
                  [&](Context& context) { return roi_align::run(params, in, out, context); });
  return py::make_tuple(pooled, out.num_capped);
}

py::array_t<float> call_positional_maps(const py::object& boxes_object,
                                        const py::object& reference_object,
                                        Size size) {
  const auto boxes = as_array<float, 2>(boxes_object, "boxes", "[R, 4]");
  const auto reference = as_array<float, 2>(reference_object, "reference", "[R, 4]");
  const positional_maps::Params params{size.first, size.second};
  const positional_maps::Inputs in{view<2>(boxes), view<2>(reference)};
  Shape<4> shape{};
  raise_if_error(positional_maps::output_shape(params, in, shape));
  auto maps = make_output<float>("positional_maps", shape);
  const auto out = mutable_view<4>(maps);
  run_without_gil("positional_maps", 0, [&](Context& context) {
    return positional_maps::run(params, in, out, context);
  });
  return maps;
}

py::object call_weldon_pool(const py::object& x_object,
                            std::int64_t k_max,
                            std::int64_t k_min,
                            double alpha,
                            bool return_indices) {
  const auto x = as_array<float, 4>(x_object, "x", "[N, C, H, W]");
  const weldon_pool::Params params{k_max, k_min, alpha};
  const weldon_pool::Inputs<float> in{view<4>(x)};
  weldon_pool::OutputShapes shapes;
  raise_if_error(weldon_pool::output_shapes(params, in, shapes));
  auto pooled = make_output<float>("weldon_pool", shapes.pooled);
  weldon_pool::Outputs<float> out;
  out.pooled = mutable_view<2>(pooled);
  Array<std::int64_t> max_indices;
  Array<std::int64_t> min_indices;
  if (return_indices) {
    max_indices = make_output<std::int64_t>("weldon_pool", shapes.max_indices);
    min_indices = make_output<std::int64_t>("weldon_pool", shapes.min_indices);
    out.max_indices = mutable_view<3>(max_indices);
    out.min_indices = mutable_view<3>(min_indices);
  }
  run_without_gil("weldon_pool",
                  weldon_pool::workspace_bytes(params, in, Context{}),
                  [&](Context& context) { return weldon_pool::run(params, in, out, context); });
  if (!return_indices) return pooled;
  return py::make_tuple(pooled, max_indices, min_indices);
}

py::tuple call_letterbox(const py::object& image_object,
                         Size size,
                         bool stretch,
                         bool top_left,
                         bool hwc,
                         const std::array<double, 3>& mean,
                         const std::array<double, 3>& std,
                         double pad_value,
                         bool swap_channels) {
  const auto image = as_array<std::uint8_t, 3>(
      image_object,
      "image",
      "[H, W, 3]; a grey one becomes RGB with np.stack([image] * 3, axis=2)");
  letterbox::Params params;
  params.height = size.first;
  params.width = size.second;
  params.mode = stretch ? letterbox::Mode::kStretch : letterbox::Mode::kPad;
  params.align = top_left ? letterbox::Align::kTopLeft : letterbox::Align::kCentre;
  params.layout = hwc ? letterbox::Layout::kHwc : letterbox::Layout::kChw;
  params.mean = mean;
  params.std = std;
  params.pad_value = pad_value;
  params.swap_channels = swap_channels;
  const letterbox::Inputs in{view<3>(image)};
  Shape<3> shape{};
  letterbox::Placement placement;
  raise_if_error(letterbox::output_shape(params, in, shape, placement));
  auto network_image = make_output<float>("letterbox", shape);
  const auto out = mutable_view<3>(network_image);
  run_without_gil("letterbox",
                  letterbox::workspace_bytes(params, in, Context{}),
                  [&](Context& context) { return letterbox::run(params, in, out, context); });
  return py::make_tuple(
      network_image,
      py::make_tuple(placement.height, placement.width, placement.top, placement.left));
}

}  // namespace

void register_ops(py::module_& module) {
  module.def("roi_align",
             &call_roi_align,
             py::arg("features"),
             py::arg("boxes"),
             py::arg("batch_indices"),
             py::arg("output_size"),
             py::arg("spatial_scale"),
             py::arg("sampling_ratio"),
             py::arg("aligned"),
             "The pooled RoIs, and how many had their sampling grid capped.");
  module.def("positional_maps",
             &call_positional_maps,
             py::arg("boxes"),
             py::arg("reference"),
             py::arg("size"));
  module.def("weldon_pool",
             &call_weldon_pool,
             py::arg("x"),
             py::arg("k_max"),
             py::arg("k_min"),
             py::arg("alpha"),
             py::arg("return_indices"));
  module.def("letterbox",
             &call_letterbox,
             py::arg("image"),
             py::arg("size"),
             py::arg("stretch"),
             py::arg("top_left"),
             py::arg("hwc"),
             py::arg("mean"),
             py::arg("std"),
             py::arg("pad_value"),
             py::arg("swap_channels"),
             "The network's input, and (height, width, top, left) of the picture in it.");
}

}  // namespace vinfer::bindings
