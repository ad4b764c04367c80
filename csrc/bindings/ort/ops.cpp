#include "bindings/ort/ops.h"

#include <array>
#include <cstdint>

#include "ops/letterbox/letterbox.h"
#include "ops/positional_maps/positional_maps.h"
#include "ops/roi_align/roi_align.h"
#include "ops/weldon_pool/weldon_pool.h"

// An op's description: name, types, attributes with their defaults, their check when a session is
// made, the output's shape, and the call. The defaults are those of the ops' function bodies, which
// the runtime does not hand to kernels.
namespace vinfer::ort {
namespace {

Dim extent(std::int64_t value) { return {value, {}}; }

struct RoiAlign {
  using Params = roi_align::Params;
  static constexpr const char* kName = "RoiAlign";
  template <typename T>
  static constexpr std::array kInputs{kElementType<T>, ElementType::kFloat, ElementType::kInt64};
  template <typename T>
  static constexpr ElementType kOutput = kElementType<T>;

  static Params read(const Attributes& attributes) {
    Params params;
    params.pooled_height = attributes.integer("output_height", 1);
    params.pooled_width = attributes.integer("output_width", 1);
    params.sampling_ratio = attributes.integer("sampling_ratio", 0);
    params.spatial_scale = attributes.real("spatial_scale", 1.0);
    params.aligned = attributes.choice<bool>("coordinate_transformation_mode",
                                             {{"half_pixel", true}, {"output_half_pixel", false}});
    return params;
  }

  static Status check(const Params& params) {
    Shape<4> shape{};
    const roi_align::Inputs<float> none{{nullptr, {1, 1, 1, 1}}, {nullptr, {0, 4}}, {}};
    return roi_align::output_shape(params, none, shape);
  }

  static Dims infer_shape(const Params& params, const ShapeInference& inference) {
    const Dims features = inference.input(0, 4);
    const Dims boxes = inference.input(1, 2);
    const Dims batch_indices = inference.input(2, 1);
    return {same_extent(boxes.empty() ? Dim{} : boxes[0],
                        batch_indices.empty() ? Dim{} : batch_indices[0]),
            features.empty() ? Dim{} : features[1],
            extent(params.pooled_height),
            extent(params.pooled_width)};
  }

  template <typename T>
  static void run(const Params& params, Call& call) {
    const roi_align::Inputs<T> in{call.input<T, 4>(0, "X", "[N, C, H, W]"),
                                  call.input<float, 2>(1, "boxes", "[R, 4]"),
                                  call.input<std::int64_t, 1>(2, "batch_indices", "[R]")};
    Shape<4> shape{};
    call.require(roi_align::output_shape(params, in, shape));
    roi_align::Outputs<T> out{call.output<T>(shape)};
    call.run([&](const Context& context) { return workspace_bytes(params, in, context); },
             [&](Context& context) { return roi_align::run(params, in, out, context); });
  }
};

struct PositionalMaps {
  using Params = positional_maps::Params;
  static constexpr const char* kName = "PositionalMaps";
  template <typename T>
  static constexpr std::array kInputs{ElementType::kFloat, ElementType::kFloat};
  template <typename T>
  static constexpr ElementType kOutput = ElementType::kFloat;

  static Params read(const Attributes& attributes) {
    Params params;
    params.height = attributes.integer("height", 7);
    params.width = attributes.integer("width", 7);
    return params;
  }

  static Status check(const Params& params) {
    Shape<4> shape{};
    return positional_maps::output_shape(params, {{nullptr, {0, 4}}, {nullptr, {0, 4}}}, shape);
  }

  static Dims infer_shape(const Params& params, const ShapeInference& inference) {
    const Dims boxes = inference.input(0, 2);
    const Dims reference = inference.input(1, 2);
    return {same_extent(boxes.empty() ? Dim{} : boxes[0], reference.empty() ? Dim{} : reference[0]),
            extent(2),
            extent(params.height),
            extent(params.width)};
  }

  template <typename T>
  static void run(const Params& params, Call& call) {
    const positional_maps::Inputs in{call.input<float, 2>(0, "boxes", "[R, 4]"),
                                     call.input<float, 2>(1, "reference", "[R, 4]")};
    Shape<4> shape{};
    call.require(positional_maps::output_shape(params, in, shape));
    const auto maps = call.output<float>(shape);
    call.run([](const Context&) -> std::size_t { return 0; },
             [&](Context& context) { return positional_maps::run(params, in, maps, context); });
  }
};

struct WeldonPool {
  using Params = weldon_pool::Params;
  static constexpr const char* kName = "WeldonPool";
  template <typename T>
  static constexpr std::array kInputs{kElementType<T>};
  template <typename T>
  static constexpr ElementType kOutput = kElementType<T>;

  static Params read(const Attributes& attributes) {
    Params params;
    params.k_max = attributes.integer("k_max", 16);
    params.k_min = attributes.integer("k_min", 16);
    params.alpha = attributes.real("alpha", 1.0);
    return params;
  }

  static Status check(const Params& params) {
    weldon_pool::OutputShapes shapes;
    return weldon_pool::output_shapes<float>(params, {{nullptr, {1, 1, 1, 1}}}, shapes);
  }

  static Dims infer_shape(const Params&, const ShapeInference& inference) {
    const Dims features = inference.input(0, 4);
    return features.empty() ? Dims{Dim{}, Dim{}} : Dims{features[0], features[1]};
  }

  template <typename T>
  static void run(const Params& params, Call& call) {
    const weldon_pool::Inputs<T> in{call.input<T, 4>(0, "X", "[N, C, H, W]")};
    weldon_pool::OutputShapes shapes;
    call.require(weldon_pool::output_shapes(params, in, shapes));
    weldon_pool::Outputs<T> out{call.output<T>(shapes.pooled), {}, {}};
    call.run([&](const Context& context) { return workspace_bytes(params, in, context); },
             [&](Context& context) { return weldon_pool::run(params, in, out, context); });
  }
};

struct Letterbox {
  using Params = letterbox::Params;
  static constexpr const char* kName = "Letterbox";
  template <typename T>
  static constexpr std::array kInputs{ElementType::kUInt8};
  template <typename T>
  static constexpr ElementType kOutput = ElementType::kFloat;

  static Params read(const Attributes& attributes) {
    using letterbox::Align;
    using letterbox::Layout;
    using letterbox::Mode;
    using letterbox::Rounding;
    Params params;
    params.height = attributes.integer("height", 640);
    params.width = attributes.integer("width", 640);
    params.mode =
        attributes.choice<Mode>("mode", {{"pad", Mode::kPad}, {"stretch", Mode::kStretch}});
    params.align = attributes.choice<Align>(
        "align", {{"center", Align::kCentre}, {"top_left", Align::kTopLeft}});
    params.layout =
        attributes.choice<Layout>("layout", {{"chw", Layout::kChw}, {"hwc", Layout::kHwc}});
    params.rounding = attributes.choice<Rounding>(
        "rounding", {{"nearest", Rounding::kNearest}, {"floor", Rounding::kFloor}});
    params.mean = attributes.three_reals("mean", {0.0, 0.0, 0.0});
    params.std = attributes.three_reals("std", {1.0, 1.0, 1.0});
    params.pad_value = attributes.real("pad_value", 114.0);
    params.swap_channels = attributes.flag("swap_channels", false);
    return params;
  }

  static Status check(const Params& params) {
    Shape<3> shape{};
    letterbox::Placement placement;
    return letterbox::output_shape(
        params, letterbox::Inputs{{nullptr, {1, 1, 3}}}, shape, placement);
  }

  static Dims infer_shape(const Params& params, const ShapeInference&) {
    const Dim height = extent(params.height);
    const Dim width = extent(params.width);
    return params.layout == letterbox::Layout::kHwc ? Dims{height, width, extent(3)}
                                                    : Dims{extent(3), height, width};
  }

  template <typename T>
  static void run(const Params& params, Call& call) {
    const letterbox::Inputs in{call.input<std::uint8_t, 3>(0, "image", "[H, W, 3]")};
    Shape<3> shape{};
    letterbox::Placement placement;
    call.require(letterbox::output_shape(params, in, shape, placement));
    const auto out = call.output<float>(shape);
    call.run([&](const Context& context) { return workspace_bytes(params, in, context); },
             [&](Context& context) { return letterbox::run(params, in, out, context); });
  }
};

template <Device kDevice>
void add_ops(const Api& api, std::vector<RegisteredOp>& ops) {
  ops.push_back(Entries<RoiAlign, float, kDevice>::make(api));
  ops.push_back(Entries<RoiAlign, Half, kDevice>::make(api));
  ops.push_back(Entries<PositionalMaps, float, kDevice>::make(api));
  ops.push_back(Entries<WeldonPool, float, kDevice>::make(api));
  ops.push_back(Entries<WeldonPool, Half, kDevice>::make(api));
  ops.push_back(Entries<Letterbox, float, kDevice>::make(api));
}

}  // namespace

std::vector<RegisteredOp> make_ops(const Api& api) {
  std::vector<RegisteredOp> ops;
  add_ops<Device::kCpu>(api, ops);
#ifdef VINFER_HAVE_CUDA
  add_ops<Device::kCuda>(api, ops);
#endif
  return ops;
}

}  // namespace vinfer::ort
