"""The picture as the network takes it: rounding, padding, colour order, refusals."""

import numpy as np
import pytest

from vinfer.bundles import Preprocess
from vinfer.errors import DTypeError, ShapeError
from vinfer.stages.preprocess import preprocess


@pytest.mark.parametrize(
    ("rounding", "align", "rows"),
    [("floor", "top_left", (0, 7)), ("nearest", "top_left", (0, 8)), ("floor", "center", (2, 9))],
)
def test_padded_side_follows_rounding_and_alignment(
    rounding: str, align: str, rows: tuple[int, int]
) -> None:
    # 10x13 in 12x10: 10 * 10 / 13 = 7.69 rows.
    how = Preprocess(size=(12, 10), mode="pad", align=align, rounding=rounding)
    pixels, transform = preprocess(np.full((10, 13, 3), 200, np.uint8), how)
    filled = np.flatnonzero((pixels == 200).all((0, 2)))
    assert (filled[0], filled[-1] + 1) == rows
    assert set(np.unique(pixels)) == {114, 200}
    whole = np.array([[0, 0, 13, 10]], np.float32)
    np.testing.assert_allclose(transform.to_network(whole), [[0, rows[0], 10, rows[1]]], atol=1e-5)
    np.testing.assert_allclose(transform.to_source(transform.to_network(whole)), whole, atol=1e-5)


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
def test_padding_is_normalised_in_the_order_of_the_output(rounding: str) -> None:
    how = Preprocess(
        size=(4, 4),
        mode="pad",
        align="top_left",
        rounding=rounding,
        color="BGR",
        mean=(10, 20, 30),
        std=(1, 2, 4),
        pad_value=100,
    )
    image = np.zeros((2, 4, 3), np.uint8)
    image[:] = (1, 2, 3)
    pixels, _ = preprocess(image, how)
    np.testing.assert_allclose(pixels[:, 0, 0], [3 - 10, (2 - 20) / 2, (1 - 30) / 4])
    np.testing.assert_allclose(pixels[:, 3, 0], [90, 40, 17.5])


def test_floor_and_nearest_agree_where_nothing_is_rounded() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    floor, nearest = (
        preprocess(image, Preprocess(size=(32, 32), mode="pad", rounding=rounding))
        for rounding in ("floor", "nearest")
    )
    np.testing.assert_array_equal(floor[0], nearest[0])
    assert floor[1] == nearest[1]


STRETCH = Preprocess(size=(8, 8), mode="stretch")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 5), np.uint8), ShapeError, r"grey picture \[4, 5\].*np.repeat"),
        (np.zeros((4, 5, 1), np.uint8), ShapeError, r"grey picture \[4, 5, 1\].*np.repeat"),
        (np.zeros((4, 5, 4), np.uint8), ShapeError, r"four channels.*image\[:, :, :3\]"),
        (np.zeros((3, 4, 5), np.uint8), ShapeError, r"channels first.*transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), ShapeError, r"found shape \[2, 4, 5, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), ShapeError, "empty picture"),
        (np.zeros((4, 5, 3), np.float32), DTypeError, "found float32, expected uint8"),
        ([[1, 2, 3]], DTypeError, "found list"),
    ],
)
def test_refusals_say_how_to_convert(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        preprocess(image, STRETCH)  # type: ignore[arg-type]


def test_the_advice_for_grey_pictures_works() -> None:
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    converted = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    pixels, _ = preprocess(converted, STRETCH)
    assert pixels.shape == (3, 8, 8)
