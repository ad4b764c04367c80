#include "fuzzing.h"
#include "ops/positional_maps/positional_maps.h"

namespace vinfer::testing {
namespace {

using positional_maps::Affine;
using positional_maps::Inputs;
using positional_maps::Params;

Params draw_params(Draw& draw) {
  if (draw.one_in(20)) {
    // About 4096 bins: maps of more are filled row by row.
    const std::int64_t width = draw.integer(1, 300);
    return {4096 / width + draw.integer(0, 1), width};
  }
  return {draw.or_extreme(draw.integer(1, 17)), draw.or_extreme(draw.integer(1, 17))};
}

Block<float> draw_boxes(Draw& draw, std::int64_t num_boxes) {
  Block<float> boxes(draw, 4 * num_boxes);
  const bool bad = draw.coin();
  for (float& coordinate : boxes) {
    coordinate = static_cast<float>(draw.real(-100.0, 2000.0));
    if (bad) coordinate = draw.or_extreme(coordinate);
  }
  return boxes;
}

// The definition of the header, bin by bin.
template <typename T>
T expected(const Params& params, const float* box, const float* reference, std::int64_t in_maps) {
  const std::int64_t column = in_maps % params.width;
  const std::int64_t row = in_maps / params.width % params.height;
  const bool down = in_maps >= params.height * params.width;
  const auto [alpha, beta] = positional_maps::relative_position(
      box[down], box[2 + down], reference[down], reference[2 + down]);
  const auto bin = static_cast<float>(down ? row : column);
  const auto bins = static_cast<float>(down ? params.height : params.width);
  return static_cast<T>(alpha + beta * ((bin + 0.5f) / bins));
}

template <typename T>
Block<T> maps_by(Draw& draw, const Params& params, const Inputs& in, const How& how) {
  Shape<4> shape{};
  CHECK(positional_maps::output_shape(params, in, shape).ok());
  Block<T> maps(draw, TensorView<T, 4>{nullptr, shape}.size());
  maps.mark();
  Context context = how.context();
  CHECK(positional_maps::run(params, in, TensorView<T, 4>{maps.data(), shape}, context).ok());
  return maps;
}

template <typename T>
void fuzz(Draw& draw) {
  const Params params = draw_params(draw);
  const bool many = draw.one_in(4) && params.height < 20;
  const std::int64_t num_boxes = many ? draw.integer(10, 300) : draw.integer(0, 9);
  const Block<float> boxes = draw_boxes(draw, num_boxes);
  const Block<float> reference = draw.one_in(8) ? boxes : draw_boxes(draw, num_boxes);
  const Inputs in{{boxes.data(), {num_boxes, 4}}, {reference.data(), {num_boxes, 4}}};
  Shape<4> shape{};
  const Status status = positional_maps::output_shape(params, in, shape);
  const std::int64_t least = std::min(params.height, params.width);
  const std::int64_t most = std::max(params.height, params.width);
  CHECK(status.ok() == (least >= 1 && most <= positional_maps::kMaxBins &&
                        2 * std::max<std::int64_t>(num_boxes, 1) * params.height * params.width <=
                            kMaxOutputElements));
  Block<T> unwritten(draw, 1);
  unwritten.mark();
  Context context;
  if (!status.ok()) {
    const TensorView<T, 4> out{unwritten.data(), {1, 1, 1, 1}};
    return check_refused(positional_maps::run(params, in, out, context), unwritten);
  }
  Shape<4> wrong = shape;
  wrong[static_cast<std::size_t>(draw.integer(0, 3))] += draw.of({1, -1, 1000});
  const TensorView<T, 4> out{unwritten.data(), wrong};
  check_refused(positional_maps::run(params, in, out, context), unwritten);
  if (!is_affordable(shape)) return;

  const Block<T> first = maps_by<T>(draw, params, in, How{});
  const std::int64_t size = 2 * params.height * params.width;
  Block<T> wanted(draw, num_boxes * size);
  for (std::int64_t i = 0; i < wanted.size(); ++i) {
    const std::int64_t box = 4 * (i / size);
    wanted[i] = expected<T>(params, boxes.data() + box, reference.data() + box, i % size);
  }
  CHECK(same(first, wanted));
  for (const How& how : other_ways(draw)) {
    CHECK(same(maps_by<T>(draw, params, in, how), first));
  }
}

}  // namespace

void fuzz_positional_maps(Draw& draw) {
  if (draw.coin()) return fuzz<float>(draw);
  fuzz<Half>(draw);
}

}  // namespace vinfer::testing
