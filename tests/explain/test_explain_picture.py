"""The picture of an explanation: what is in it, at the edges of what it can be asked to show."""

import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from vinfer.bundles.manifest import EventThresholds
from vinfer.errors import OutputError
from vinfer.explain import (
    Explanation,
    Fill,
    HeatMap,
    ScoreTrace,
    WhatIf,
    explanation_picture,
    write_explanation,
)
from vinfer.explain.picture import WIDTH
from vinfer.types import Event, Participant

PERSON = Participant("person", 2, (20.0, 20.0, 60.0, 90.0))
BICYCLE = Participant("bicycle", 3, (30.0, 50.0, 80.0, 95.0))


def event(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "type": "close",
        "event_id": "0" * 16,
        "stream": "clip.mp4",
        "start": Fraction(1),
        "end": Fraction(2),
        "start_frame": 10,
        "end_frame": 20,
        "subject": PERSON,
        "predicate": "ride",
        "object": BICYCLE,
        "score": 0.8,
        "peak_score": 0.9,
        "peak_time": Fraction(3, 2),
        "peak_frame": 15,
        "support": 11,
        "bundle": "relations@1.0",
    }
    return Event(**values | changes)


def heat(*, size: tuple[int, int] = (120, 160), cells: Any = None) -> HeatMap:
    region, stride = (10, 10, 90, 100), 10
    if cells is None:
        cells = np.zeros((9, 8), np.float32)
        cells[4, 2] = 0.6
    drops = np.zeros((10, 9), np.float32)
    fill = Fill((120, 120, 120), "the network's mean colour")
    return HeatMap(np.zeros(size, np.float32), cells, drops, region, 20, stride, fill, 0.9)


def explanation(**changes: Any) -> Explanation:
    times = tuple(Fraction(k, 10) for k in range(31))
    scores = np.array([0.1] * 10 + [0.9] * 11 + [math.nan] * 10, np.float32)
    values: dict[str, Any] = {
        "event": event(),
        "image": np.full((120, 160, 3), 128, np.uint8),
        "trace": ScoreTrace(times, scores),
        "thresholds": EventThresholds(on=0.6, off=0.4),
        "base_score": 0.9,
        "heat_map": heat(),
        "no_heat_map": "",
        "what_if": (WhatIf("bicycle covered", 0.12),),
    }
    return Explanation(**values | changes)


def hottest(picture: Any) -> tuple[int, int]:
    """Where the picture is most like the light end of the colours, within the heat map's panel."""
    yellow = picture[..., 0].astype(int) + picture[..., 1] - 2 * picture[..., 2].astype(int)
    panel = cv2.GaussianBlur(yellow[196:760, 820:1200].astype(np.float32), (31, 31), 0)
    row, column = np.unravel_index(panel.argmax(), panel.shape)
    return int(row), int(column)


def test_the_map_glows_at_its_highest_cell() -> None:
    row, column = hottest(explanation_picture(explanation()))
    scale = 440 / 90  # 90 pixels of the region in the panel's height
    assert row == pytest.approx(4.5 * 10 * scale, abs=25)
    assert column == pytest.approx(2.5 * 10 * scale, abs=25)


def test_without_a_map_nothing_glows_and_the_reason_is_there() -> None:
    without = explanation(heat_map=None, no_heat_map="it is blind")
    picture = explanation_picture(without)
    panel = picture[196:530, 821:]
    grey = np.abs(panel.astype(int) - panel.mean(-1, keepdims=True)).max()
    assert grey <= 4  # ink is nearly black: no colour at all
    assert "it is blind" in without.to_text()
    assert without.to_dict()["no_heat_map"] == "it is blind"


def test_a_map_of_nothing_says_so() -> None:
    nothing = explanation(heat_map=heat(cells=np.full((9, 8), 0.01, np.float32)))
    assert "No place of 20 pixels alone matters" in nothing.to_text()
    assert "(35, 55): by 0.60" in explanation().to_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"heat_map": heat(cells=np.full((9, 8), -0.2, np.float32))},
        {"heat_map": heat(cells=np.zeros((9, 8), np.float32))},
        {"trace": ScoreTrace((), np.zeros(0, np.float32))},
        {"trace": ScoreTrace((Fraction(1),), np.array([math.nan], np.float32))},
        {"thresholds": EventThresholds(on=0, off=0)},
        {"thresholds": EventThresholds(on=1, off=0.99)},
        {"thresholds": EventThresholds(on=0.98, off=0.96, min_peak=0.995)},
        {"what_if": ()},
        {"event": event(start=Fraction(1), end=Fraction(1), peak_time=Fraction(1))},
        {
            "event": event(
                subject=dataclasses.replace(PERSON, label="a person with a very long name" * 3),
                predicate="is somewhere in the neighbourhood of" * 3,
                stream="x" * 500,
            )
        },
        {"event": event(subject=dataclasses.replace(PERSON, box=(-50.0, -50.0, -10.0, -10.0)))},
        {"image": np.zeros((3, 2000, 3), np.uint8), "heat_map": None, "no_heat_map": "x"},
        {"image": np.zeros((2000, 3, 3), np.uint8), "heat_map": None, "no_heat_map": "x"},
        {"what_if": (WhatIf("a change that is told at much too great a length " * 3, 0.5),)},
    ],
)
def test_anything_can_be_drawn(changes: dict[str, Any]) -> None:
    made = explanation(**changes)
    picture = explanation_picture(made)
    assert (picture.shape[1], picture.dtype) == (WIDTH, np.uint8)
    assert (picture[:, :30] == 255).all()  # nothing runs over the border
    assert (picture[:, -30:] == 255).all()
    assert made.to_text()


def test_writing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "why.png"
    write_explanation(path, explanation())
    written = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(written, explanation_picture(explanation()))
    with pytest.raises(OutputError, match="that is a folder"):
        write_explanation(tmp_path, explanation())
