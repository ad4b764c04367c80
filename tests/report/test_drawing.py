"""Colours and sizes of what is drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from report_scenes import grey

pytest.importorskip("cv2")

from vinfer.report.drawing import CaptionLine, Pen, shifted, track_color
from vinfer.types import UNTRACKED


def test_a_track_keeps_its_colour_and_neighbours_differ() -> None:
    colors = [np.array(track_color(i), float) for i in range(64)]
    assert track_color(5) == track_color(5)
    for one, other in itertools.pairwise(colors):
        assert np.abs(one - other).max() > 60
    red, green, blue = track_color(UNTRACKED)
    assert max(red, green, blue) - min(red, green, blue) < 20


def test_dark_text_is_readable_on_every_track_colour() -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])

    def luminance(color: tuple[int, int, int]) -> float:
        part = np.array(color) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return float(weights @ linear)

    ink = luminance((17, 20, 24))
    contrast = [(luminance(track_color(i)) + 0.05) / (ink + 0.05) for i in range(-1, 500)]
    assert min(contrast) >= 4.5


@pytest.mark.parametrize(
    ("size", "text_height"),
    [((176, 144), 9), ((640, 272), 12), ((1920, 1080), 25), ((3840, 2160), 43)],
)
def test_text_grows_with_the_picture(size: tuple[int, int], text_height: int) -> None:
    assert Pen(*size).text_height == text_height


@pytest.mark.parametrize("size", [(176, 144), (3840, 2160)])
def test_text_is_as_tall_as_promised(size: tuple[int, int]) -> None:
    width, height = size
    pen = Pen(width, height)
    image = grey(0, width=width, height=height)
    color = (200, 200, 200)
    pen.caption(image, [CaptionLine("HHH", "HHH", "HHH", color, color)])
    rows = np.flatnonzero(image.max(axis=(1, 2)) > 100)
    capitals = rows[-1] - rows[0] + 1
    assert 0.55 * pen.text_height <= capitals <= pen.text_height
    assert rows[-1] < height - 1


def test_a_tag_stays_inside_the_picture() -> None:
    pen = Pen(320, 180)
    image = grey()
    pen.tag(image, (300.0, -20.0, 360.0, 40.0), "person #3 0.90", (255, 255, 255))
    white = np.argwhere((image == 255).all(axis=2))
    assert white[:, 0].min() == 0
    assert white[:, 1].max() == 319
    assert np.ptp(white[:, 1]) > 60  # the whole plate, moved to the left


def test_shifted_scales_then_moves() -> None:
    assert shifted((10.0, 20.0, 30.0, 40.0), 0.5, 100.0, 7.0) == (105.0, 17.0, 115.0, 27.0)
