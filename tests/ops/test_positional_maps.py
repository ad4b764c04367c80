from __future__ import annotations

from typing import Any

import golden
import numpy as np
import pytest
import references
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer import ops
from vinfer.errors import DTypeError, InputError, ShapeError

GOLDEN = golden.load("positional_maps")
CASES = {case["name"]: case for case in GOLDEN["cases"]}


@pytest.mark.parametrize("name", CASES)
def test_known_values(name: str) -> None:
    case = CASES[name]
    bins = GOLDEN["P"]
    union = np.array(case["union"], np.float32)
    boxes = np.array([*case["clipped"], case["union"]], np.float32)
    maps = ops.positional_maps(boxes, np.tile(union, (3, 1)), bins)
    t = (np.arange(bins) + 0.5) / bins
    for role, box_maps in zip(("subject", "object", "union"), maps, strict=True):
        alpha_x, beta_x, alpha_y, beta_y = case[f"coef_{role}"]
        across = np.tile(alpha_x + beta_x * t, (bins, 1))
        down = np.tile((alpha_y + beta_y * t)[:, None], (1, bins))
        np.testing.assert_allclose(box_maps, [across, down], rtol=0, atol=1e-6)
    np.testing.assert_allclose(maps[0, 0, 0], case["subject_x_row"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(maps[0, 1, :, 0], case["subject_y_col"], rtol=0, atol=1e-6)


def pairs_and_unions(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Boxes of a 1920 x 1080 picture, and the union of each with another box."""
    corners = rng.uniform(0, 1, (2, count, 2, 2)) * (1920, 1080)
    low, high = corners.min(axis=2), corners.max(axis=2)
    boxes = np.concatenate([low, high], axis=2).astype(np.float32)
    union = np.concatenate([boxes[..., :2].min(axis=0), boxes[..., 2:].max(axis=0)], axis=1)
    return boxes[0], union


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (2, 5), (1, 1)])
def test_random_pairs_against_float64(size: tuple[int, int]) -> None:
    boxes, unions = pairs_and_unions(np.random.default_rng(30), 500)
    maps = ops.positional_maps(boxes, unions, size)
    expected = references.positional_maps(boxes, unions, size)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-6)
    assert np.abs(maps).max() <= 1.0


def test_maps_are_roi_align_of_a_picture_of_coordinates() -> None:
    boxes, unions = pairs_and_unions(np.random.default_rng(31), 20)
    boxes, unions = np.round(boxes / 40) + 2, np.round(unions / 40) + 2  # inside a 32 x 52 map
    boxes[:, 2:] += 1
    unions[:, 2:] += 1
    columns, rows = np.meshgrid(np.arange(54) + 0.5, np.arange(34) + 0.5)
    coordinates = np.stack([columns, rows])[None].astype(np.float32)
    sampled = ops.roi_align(coordinates, boxes, np.zeros(20, np.int64), 7, 1.0, 2)
    low = unions[:, :2, None, None]
    extent = (unions[:, 2:] - unions[:, :2])[:, :, None, None]
    np.testing.assert_allclose(
        ops.positional_maps(boxes, unions, 7), 2 * (sampled - low) / extent - 1, rtol=0, atol=1e-5
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    scale=st.floats(0.125, 8, width=32),
    shift_x=st.floats(-100, 100, width=32),
    shift_y=st.floats(-100, 100, width=32),
)
def test_resizing_and_shifting_the_picture_changes_nothing(
    scale: float, shift_x: float, shift_y: float
) -> None:
    boxes, unions = pairs_and_unions(np.random.default_rng(32), 30)
    shift = np.array([shift_x, shift_y, shift_x, shift_y])
    moved_boxes = (boxes * scale + shift).astype(np.float32)
    moved_unions = (unions * scale + shift).astype(np.float32)
    moved = ops.positional_maps(moved_boxes, moved_unions, 7)
    # Rounding of the moved coordinates, seen from the smallest union here.
    np.testing.assert_allclose(moved, ops.positional_maps(boxes, unions, 7), rtol=0, atol=1e-3)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    low=st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3, width=32)),
    extent=st.tuples(st.floats(0.125, 1e3, width=32), st.floats(0.125, 1e3, width=32)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_a_box_in_itself_gives_its_bin_centres(
    low: tuple[float, float], extent: tuple[float, float], size: tuple[int, int]
) -> None:
    """Whatever the box: the maps of a union are the same for every pair."""
    box = np.array([[*low, low[0] + extent[0], low[1] + extent[1]]], np.float32)
    maps = ops.positional_maps(box, box, size)[0]
    for axis, bins in ((0, size[1]), (1, size[0])):
        centres = (np.arange(bins, dtype=np.float32) + np.float32(0.5)) / np.float32(bins)
        expected = np.float32(2) * centres - np.float32(1)
        rows = maps[axis] if axis == 0 else maps[axis].T
        np.testing.assert_array_equal(rows, np.tile(expected, (len(rows), 1)))


corner = st.integers(-4000, 4000).map(lambda n: n / 4)  # exact when it changes its sign


@settings(derandomize=True, deadline=None, max_examples=60)
@given(box=st.tuples(corner, corner, corner, corner), size=st.tuples(st.integers(1, 9), st.just(4)))
def test_the_axes_are_apart_and_mirrors_change_signs(
    box: tuple[float, ...], size: tuple[int, int]
) -> None:
    boxes = np.array([box], np.float32)
    reference = np.array([[-100, -50, 300, 75.5]], np.float32)
    maps = ops.positional_maps(boxes, reference, size)[0]
    np.testing.assert_array_equal(maps[0], np.tile(maps[0, :1], (size[0], 1)))
    np.testing.assert_array_equal(maps[1], np.tile(maps[1, :, :1], (1, size[1])))
    swapped = ops.positional_maps(boxes[:, [1, 0, 3, 2]], reference[:, [1, 0, 3, 2]], size[::-1])
    np.testing.assert_array_equal(swapped[0], maps[::-1].transpose(0, 2, 1))
    mirrored = ops.positional_maps(-boxes[:, [2, 3, 0, 1]], -reference[:, [2, 3, 0, 1]], size)
    scale = np.abs(maps).max() + 1
    np.testing.assert_allclose(mirrored[0], -maps[:, ::-1, ::-1], rtol=0, atol=1e-6 * scale)


def test_a_box_without_area_gives_constants() -> None:
    reference = np.array([[0, 0, 100, 50]] * 2, np.float32)
    boxes = np.array([[75, 10, 75, 40], [20, 25, 90, 25]], np.float32)
    maps = ops.positional_maps(boxes, reference, 5)
    np.testing.assert_array_equal(maps[0, 0], 0.5)
    np.testing.assert_array_equal(maps[1, 1], 0.0)
    assert np.ptp(maps[0, 1]) > 0


def test_a_box_outside_its_reference_is_beyond_one() -> None:
    reference = np.array([[0, 0, 100, 100]] * 2, np.float32)
    boxes = np.array([[100, -300, 200, -200], [1e6, 0, 2e6, 100]], np.float32)
    maps = ops.positional_maps(boxes, reference, 2)
    np.testing.assert_array_equal(maps[0, 0, 0], [1.5, 2.5])
    np.testing.assert_array_equal(maps[0, 1, :, 0], [-6.5, -5.5])
    assert maps[1, 0].min() > 2e4


@pytest.mark.parametrize("high", [0.0, 5e-7, -10.0])
def test_a_reference_without_extent_gives_zeros_on_its_axis(high: float) -> None:
    boxes = np.array([[-1, 1, 2, 9]], np.float32)
    maps = ops.positional_maps(boxes, np.array([[0, 0, high, 10]], np.float32), 4)
    np.testing.assert_array_equal(maps[0, 0], 0.0)
    assert np.ptp(maps[0, 1]) > 0


def test_fourteen_bins_pool_to_seven() -> None:
    boxes, unions = pairs_and_unions(np.random.default_rng(33), 30)
    fine = ops.positional_maps(boxes, unions, 14).reshape(30, 2, 7, 2, 7, 2)
    coarse = ops.positional_maps(boxes, unions, 7)
    np.testing.assert_allclose(fine.mean(axis=(3, 5)), coarse, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("which", ["boxes", "reference"])
def test_a_value_that_is_not_finite_gives_zeros_on_its_axis(
    which: str, column: int, bad: float
) -> None:
    arguments = {
        "boxes": np.array([[10, 20, 50, 60]] * 2, np.float32),
        "reference": np.array([[0, 0, 100, 100]] * 2, np.float32),
    }
    arguments[which][0, column] = bad
    maps = ops.positional_maps(**arguments, size=3)
    axis = column % 2
    np.testing.assert_array_equal(maps[0, axis], 0.0)
    np.testing.assert_array_equal(maps[0, 1 - axis], maps[1, 1 - axis])
    assert np.isfinite(maps).all()


def test_no_boxes_give_an_empty_result() -> None:
    empty = np.zeros((0, 4), np.float32)
    assert ops.positional_maps(empty, empty, (3, 4)).shape == (0, 2, 3, 4)


def test_memory_layout_does_not_matter() -> None:
    boxes, unions = pairs_and_unions(np.random.default_rng(34), 8)
    expected = ops.positional_maps(boxes, unions, 5)
    strided = np.asfortranarray(boxes)
    spread = np.repeat(unions, 2, axis=0)[::2]
    np.testing.assert_array_equal(ops.positional_maps(strided, spread, 5), expected)


BOXES = np.array([[0, 0, 8, 8]], np.float32)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"boxes": BOXES.astype(np.float64)}, DTypeError, "boxes: found dtype float64"),
        ({"reference": BOXES.astype(np.int32)}, DTypeError, "reference: found dtype int32"),
        ({"boxes": [[0, 0, 1, 1]]}, DTypeError, "boxes: found list"),
        ({"boxes": BOXES[0]}, ShapeError, r"boxes: found shape \[4\]"),
        ({"boxes": np.zeros((1, 5), np.float32)}, ShapeError, r"boxes has shape \[1, 5\]"),
        ({"reference": np.zeros((2, 4), np.float32)}, ShapeError, r"expected \[1, 4\], one a box"),
        ({"size": 0}, InputError, r"size is \(0, 0\), expected 1 to 4096"),
        ({"size": "7"}, InputError, "size: found '7'"),
        ({"size": True}, InputError, "size: found True, expected an integer"),
    ],
)
def test_refusals(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"boxes": BOXES, "reference": BOXES, "size": 7}
    with pytest.raises(error, match=text):
        ops.positional_maps(**{**arguments, **changed})


def test_an_output_too_large_is_an_error() -> None:
    boxes = np.tile(BOXES, (1000, 1))
    with pytest.raises(InputError, match=r"output would have shape \[1000, 2, 4096, 4096\]"):
        ops.positional_maps(boxes, boxes, 4096)
