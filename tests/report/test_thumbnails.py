"""The picture of each event's best frame."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from report_scenes import event, frame, grey

cv2 = pytest.importorskip("cv2")

from vinfer.report import thumbnails  # noqa: E402
from vinfer.report.thumbnails import Thumbnails  # noqa: E402
from vinfer.types import Participant, UInt8Array  # noqa: E402


def shown(jpeg: bytes | None) -> UInt8Array:
    assert jpeg is not None
    image: UInt8Array = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return image


def level(jpeg: bytes | None) -> float:
    """Grey level of the corner, where no box is."""
    return float(shown(jpeg)[-20:, -20:].mean())


def test_it_is_the_peak_frame() -> None:
    pictures = Thumbnails()
    for index in range(20):
        pictures.add(frame(index, grey(10 * index)))
    pictures.update(event(kind="open", peak=12))
    assert level(pictures.jpeg(event().event_id)) == pytest.approx(120, abs=2)
    pictures.update(event(kind="close", peak=17))
    assert level(pictures.jpeg(event().event_id)) == pytest.approx(170, abs=2)
    assert pictures.jpeg("another event") is None


def test_both_boxes_are_drawn_where_they_belong() -> None:
    pictures = Thumbnails()
    pictures.add(frame(0, grey(width=640, height=360)))  # shown at half of its size
    pictures.update(
        event(
            peak=0,
            subject=Participant("person", 3, (40.0, 60.0, 160.0, 300.0)),
            object_=Participant("bicycle", 4, (300.0, 100.0, 500.0, 280.0)),
        )
    )
    image = shown(pictures.jpeg(event().event_id)).astype(np.int16)
    assert image.shape == (180, 320, 3)
    changed = np.abs(image - 128).max(axis=2) > 40
    for x1, y1, x2, y2 in ((20, 30, 80, 150), (150, 50, 250, 140)):
        assert changed[y1 + 4 : y2 - 4, x1 - 1 : x1 + 2].any(axis=1).all()
        assert changed[y1 + 4 : y2 - 4, x2 - 1 : x2 + 2].any(axis=1).all()
        assert not changed[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3840, 2160), (320, 180)),
        ((1080, 1920), (180, 320)),
        ((100, 60), (100, 60)),
        ((5000, 1), (320, 1)),
        ((1, 1), (1, 1)),
    ],
)
def test_no_side_is_longer_than_320_pixels(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    pictures = Thumbnails()
    pictures.add(frame(0, grey(width=size[0], height=size[1])))
    pictures.update(event(peak=0))
    assert shown(pictures.jpeg(event().event_id)).shape == (expected[1], expected[0], 3)


def test_a_best_frame_that_is_forgotten_keeps_the_picture_before() -> None:
    pictures = Thumbnails()
    pictures.add(frame(0, grey(50), time=Fraction(0)))
    pictures.update(event(kind="open", peak=0))
    pictures.add(frame(1, grey(200), time=Fraction(1)))
    pictures.add(frame(2, grey(200), time=Fraction(6)))
    pictures.update(event(kind="close", peak=1))
    assert level(pictures.jpeg(event().event_id)) == pytest.approx(50, abs=2)


def test_memory_is_bounded_by_time_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Thumbnails()
    for index in range(100):
        pictures.add(frame(index))
    assert list(pictures._recent) == list(range(59, 100))  # the last four seconds, at 10 a second
    monkeypatch.setattr(thumbnails, "_MEMORY_BYTES", 10 * grey().nbytes)
    pictures.add(frame(100))
    assert list(pictures._recent) == list(range(91, 101))
    assert pictures._recent_bytes == sum(s.image.nbytes for s in pictures._recent.values())


def test_of_too_many_events_the_strongest_keep_their_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thumbnails, "_MAX_KEPT", 3)
    pictures = Thumbnails()
    pictures.add(frame(0))
    scores = [0.5, 0.9, 0.1, 0.7, 0.3]
    for number, score in enumerate(scores):
        pictures.update(dataclasses.replace(event(number, peak=0), peak_score=score))
    kept = [pictures.jpeg(event(number).event_id) is not None for number in range(5)]
    assert kept == [True, True, False, True, False]
