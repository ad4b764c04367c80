from __future__ import annotations

import warnings
from typing import Any

import golden
import numpy as np
import numpy.typing as npt
import pytest
import references
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer import ops
from vinfer.errors import DTypeError, InputError, ShapeError

GOLDEN = golden.load("roi_align")
CASES = {case["name"]: case for case in GOLDEN["cases"]}

ONE_IMAGE = np.zeros(1, np.int64)


def golden_features() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The map of the formula that the known values state."""
    features = np.zeros((1, *GOLDEN["feature"]["shape"]), np.float32)
    for _, c, y, x in np.ndindex(features.shape):
        features[0, c, y, x] = ((7 * c + 3 * y * y + 5 * x + (x * y) % 5) % 11) / 4 - 1
    assert features.sum() == GOLDEN["feature"]["sum"]
    return features


@pytest.mark.parametrize("name", CASES)
def test_known_values(name: str) -> None:
    case = CASES[name]
    pooled = ops.roi_align(
        golden_features(),
        np.array([case["box"]], np.float32),
        ONE_IMAGE,
        case["P"],
        case["scale"],
        case["sampling_ratio"],
        case["aligned"],
    )
    np.testing.assert_allclose(pooled[0], case["out"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_reference_gives_known_values(name: str) -> None:
    case = CASES[name]
    pooled = references.roi_align(
        golden_features(),
        np.array([case["box"]], np.float32),
        ONE_IMAGE,
        (case["P"], case["P"]),
        case["scale"],
        case["sampling_ratio"],
        case["aligned"],
    )
    np.testing.assert_allclose(pooled[0], case["out"], rtol=0, atol=1e-9)


def random_boxes(rng: np.random.Generator, count: int, width: float, height: float) -> Any:
    corners = rng.uniform(0, 1, (count, 2, 2)) * (width, height)
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.hstack([low, high]).astype(np.float32)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("output_size", [(7, 7), (3, 5), (1, 1)])
def test_random_boxes_against_float64(
    output_size: tuple[int, int], sampling_ratio: int, aligned: bool
) -> None:
    rng = np.random.default_rng(20)
    features = rng.standard_normal((2, 3, 15, 27)).astype(np.float32)
    boxes = random_boxes(rng, 12, 27 * 16, 15 * 16)
    images = rng.integers(0, 2, 12)
    arguments = (features, boxes, images, output_size, 1 / 16, sampling_ratio, aligned)
    difference = np.abs(ops.roi_align(*arguments) - references.roi_align(*arguments))
    assert difference.max() <= 1e-5 * np.abs(features).max()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_agrees_with_onnx_runtime(sampling_ratio: int, aligned: bool) -> None:
    """Borders included: a model runs the standard operator where this library is absent."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra `export`)")
    onnxruntime = pytest.importorskip("onnxruntime")
    node = onnx.helper.make_node(
        "RoiAlign",
        ["features", "boxes", "images"],
        ["pooled"],
        output_height=7,
        output_width=7,
        sampling_ratio=sampling_ratio,
        spatial_scale=1 / 16,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )
    types = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node],
        "roi_align",
        [
            onnx.helper.make_tensor_value_info("features", types.FLOAT, [1, 2, 30, 54]),
            onnx.helper.make_tensor_value_info("boxes", types.FLOAT, ["r", 4]),
            onnx.helper.make_tensor_value_info("images", types.INT64, ["r"]),
        ],
        [onnx.helper.make_tensor_value_info("pooled", types.FLOAT, ["r", 2, 7, 7])],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    rng = np.random.default_rng(25)
    features = rng.standard_normal((1, 2, 30, 54)).astype(np.float32)
    boxes = random_boxes(rng, 200, 54 * 16, 30 * 16)
    boxes[100:] = boxes[100:] * 1.5 - 100  # over every edge
    boxes[:4] = [[0, 0, 864, 480], [-16, -16, 880, 496], [32, 32, 32, 32], [90, 70, 20, 10]]
    images = np.zeros(200, np.int64)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"features": features, "boxes": boxes, "images": images})
    pooled = ops.roi_align(features, boxes, images, 7, 1 / 16, sampling_ratio, aligned)
    assert np.abs(pooled - expected).max() <= 1e-5 * np.abs(features).max()


def test_large_coordinates_keep_their_precision() -> None:
    rng = np.random.default_rng(21)
    features = rng.standard_normal((1, 1, 40, 1500)).astype(np.float32)
    boxes = np.array([[1311.37, 3.3, 1402.9, 31.7], [1200.1, 0.2, 1499.3, 39.9]], np.float32)
    arguments = (features, boxes, np.zeros(2, np.int64), (3, 7), 1.0, 2)
    difference = np.abs(ops.roi_align(*arguments) - references.roi_align(*arguments))
    assert difference.max() <= 1e-5 * np.abs(features).max()


def test_a_huge_box_inside_a_huge_map_is_not_capped() -> None:
    rng = np.random.default_rng(22)
    features = rng.standard_normal((1, 1, 100, 90)).astype(np.float32)
    box = np.array([[0, 0, 90, 100]], np.float32)
    pooled = ops.roi_align(features, box, ONE_IMAGE, 1, 1.0)
    expected = references.roi_align(features, box, ONE_IMAGE, (1, 1), 1.0)
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    corners=st.lists(st.floats(0, 128, width=32), min_size=4, max_size=4),
    value=st.floats(-100, 100, width=32),
    sampling_ratio=st.integers(1, 3),
)
def test_constant_map_stays_constant(
    corners: list[float], value: float, sampling_ratio: int
) -> None:
    features = np.full((1, 2, 9, 9), value, np.float32)
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    box = np.array([[x1, y1, x2, y2]], np.float32)
    pooled = ops.roi_align(features, box, ONE_IMAGE, (3, 4), 1 / 16, sampling_ratio)
    np.testing.assert_allclose(pooled, value, rtol=1e-5)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    x1=st.floats(1, 10, width=32),
    y1=st.floats(1, 10, width=32),
    width=st.floats(0.125, 4, width=32),
    height=st.floats(0.125, 4, width=32),
    sampling_ratio=st.integers(0, 3),
)
def test_ramp_is_reproduced_at_bin_centres(
    x1: float, y1: float, width: float, height: float, sampling_ratio: int
) -> None:
    across = np.tile(np.arange(16, dtype=np.float32), (16, 1))
    features = np.stack([across, across.T])[None]
    box = np.array([[x1, y1, x1 + width, y1 + height]], np.float32)
    pooled = ops.roi_align(features, box, ONE_IMAGE, (2, 3), 1.0, sampling_ratio)
    low_x, low_y, high_x, high_y = box[0].astype(np.float64)
    # Pixel i covers [i, i + 1), so its value stands at i + 1/2.
    columns = low_x + (np.arange(3) + 0.5) * (high_x - low_x) / 3 - 0.5
    rows = low_y + (np.arange(2) + 0.5) * (high_y - low_y) / 2 - 0.5
    np.testing.assert_allclose(pooled[0, 0], np.tile(columns, (2, 1)), rtol=0, atol=1e-5)
    np.testing.assert_allclose(pooled[0, 1], np.tile(rows[:, None], (1, 3)), rtol=0, atol=1e-5)


# Multiples of 1/8 on a grid of 16: whole-pixel shifts of them are exact in float32.
eighths = st.integers(0, 8 * 16 * 8 - 1).map(lambda n: n / 8)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    corners=st.lists(eighths, min_size=4, max_size=4),
    shift=st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
    output_size=st.sampled_from([(1, 1), (2, 3), (7, 7)]),
    sampling_ratio=st.integers(0, 3),
    aligned=st.booleans(),
)
def test_a_shifted_map_and_box_give_the_same(
    corners: list[float],
    shift: tuple[int, int],
    output_size: tuple[int, int],
    sampling_ratio: int,
    aligned: bool,
) -> None:
    features = np.random.default_rng(26).standard_normal((1, 2, 24, 24)).astype(np.float32)
    moved = np.roll(features, shift, axis=(2, 3))
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    box = np.array([[x1, y1, x2, y2]], np.float32) + 16 * 8  # pixels 8 to 16 of 24
    moved_box = box + np.array([shift[1], shift[0]] * 2, np.float32) * 16
    settings = (output_size, 1 / 16, sampling_ratio, aligned)
    pooled = ops.roi_align(features, box, ONE_IMAGE, *settings)
    shifted = ops.roi_align(moved, moved_box, ONE_IMAGE, *settings)
    np.testing.assert_allclose(shifted, pooled, rtol=0, atol=1e-5 * np.abs(features).max())


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-5), (np.float64, 1e-13)])
@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    a=st.floats(-8, 8, width=32),
    b=st.floats(-8, 8, width=32),
    sampling_ratio=st.integers(0, 3),
    aligned=st.booleans(),
)
def test_it_is_linear_in_the_features(
    dtype: Any, bound: float, a: float, b: float, sampling_ratio: int, aligned: bool
) -> None:
    rng = np.random.default_rng(27)
    first, second = rng.uniform(-1, 1, (2, 2, 3, 9, 14)).astype(dtype)
    boxes = random_boxes(rng, 6, 14 * 16, 9 * 16) * 1.5 - 30  # over every edge
    images = rng.integers(0, 2, 6)

    def pool(features: Any) -> Any:
        return ops.roi_align(features, boxes, images, (3, 4), 1 / 16, sampling_ratio, aligned)

    both = pool((a * first + b * second).astype(dtype))
    assert both.dtype == dtype
    separate = a * pool(first) + b * pool(second)
    np.testing.assert_allclose(both, separate, rtol=0, atol=bound * max(abs(a) + abs(b), 1))


def weights(box: npt.ArrayLike, shape: tuple[int, int], bins: int, *how: Any) -> Any:
    """What each pixel of a map counts in each bin, ``[bins * bins, *shape]``, from the gradient."""
    one_hot = np.eye(bins * bins).reshape(1, bins * bins, bins, bins)
    boxes = np.array([box], np.float32)
    shapes = (1, bins * bins, *shape)
    return ops.roi_align_backward(one_hot, boxes, ONE_IMAGE, shapes, 1 / 16, *how)[0]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    corners=st.lists(st.floats(0, 128, width=32), min_size=4, max_size=4),
    sampling_ratio=st.integers(1, 3),
    aligned=st.booleans(),
)
def test_weights_of_a_bin_add_up_to_one(
    corners: list[float], sampling_ratio: int, aligned: bool
) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    found = weights([x1, y1, x2, y2], (10, 10), 3, sampling_ratio, aligned)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1.0, rtol=0, atol=1e-12)


def test_weights_of_a_bin_over_the_edge_add_up_to_its_samples_inside() -> None:
    # Samples at -1.5, -0.5, 0.5 and 1.5 pixels on both axes: the first counts as 0.
    found = weights([-24, -24, 40, 40], (6, 6), 1, 4, True).sum()
    np.testing.assert_allclose(found, (3 / 4) ** 2, rtol=0, atol=1e-12)


def test_known_weights() -> None:
    """Both factors of the specification: every bin weighs a row times a column."""
    case = CASES["fixed_2"]
    rows, columns = np.array(case["Ay"]), np.array(case["Ax"])
    found = weights(case["box"], (6, 8), 3, case["sampling_ratio"], case["aligned"])
    expected = np.einsum("iy,jx->ijyx", rows, columns).reshape(9, 6, 8)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    output_size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    sampling_ratio=st.integers(0, 3),
    aligned=st.booleans(),
)
def test_the_gradient_is_the_adjoint(
    seed: int, output_size: tuple[int, int], sampling_ratio: int, aligned: bool
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((2, 3, 7, 12))
    boxes = random_boxes(rng, 5, 12 * 16, 7 * 16) * 1.5 - 30
    images = rng.integers(0, 2, 5)
    settings = (1 / 16, sampling_ratio, aligned)
    pooled = ops.roi_align(features, boxes, images, output_size, *settings)
    grad_pooled = rng.standard_normal(pooled.shape)
    gradient = ops.roi_align_backward(grad_pooled, boxes, images, features.shape, *settings)
    forward, backward = (pooled * grad_pooled).sum(), (features * gradient).sum()
    assert abs(forward - backward) <= 1e-13 * pooled.size
    in_float32 = ops.roi_align_backward(
        grad_pooled.astype(np.float32), boxes, images, features.shape, *settings
    )
    np.testing.assert_allclose(in_float32, gradient, rtol=0, atol=1e-5 * np.abs(gradient).max())


@settings(derandomize=True, deadline=None, max_examples=20)
@given(order=st.permutations(range(6)))
def test_permuted_rois_give_permuted_results(order: list[int]) -> None:
    rng = np.random.default_rng(23)
    features = rng.standard_normal((3, 2, 8, 8)).astype(np.float32)
    boxes = random_boxes(rng, 6, 128, 128)
    images = rng.integers(0, 3, 6)
    pooled = ops.roi_align(features, boxes, images, 2, 1 / 16)
    permuted = ops.roi_align(features, boxes[order], images[order], 2, 1 / 16)
    np.testing.assert_array_equal(permuted, pooled[order])


@pytest.mark.parametrize("coordinate", range(4))
@pytest.mark.parametrize("aligned", [True, False])
def test_a_nan_box_gives_zeros_and_spares_its_neighbours(coordinate: int, aligned: bool) -> None:
    features = np.ones((1, 2, 6, 6), np.float32)
    boxes = np.tile(np.array([[16, 16, 64, 64]], np.float32), (2, 1))
    boxes[0, coordinate] = np.nan
    pooled = ops.roi_align(features, boxes, np.zeros(2, np.int64), 2, 1 / 16, 2, aligned)
    np.testing.assert_array_equal(pooled[0], 0.0)
    np.testing.assert_array_equal(pooled[1], 1.0)


def test_a_nan_feature_reaches_only_the_bins_that_sample_it() -> None:
    features = np.zeros((1, 1, 8, 8), np.float32)
    features[0, 0, 0, 0] = np.nan
    pooled = ops.roi_align(features, np.array([[0, 0, 8, 8]], np.float32), ONE_IMAGE, 4, 1.0)
    assert np.isnan(pooled[0, 0, 0, 0])
    assert np.isfinite(pooled).sum() == 15


@pytest.mark.parametrize("axis", [0, 1])
def test_a_box_without_area_on_one_axis(axis: int) -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    features = np.stack([ramp, ramp.T])[None]
    box = np.array([[32, 32, 96, 96]], np.float32)  # 2 to 6 pixels
    box[0, 2 + axis] = box[0, axis] + np.float32(8)
    box[0, axis] = box[0, 2 + axis]
    adaptive = ops.roi_align(features, box, ONE_IMAGE, 2, 1 / 16)
    np.testing.assert_array_equal(adaptive, 0.0)
    fixed = ops.roi_align(features, box, ONE_IMAGE, 2, 1 / 16, 2)
    np.testing.assert_array_equal(fixed[0, axis], 2.0)  # at 2.5 pixels, less the half
    window = ops.roi_align(features, box, ONE_IMAGE, 1, 1 / 16, 2, aligned=False)
    np.testing.assert_array_equal(window[0, axis], 3.0)  # the middle of 2.5 to 3.5


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("box", [[300, 0, 400, 64], [0, -900, 64, -800], [-1e30, 0, -1e29, 64]])
def test_a_box_outside_gives_zeros(box: list[float], sampling_ratio: int) -> None:
    features = np.ones((1, 2, 8, 8), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the third one's grid is capped
        pooled = ops.roi_align(
            features, np.array([box], np.float32), ONE_IMAGE, 2, 1 / 16, sampling_ratio
        )
    np.testing.assert_array_equal(pooled, 0.0)


@pytest.mark.parametrize("box", [[0, 0, 1e9, 1e9], [-1e30, 0, 1e30, 16], [0, 0, np.inf, 16]])
def test_a_box_far_outside_is_capped_and_reported(box: list[float]) -> None:
    features = np.ones((1, 1, 4, 4), np.float32)
    with pytest.warns(RuntimeWarning, match="1 of 1 boxes reach far outside the map"):
        pooled = ops.roi_align(features, np.array([box], np.float32), ONE_IMAGE, 2, 1 / 16)
    assert np.isfinite(pooled).all()


def test_no_rois_give_an_empty_result() -> None:
    features = np.ones((2, 3, 4, 4), np.float32)
    empty = np.zeros((0, 4), np.float32)
    pooled = ops.roi_align(features, empty, np.zeros(0, np.int64), (2, 5), 1 / 16)
    assert pooled.shape == (0, 3, 2, 5)
    assert pooled.dtype == np.float32


def test_any_integer_dtype_names_the_images() -> None:
    features = np.stack([np.full((1, 4, 4), 1.0), np.full((1, 4, 4), 2.0)]).astype(np.float32)
    boxes = np.tile(np.array([[0, 0, 64, 64]], np.float32), (2, 1))
    for dtype in (np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64):
        pooled = ops.roi_align(features, boxes, np.array([1, 0], dtype), 1, 1 / 16)
        np.testing.assert_array_equal(pooled.ravel(), [2.0, 1.0])


def test_memory_layout_does_not_matter() -> None:
    rng = np.random.default_rng(24)
    features = rng.standard_normal((2, 4, 6, 10)).astype(np.float32)
    boxes = random_boxes(rng, 4, 160, 96)
    images = np.array([0, 1, 1, 0])
    expected = ops.roi_align(features, boxes, images, 3, 1 / 16)
    channels_last = np.ascontiguousarray(features.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    reversed_twice = np.ascontiguousarray(boxes[::-1])[::-1]
    every_second = np.repeat(images, 2)[::2]
    unaligned = np.frombuffer(b"\0" + features.tobytes(), np.float32, offset=1)
    for given_features in (channels_last, unaligned.reshape(features.shape)):
        pooled = ops.roi_align(given_features, reversed_twice, every_second, 3, 1 / 16)
        np.testing.assert_array_equal(pooled, expected)


def test_arguments_are_not_changed() -> None:
    features = np.ones((1, 1, 4, 4), np.float32)
    features.setflags(write=False)
    boxes = np.array([[0, 0, 64, 64]], np.float32)
    boxes.setflags(write=False)
    assert ops.roi_align(features, boxes, ONE_IMAGE, 1, 1 / 16).item() == 1.0


FEATURES = np.ones((2, 3, 4, 4), np.float32)
BOXES = np.array([[0, 0, 8, 8]], np.float32)
GRAD = np.ones((1, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"features": FEATURES.astype(np.int32)}, DTypeError, "features: found dtype int32"),
        ({"features": FEATURES.tolist()}, DTypeError, "features: found list, expected a numpy"),
        ({"features": FEATURES.astype(">f4")}, DTypeError, "features: found dtype >f4"),
        ({"features": FEATURES[0]}, ShapeError, r"features: found shape \[3, 4, 4\]"),
        ({"features": FEATURES[:, :, :0]}, ShapeError, "at least one row and column"),
        ({"boxes": BOXES.astype(np.int64)}, DTypeError, "boxes: found dtype int64"),
        ({"boxes": BOXES[0]}, ShapeError, r"boxes: found shape \[4\], expected \[R, 4\]"),
        ({"boxes": BOXES[:, :3]}, ShapeError, r"boxes has shape \[1, 3\]"),
        ({"batch_indices": np.zeros(1)}, DTypeError, "batch_indices: found dtype float64"),
        ({"batch_indices": [0]}, DTypeError, "batch_indices: found list"),
        ({"batch_indices": np.zeros(2, int)}, ShapeError, r"expected \[1\], one a box"),
        ({"batch_indices": np.zeros((1, 1), int)}, ShapeError, r"batch_indices: found shape"),
        ({"batch_indices": np.array([2])}, InputError, r"batch_indices\[0\] is 2.* 0 to 1"),
        ({"batch_indices": np.array([-1])}, InputError, r"batch_indices\[0\] is -1"),
        ({"batch_indices": np.array([2**63], np.uint64)}, InputError, r"batch_indices\[0\] is -9"),
        ({"output_size": 0}, InputError, r"output_size is \(0, 0\), expected 1 to 4096"),
        ({"output_size": (7, -1)}, InputError, r"output_size is \(7, -1\)"),
        ({"output_size": 10**12}, InputError, "output_size: found 1000000000000"),
        ({"output_size": (7, 7, 7)}, InputError, r"expected an integer or \(height, width\)"),
        ({"output_size": 7.0}, InputError, "output_size: found 7.0, expected an integer"),
        ({"spatial_scale": 0.0}, InputError, "spatial_scale is 0, expected"),
        ({"spatial_scale": float("nan")}, InputError, "spatial_scale is nan"),
        ({"spatial_scale": "1/16"}, InputError, "spatial_scale: found '1/16', expected a number"),
        ({"sampling_ratio": -1}, InputError, "sampling_ratio is -1, expected 1 to 1024"),
        ({"sampling_ratio": 2000}, InputError, "sampling_ratio is 2000"),
    ],
)
def test_refusals(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {
        "features": FEATURES,
        "boxes": BOXES,
        "batch_indices": ONE_IMAGE,
        "output_size": 2,
        "spatial_scale": 1 / 16,
    }
    with pytest.raises(error, match=text):
        ops.roi_align(**{**arguments, **changed})


def test_an_output_too_large_is_an_error() -> None:
    boxes = np.tile(BOXES, (100, 1))
    with pytest.raises(InputError, match=r"output would have shape \[100, 3, 4096, 4096\]"):
        ops.roi_align(FEATURES, boxes, np.zeros(100, np.int64), 4096, 1 / 16)


def test_an_empty_gradient_too_large_is_an_error() -> None:
    """No array can have such extents, not even where one of them is 0."""
    side = 2**31 - 1
    nothing = np.zeros((0, 4), np.float32)
    with pytest.raises(InputError, match=rf"output would have shape \[{side}, 1, {side}, 0\]"):
        ops.roi_align_backward(
            np.zeros((0, 1, 2, 2), np.float32),
            nothing,
            np.zeros(0, np.int64),
            (side, 1, side, 0),
            1.0,
        )


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"grad_pooled": GRAD.astype(np.float16)}, DTypeError, "grad_pooled: found dtype float16"),
        ({"grad_pooled": GRAD[0]}, ShapeError, r"grad_pooled: found shape \[3, 2, 2\]"),
        ({"grad_pooled": GRAD[:, :2]}, ShapeError, r"expected that of the forward output, \[1, 3"),
        ({"boxes": BOXES.astype(np.float64)}, DTypeError, "boxes: found dtype float64"),
        ({"batch_indices": np.array([2])}, InputError, r"batch_indices\[0\] is 2.* 0 to 1"),
        ({"batch_indices": np.zeros(1)}, DTypeError, "batch_indices: found dtype float64"),
        ({"feature_shape": (2, 3, 4)}, ShapeError, r"found \(2, 3, 4\), expected \(N, C, H, W\)"),
        ({"feature_shape": (2, 3, -4, 4)}, ShapeError, r"feature_shape is \[2, 3, -4, 4\]"),
        ({"feature_shape": (2, 3, 0, 4)}, ShapeError, "at least one row and column"),
        ({"feature_shape": (2, 3, 4.0, 4)}, InputError, "feature_shape: found 4.0"),
        ({"feature_shape": (2, 3, 2**30, 4)}, InputError, "output would have shape"),
        ({"spatial_scale": -1.0}, InputError, "spatial_scale is -1"),
        ({"sampling_ratio": 1025}, InputError, "sampling_ratio is 1025"),
        ({"out": np.zeros((2, 3, 4, 5), np.float32)}, ShapeError, "out: found shape"),
    ],
)
def test_refusals_of_the_gradient(
    changed: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments: dict[str, Any] = {
        "grad_pooled": GRAD,
        "boxes": BOXES,
        "batch_indices": ONE_IMAGE,
        "feature_shape": (2, 3, 4, 4),
        "spatial_scale": 1 / 16,
    }
    with pytest.raises(error, match=text):
        ops.roi_align_backward(**{**arguments, **changed})
