"""Sizes of resized pictures and the boxes on them: golden values and bounds."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.training.picture_tensors import resized_boxes, resized_size

GOLDEN = json.loads(Path(__file__).with_name("golden_batches.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["resize"], ids=lambda case: "x".join(map(str, case["in"])))
def test_resized_size_is_golden(case: dict[str, Any]) -> None:
    (width, height), (new_width, new_height) = case["in"], case["out"]
    assert resized_size(height, width) == (new_height, new_width)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600), st.integers(0, 600))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_resized_sides_keep_their_bounds(height: int, width: int, short: int, more: int) -> None:
    long = short + more
    size = resized_size(height, width, short_side=short, long_side=long)
    assert min(size) <= short
    assert max(size) <= long
    # One of the two is reached: a picture is made as large as it may be.
    assert min(size) == short or max(size) == long
    assert size[::-1] == resized_size(width, height, short_side=short, long_side=long)
    scale = min(Fraction(short, min(height, width)), Fraction(long, max(height, width)))
    for before, after in zip((height, width), size, strict=True):
        assert after == 1 or abs(after - before * scale) <= Fraction(1, 2)


def test_boxes_are_scaled_by_the_rounded_sides_and_clipped() -> None:
    boxes = np.float32([[0, 0, 333, 500], [-5, 10, 400, 510], [100, 100, 200, 300]])
    size = resized_size(500, 333)
    assert size == (721, 480)
    scaled = resized_boxes(boxes, (500, 333), size)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[0], np.float32([0, 0, 480, 721]))
    np.testing.assert_array_equal(scaled[1], np.float32([0, 10 * 721 / 500, 480, 721]))
    np.testing.assert_array_equal(
        scaled[2], np.float32([100 * 480 / 333, 144.2, 200 * 480 / 333, 432.6])
    )
