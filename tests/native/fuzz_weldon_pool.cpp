#include <numeric>

#include "fuzzing.h"
#include "ops/weldon_pool/weldon_pool.h"

namespace vinfer::testing {
namespace {

using weldon_pool::Params;

Shape<4> draw_shape(Draw& draw) {
  Shape<4> shape{draw.integer(0, 3), draw.integer(0, 9), draw.integer(0, 9), draw.integer(0, 9)};
  if (draw.one_in(6)) shape[1] = draw.integer(10, 500);
  if (draw.one_in(6)) shape[static_cast<std::size_t>(draw.integer(2, 3))] = draw.integer(10, 900);
  for (std::int64_t& extent : shape) {
    if (extent == 0 && !draw.one_in(6)) extent = 1;
  }
  while (!is_affordable(shape)) shape[1] /= 2;
  return shape;
}

Params draw_params(Draw& draw, std::int64_t size) {
  return {draw.or_extreme(draw.integer(1, size + 2)),
          draw.or_extreme(draw.integer(0, size + 2)),
          draw.or_extreme(draw.of({0.0, 1.0, 0.7, -0.5}))};
}

bool is_valid(const Params& params, const Shape<4>& shape) {
  return shape[2] >= 1 && shape[3] >= 1 && params.k_max >= 1 && params.k_min >= 0 &&
         std::isfinite(params.alpha);
}

template <typename T>
struct Pooled {
  Block<T> values;
  Block<std::int64_t> max_indices;
  Block<std::int64_t> min_indices;
};

template <typename T>
Pooled<T> pooled_by(Draw& draw,
                    const Params& params,
                    const weldon_pool::Inputs<T>& in,
                    bool want_indices,
                    const How& how) {
  weldon_pool::OutputShapes shapes;
  CHECK(weldon_pool::output_shapes(params, in, shapes).ok());
  const auto block = [&]<typename E, std::size_t Rank>(E, const Shape<Rank>& shape) {
    Block<E> made(draw, TensorView<E, Rank>{nullptr, shape}.size());
    made.mark();
    return made;
  };
  Pooled<T> result{block(T{}, shapes.pooled),
                   block(std::int64_t{}, shapes.max_indices),
                   block(std::int64_t{}, shapes.min_indices)};
  weldon_pool::Outputs<T> out{{result.values.data(), shapes.pooled}, {}, {}};
  if (want_indices) {
    out.max_indices = {result.max_indices.data(), shapes.max_indices};
    out.min_indices = {result.min_indices.data(), shapes.min_indices};
  }
  Context context = how.context();
  const Scratch scratch(weldon_pool::workspace_bytes(params, in, context));
  context.workspace = scratch.context().workspace;
  CHECK(weldon_pool::run(params, in, out, context).ok());
  return result;
}

// One side of one map by a stable sort: positions as found, and the mean of what lies there.
template <typename T>
double check_side(
    const T* map, std::int64_t size, bool lowest, const std::int64_t* found, std::int64_t k) {
  if (std::any_of(map, map + size, [](T value) { return std::isnan(number(value)); })) {
    CHECK(std::all_of(found, found + k, [](std::int64_t index) { return index == -1; }));
    return static_cast<double>(kNan);
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return lowest ? number(map[a]) < number(map[b]) : number(map[a]) > number(map[b]);
  });
  CHECK(std::equal(found, found + k, order.begin()));
  double sum = 0.0;
  for (std::int64_t i = 0; i < k; ++i) sum += number(map[found[i]]);
  return k == 0 ? 0.0 : sum / static_cast<double>(k);
}

template <typename T>
void check_values(const Params& params, const weldon_pool::Inputs<T>& in, const Pooled<T>& found) {
  const std::int64_t size = in.features.shape[2] * in.features.shape[3];
  const std::int64_t k_max = std::min(params.k_max, size);
  const std::int64_t k_min = std::min(params.k_min, size);
  const double relative = std::is_same_v<T, Half>    ? 0x1p-11
                          : std::is_same_v<T, float> ? 0x1p-23
                                                     : 1e-12;
  for (std::int64_t m = 0; m < found.values.size(); ++m) {
    const T* const map = in.features.data + m * size;
    const double high = check_side(map, size, false, found.max_indices.data() + m * k_max, k_max);
    const double low = check_side(map, size, true, found.min_indices.data() + m * k_min, k_min);
    const double second = k_min > 0 && params.alpha != 0.0 ? params.alpha * low : 0.0;
    const double expected = high + second;
    const double value = number(found.values[m]);
    // Where float32 or float16 ends, an infinity is right.
    if (!std::isfinite(expected) || !std::isfinite(number(static_cast<T>(expected * 1.01)))) {
      CHECK(!std::isfinite(value) || std::isfinite(expected));
      continue;
    }
    const double scale = std::abs(high) + std::abs(second);
    CHECK(std::abs(value - expected) <= relative * scale + 0x1p-24);
  }
}

template <typename T>
void check_valid(Draw& draw, const Params& params, const Shape<4>& shape) {
  Block<T> features = ordinary_values<T>(draw, TensorView<T, 4>{nullptr, shape}.size());
  if (draw.coin()) spoil(draw, features);
  const weldon_pool::Inputs<T> in{{features.data(), shape}};
  const Pooled<T> first = pooled_by(draw, params, in, true, How{});
  check_values(params, in, first);
  for (const How& how : other_ways(draw)) {
    CHECK(same(pooled_by(draw, params, in, false, how).values, first.values));
    const Pooled<T> again = pooled_by(draw, params, in, true, how);
    CHECK(same(again.values, first.values));
    CHECK(same(again.max_indices, first.max_indices));
    CHECK(same(again.min_indices, first.min_indices));
  }
}

template <typename T>
void check_refusals(Draw& draw, const Params& params, const Shape<4>& shape) {
  const Block<T> features = ordinary_values<T>(draw, TensorView<T, 4>{nullptr, shape}.size());
  const weldon_pool::Inputs<T> in{{features.data(), shape}};
  weldon_pool::OutputShapes shapes;
  CHECK(weldon_pool::output_shapes(params, in, shapes).ok());
  Block<T> values(draw, shapes.pooled[0] * shapes.pooled[1]);
  Block<std::int64_t> indices(draw, 1);
  values.mark();
  indices.mark();
  const auto refuse = [&](weldon_pool::Outputs<T> out, std::size_t missing_bytes) {
    Context context = draw.of(other_ways(draw)).context();
    const Scratch scratch(weldon_pool::workspace_bytes(params, in, context) - missing_bytes);
    context.workspace = scratch.context().workspace;
    check_refused(weldon_pool::run(params, in, out, context), values, indices);
  };
  const TensorView<T, 2> pooled{values.data(), shapes.pooled};
  TensorView<T, 2> wrong = pooled;
  wrong.shape[static_cast<std::size_t>(draw.integer(0, 1))] += draw.of({1, -1, 1000});
  refuse({wrong, {}, {}}, 0);
  refuse({pooled, {indices.data(), shapes.max_indices}, {nullptr, {1, 1, -1}}}, 0);
  if (values.size() > 0) refuse({pooled, {}, {}}, 1);
}

template <typename T>
void check_invalid(Draw& draw, const Params& params, const Shape<4>& shape) {
  Block<T> values(draw, 1);
  Block<std::int64_t> indices(draw, 2);
  values.mark();
  indices.mark();
  weldon_pool::Outputs<T> out{
      {values.data(), {1, 1}}, {indices.data(), {1, 1, 1}}, {indices.data() + 1, {1, 1, 1}}};
  Context context;
  const weldon_pool::Inputs<T> in{{nullptr, shape}};
  check_refused(weldon_pool::run(params, in, out, context), values, indices);
}

template <typename T>
void fuzz(Draw& draw) {
  const Shape<4> shape = draw_shape(draw);
  const Params params = draw_params(draw, shape[2] * shape[3]);
  weldon_pool::OutputShapes shapes;
  const weldon_pool::Inputs<T> in{{nullptr, shape}};
  const Status status = weldon_pool::output_shapes(params, in, shapes);
  CHECK(status.ok() == is_valid(params, shape));
  if (!status.ok()) return check_invalid<T>(draw, params, shape);
  check_valid<T>(draw, params, shape);
  check_refusals<T>(draw, params, shape);
}

}  // namespace

void fuzz_weldon_pool(Draw& draw) {
  switch (draw.integer(0, 2)) {
    case 0:
      return fuzz<float>(draw);
    case 1:
      return fuzz<Half>(draw);
    default:
      return fuzz<double>(draw);
  }
}

}  // namespace vinfer::testing
