from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import references
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer import ops
from vinfer.errors import DTypeError, InputError, ShapeError

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def picture(height: int, width: int, seed: int = 50) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected_letterbox(
    image: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    pad: bool = True,
    centre: bool = True,
    pad_value: float = 114.0,
    rounding: str = "nearest",
) -> npt.NDArray[np.float64]:
    """Float64 ``[3, h, w]``: resize by the reference, place, normalise, one step at a time."""
    height, width = size
    inner_height, inner_width = height, width
    if pad:
        scale = min(Fraction(height, image.shape[0]), Fraction(width, image.shape[1]))
        inner_height, inner_width = (
            max(1, math.floor(side * scale + Fraction(rounding == "nearest", 2)))
            for side in image.shape[:2]
        )
    top = (height - inner_height) // 2 if centre else 0
    left = (width - inner_width) // 2 if centre else 0
    canvas = np.full((height, width, 3), pad_value)
    canvas[top : top + inner_height, left : left + inner_width] = references.resize(
        image, inner_height, inner_width
    )
    return ((canvas - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("rounding", ["nearest", "floor"])
@pytest.mark.parametrize("mode", ["pad", "stretch"])
@pytest.mark.parametrize("align", ["center", "top_left"])
@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((20, 35), (16, 16)),
        ((35, 20), (16, 24)),
        ((7, 5), (33, 31)),
        ((1, 1), (4, 6)),
        ((40, 1), (9, 9)),
        ((90, 160), (13, 13)),
        ((2, 300), (8, 8)),
    ],
)
def test_against_float64(
    source: tuple[int, int],
    size: tuple[int, int],
    align: Literal["center", "top_left"],
    mode: Literal["pad", "stretch"],
    rounding: Literal["nearest", "floor"],
) -> None:
    image = picture(*source)
    out, _ = ops.letterbox(
        image,
        size,
        mode=mode,
        align=align,
        rounding=rounding,
        mean=MEAN,
        std=STD,
        pad_value=7.5,
    )
    expected = expected_letterbox(
        image, size, pad=mode == "pad", centre=align == "center", pad_value=7.5, rounding=rounding
    )
    assert out.shape == (3, *size)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


def test_known_halving() -> None:
    image = np.array([[0, 10, 20, 30]], np.uint8)[..., None].repeat(3, axis=2)
    out, _ = ops.letterbox(image, (1, 2), mode="stretch")
    np.testing.assert_array_equal(out, np.tile(np.array([5, 25], np.float32), (3, 1, 1)))


def test_known_doubling() -> None:
    image = np.array([[0, 100]], np.uint8)[..., None].repeat(3, axis=2)
    out, _ = ops.letterbox(image, (1, 4), mode="stretch")
    np.testing.assert_array_equal(out[0, 0], np.array([0, 25, 75, 100], np.float32))


def test_a_picture_that_keeps_its_size_keeps_its_values() -> None:
    image = picture(17, 23)
    out, transform = ops.letterbox(image, (17, 23))
    np.testing.assert_array_equal(out, image.transpose(2, 0, 1).astype(np.float32))
    assert transform == ops.LetterboxTransform(1.0, 1.0, 0.0, 0.0, 17, 23)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    out_height=st.integers(1, 60),
    out_width=st.integers(1, 60),
    colour=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
)
def test_one_colour_stays_that_colour(
    height: int, width: int, out_height: int, out_width: int, colour: tuple[int, int, int]
) -> None:
    image = np.full((height, width, 3), colour, np.uint8)
    out, _ = ops.letterbox(image, (out_height, out_width), mode="stretch", layout="hwc")
    np.testing.assert_array_equal(out, np.broadcast_to(np.array(colour, np.float32), out.shape))
    padded, transform = ops.letterbox(image, (out_height, out_width), pad_value=-1.0, layout="hwc")
    inside = padded[..., 0] >= 0
    inner_height, inner_width = transform.scale_y * height, transform.scale_x * width
    assert inside.sum() == round(inner_height) * round(inner_width)
    np.testing.assert_array_equal(
        padded[inside], np.tile(np.array(colour, np.float32), (inside.sum(), 1))
    )
    np.testing.assert_array_equal(padded[~inside], -1.0)


sides = st.tuples(st.integers(1, 50), st.integers(1, 50))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(source=sides, size=sides, align=st.sampled_from(["center", "top_left"]))
def test_padding_goes_around_the_stretched_picture(
    source: tuple[int, int], size: tuple[int, int], align: Literal["center", "top_left"]
) -> None:
    image = picture(*source)
    padded, transform = ops.letterbox(image, size, align=align, pad_value=-1.0)
    inner = round(transform.scale_y * source[0]), round(transform.scale_x * source[1])
    stretched, _ = ops.letterbox(image, inner, "stretch")
    expected = np.full((3, *size), -1.0, np.float32)
    top, left = int(transform.offset_y), int(transform.offset_x)
    expected[:, top : top + inner[0], left : left + inner[1]] = stretched
    np.testing.assert_array_equal(padded, expected)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(source=sides, size=sides, order=st.permutations(range(3)))
def test_mirrored_pictures_and_channels_give_mirrored_results(
    source: tuple[int, int], size: tuple[int, int], order: list[int]
) -> None:
    image = picture(*source)
    out, _ = ops.letterbox(image, size, "stretch")
    np.testing.assert_array_equal(ops.letterbox(image[..., order], size, "stretch")[0], out[order])
    mirrored, _ = ops.letterbox(image[::-1, ::-1], size, "stretch")
    # Sums of 0 to 255 in another order.
    np.testing.assert_allclose(mirrored, out[:, ::-1, ::-1], rtol=0, atol=1e-4)
    assert (out >= image.min(axis=(0, 1))[:, None, None] - 1e-4).all()
    assert (out <= image.max(axis=(0, 1))[:, None, None] + 1e-4).all()


def test_layout_and_channel_order_only_move_values() -> None:
    image = picture(30, 50)
    chw, _ = ops.letterbox(image, 24, mean=MEAN, std=STD)
    hwc, _ = ops.letterbox(image, 24, mean=MEAN, std=STD, layout="hwc")
    np.testing.assert_array_equal(hwc, chw.transpose(1, 2, 0))
    swapped, _ = ops.letterbox(image, 24, mean=MEAN[::-1], std=STD[::-1], swap_channels=True)
    np.testing.assert_array_equal(swapped, chw[::-1])


def test_padding_is_normalised_like_the_picture() -> None:
    out, _ = ops.letterbox(picture(10, 40), 40, mean=MEAN, std=STD, pad_value=114.0)
    expected = (114.0 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(out[:, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "size", "inner"),
    [
        ((1080, 1920), (416, 416), (234, 416)),
        ((1920, 1080), (416, 416), (416, 234)),
        ((683, 1024), (640, 640), (427, 640)),
        ((3, 2), (1, 1), (1, 1)),
        ((1, 1000), (10, 10), (1, 10)),
    ],
)
def test_size_of_the_padded_picture(
    source: tuple[int, int], size: tuple[int, int], inner: tuple[int, int]
) -> None:
    _, transform = ops.letterbox(np.zeros((*source, 3), np.uint8), size)
    assert transform.scale_y == inner[0] / source[0]
    assert transform.scale_x == inner[1] / source[1]
    assert transform.offset_y == (size[0] - inner[0]) // 2
    assert transform.offset_x == (size[1] - inner[1]) // 2


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(8, 640), st.integers(8, 640))
def test_floor_fills_one_side_and_rounds_the_other_down(
    source_height: int, source_width: int, height: int, width: int
) -> None:
    image = np.zeros((source_height, source_width, 3), np.uint8)
    _, transform = ops.letterbox(image, (height, width), rounding="floor")
    inner_height = round(transform.scale_y * source_height)
    inner_width = round(transform.scale_x * source_width)
    assert 1 <= inner_height <= height
    assert 1 <= inner_width <= width
    assert inner_height == height or inner_width == width
    if inner_height == height and inner_width > 1:
        exact = inner_width * source_height
        assert exact <= source_width * height < exact + source_height
    elif inner_width == width and inner_height > 1:
        exact = inner_height * source_width
        assert exact <= source_height * width < exact + source_width


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    size=st.tuples(st.integers(8, 100), st.integers(8, 100)),
    mode=st.sampled_from(["pad", "stretch"]),
    align=st.sampled_from(["center", "top_left"]),
    corners=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
)
def test_boxes_come_back(
    height: int,
    width: int,
    size: tuple[int, int],
    mode: Literal["pad", "stretch"],
    align: Literal["center", "top_left"],
    corners: list[float],
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    _, transform = ops.letterbox(image, size, mode=mode, align=align)
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    boxes = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]], np.float32)
    inside = transform.to_network(boxes)
    assert inside.dtype == np.float32
    assert (inside >= 0).all()
    assert (inside[0, [0, 2]] <= size[1] * (1 + 1e-6)).all()
    assert (inside[0, [1, 3]] <= size[0] * (1 + 1e-6)).all()
    # One float32 rounding in network pixels, seen through the scale.
    tolerance = 1e-5 / min(transform.scale_x, transform.scale_y)
    np.testing.assert_allclose(transform.to_source(inside), boxes, rtol=1e-6, atol=tolerance)


def test_a_bright_spot_lies_where_its_box_is_mapped() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[12:24, 40:70] = 255
    out, transform = ops.letterbox(image, (50, 50), pad_value=0.0)
    x1, y1, x2, y2 = transform.to_network(np.array([[40, 12, 70, 24]], np.float32))[0]
    rows, columns = np.nonzero(out[0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, [x1, y1, x2, y2], atol=0.5)


def test_boxes_are_clipped_unless_told() -> None:
    _, transform = ops.letterbox(np.zeros((100, 200, 3), np.uint8), 100)
    outside = np.array([[-10, 0, 120, 100], [np.nan, 30, 40, 50]], np.float32)
    clipped = transform.to_source(outside)
    np.testing.assert_array_equal(clipped[0], np.array([0, 0, 200, 100], np.float32))
    assert np.isnan(clipped[1, 0])
    unclipped = transform.to_source(outside, clip=False)
    np.testing.assert_array_equal(unclipped[0], np.array([-20, -50, 240, 150], np.float32))


def test_no_boxes_stay_no_boxes() -> None:
    _, transform = ops.letterbox(np.zeros((10, 20, 3), np.uint8), 8)
    empty = np.zeros((0, 4), np.float32)
    assert transform.to_network(empty).shape == (0, 4)
    assert transform.to_source(empty).shape == (0, 4)


def test_the_transform_is_frozen() -> None:
    _, transform = ops.letterbox(np.zeros((10, 20, 3), np.uint8), 8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.scale_x = 2.0  # type: ignore[misc]


def test_memory_layout_does_not_matter() -> None:
    image = picture(40, 60)
    for view in (image[::-1, ::-1], image[5:30, 10:50], image[..., ::-1], np.asfortranarray(image)):
        expected, _ = ops.letterbox(np.ascontiguousarray(view), 32)
        np.testing.assert_array_equal(ops.letterbox(view, 32)[0], expected)


def test_a_crop_is_read_where_it_lies() -> None:
    image = picture(300, 400)
    crop = image[20:220, 30:330]
    expected, _ = ops.letterbox(crop.copy(), (64, 64))
    np.testing.assert_array_equal(ops.letterbox(crop, (64, 64))[0], expected)


def nv12_picture(
    height: int, width: int, pitch: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(51)
    y = rng.integers(0, 256, (height, width + pitch), dtype=np.uint8)
    chroma_bytes = (width + 1) // 2 * 2
    uv = rng.integers(0, 256, ((height + 1) // 2, chroma_bytes + pitch), dtype=np.uint8)
    return y, uv


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("source", "size"), [((20, 36), (16, 16)), ((7, 5), (12, 9)), ((1, 1), (3, 3))]
)
def test_nv12_against_float64(
    source: tuple[int, int],
    size: tuple[int, int],
    full_range: bool,
    matrix: Literal["bt601", "bt709", "bt2020"],
) -> None:
    y, uv = nv12_picture(*source, pitch=6)
    given = ops.Nv12(y, uv, width=source[1], matrix=matrix, full_range=full_range)
    out, transform = ops.letterbox(given, size, mode="stretch", mean=MEAN, std=STD)
    expected = references.resize_nv12(y, uv, source[1], *size, matrix, full_range)
    np.testing.assert_allclose(out, ((expected - MEAN) / STD).transpose(2, 0, 1), rtol=0, atol=2e-5)
    assert (transform.source_height, transform.source_width) == source
    bgr, _ = ops.letterbox(given, size, mode="stretch", swap_channels=True)
    rgb, _ = ops.letterbox(given, size, mode="stretch")
    np.testing.assert_array_equal(bgr, rgb[::-1])


@pytest.mark.parametrize(
    ("full_range", "grey", "expected"), [(False, 16, 0.0), (False, 235, 255.0), (True, 200, 200.0)]
)
def test_nv12_grey_is_grey(full_range: bool, grey: int, expected: float) -> None:
    y = np.full((8, 8), grey, np.uint8)
    out, _ = ops.letterbox(ops.Nv12(y, np.full((4, 8), 128, np.uint8), full_range=full_range), 8)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_nv12_refusals() -> None:
    y, uv = nv12_picture(8, 10)
    with pytest.raises(ShapeError, match=r"expected y \[H, S\] with S >= width and uv \[4, T\]"):
        ops.letterbox(ops.Nv12(y, uv[:3]), 8)
    with pytest.raises(ShapeError, match="for a width of 12"):
        ops.letterbox(ops.Nv12(y, uv, width=12), 8)
    with pytest.raises(ShapeError, match="at least one pixel"):
        ops.letterbox(ops.Nv12(y, uv, width=0), 8)
    with pytest.raises(InputError, match="matrix: found 'bt470'"):
        ops.letterbox(ops.Nv12(y, uv, matrix="bt470"), 8)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="uv: found dtype int16"):
        ops.letterbox(ops.Nv12(y, uv.astype(np.int16)), 8)


IMAGE = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"image": IMAGE.astype(np.float32)}, DTypeError, "image: found dtype float32, .*uint8"),
        ({"image": "frame.png"}, DTypeError, "image: found str"),
        ({"image": IMAGE[..., 0]}, ShapeError, r"found shape \[4, 5\].*a grey one becomes RGB"),
        ({"image": np.zeros((4, 5, 4), np.uint8)}, ShapeError, r"\[4, 5, 4\].*image\[..., :3\]"),
        ({"image": np.zeros((4, 5, 1), np.uint8)}, ShapeError, r"\[4, 5, 1\].*np.repeat"),
        ({"image": IMAGE[:0]}, ShapeError, "with at least one pixel"),
        ({"size": 0}, InputError, r"size is \(0, 0\), expected \(height, width\)"),
        ({"size": (8, 40000)}, InputError, r"size is \(8, 40000\)"),
        ({"size": 30000}, InputError, r"output would have shape \[3, 30000, 30000\]"),
        ({"size": None}, InputError, "size: found None"),
        ({"mode": "crop"}, InputError, 'mode: found \'crop\', expected "pad" or "stretch"'),
        ({"layout": "nchw"}, InputError, "layout: found 'nchw'"),
        ({"align": "centre"}, InputError, "align: found 'centre'"),
        ({"mean": (0.0, 0.0)}, InputError, "mean: found .* expected three numbers"),
        ({"mean": 127.5}, InputError, "mean: found 127.5, expected three numbers"),
        ({"mean": (0.0, float("nan"), 0.0)}, InputError, r"mean\[1\] is nan"),
        ({"std": (1.0, 1.0, 0.0)}, InputError, r"std\[2\] is 0, expected a finite divisor"),
        ({"std": ("a", 1.0, 1.0)}, InputError, "std: found 'a', expected a number"),
        ({"rounding": "ceil"}, InputError, "rounding: found 'ceil', expected \"nearest\""),
        ({"dtype": "float64"}, InputError, "dtype: found 'float64'"),
        ({"pad_value": float("inf")}, InputError, "pad_value is inf"),
    ],
)
def test_refusals(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"image": IMAGE, "size": 8}
    with pytest.raises(error, match=text):
        ops.letterbox(**{**arguments, **changed})


@pytest.mark.parametrize("boxes", [np.zeros((1, 4)), [[0, 0, 1, 1]]])
def test_the_transform_refuses_other_dtypes(boxes: Any) -> None:
    _, transform = ops.letterbox(IMAGE, 8)
    with pytest.raises(DTypeError, match="expected a numpy array of float32"):
        transform.to_source(boxes)


def test_the_transform_refuses_other_shapes() -> None:
    _, transform = ops.letterbox(IMAGE, 8)
    with pytest.raises(ShapeError, match=r"found shape \[4\], expected \[n, 4\]"):
        transform.to_network(np.zeros(4, np.float32))
