"""Clips of other people's making: complete files must never be called broken."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vinfer.sources import open_source


@pytest.mark.parametrize(
    ("name", "frames", "rate", "size"),
    [
        ("bottle-detection.mp4", 1189, Fraction(179, 6), (640, 360)),
        ("one-by-one-person-detection.mp4", 1394, Fraction(10), (768, 432)),
        ("vtest.avi", 795, Fraction(10), (768, 576)),
    ],
)
def test_shared_clips(
    shared_data: Path, name: str, frames: int, rate: Fraction, size: tuple[int, int]
) -> None:
    with open_source(shared_data / "videos" / name) as source:
        times = [frame.time for frame in source]
        assert not source.dropped
        assert (source.info.width, source.info.height) == size
        assert source.info.average_rate == rate
    assert times == [i / rate for i in range(frames)]


def test_bikes(bikes: Path) -> None:
    with open_source(bikes) as source:
        assert [frame.time for frame in source] == [Fraction(i, 25) for i in range(250)]
        assert not source.dropped
