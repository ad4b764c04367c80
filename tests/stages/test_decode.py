"""Raw outputs to boxes and scores, for each decode kind."""

import math
from typing import get_args

import numpy as np
import pytest
from detectors import detection_manifest

from vinfer.bundles import BoxesScoresDecode, DetectionManifest, Preprocess, YoloxDecode
from vinfer.errors import ModelOutputError
from vinfer.stages import decode as decode_module
from vinfer.stages.decode import make_decoder

SIZE = (32, 64)


def manifest(decode: BoxesScoresDecode | YoloxDecode) -> DetectionManifest:
    return detection_manifest(preprocess=Preprocess(size=SIZE, mode="stretch"), decode=decode)


def test_every_kind_of_the_manifest_has_a_decoder() -> None:
    kinds = {
        spec.model_fields["kind"].default
        for spec in get_args(DetectionManifest.model_fields["decode"].annotation)
    }
    assert kinds == set(decode_module._MAKERS)


@pytest.mark.parametrize(
    ("normalized", "expected"), [(True, [16, 8, 64, 32]), (False, [0.25, 0.25, 1, 1])]
)
def test_boxes_scores(normalized: bool, expected: list[float]) -> None:
    outputs = {
        "b": np.array([[[0.25, 0.25, 1, 1]]], np.float32),
        "s": np.array([[[0.1, 0.2, 0.7]]], np.float32),
    }
    spec = BoxesScoresDecode(boxes="b", scores="s", normalized=normalized)
    boxes, scores = make_decoder(manifest(spec))(outputs)
    assert boxes.tolist() == [expected]
    np.testing.assert_array_equal(scores, outputs["s"][0])
    assert boxes.dtype == scores.dtype == np.float32


def test_yolox_agrees_with_a_decode_cell_by_cell() -> None:
    rows = sum((SIZE[0] // s) * (SIZE[1] // s) for s in (8, 16, 32))
    raw = np.random.default_rng(0).normal(0, 1, (1, rows, 8)).astype(np.float32)
    boxes, scores = make_decoder(manifest(YoloxDecode(output="out")))({"out": raw})
    row = 0
    for stride in (8, 16, 32):
        for y in range(SIZE[0] // stride):
            for x in range(SIZE[1] // stride):
                dx, dy, log_w, log_h, objectness, *classes = (float(v) for v in raw[0, row])
                cx, cy = (x + dx) * stride, (y + dy) * stride
                w, h = math.exp(log_w) * stride, math.exp(log_h) * stride
                box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                np.testing.assert_allclose(boxes[row], box, rtol=1e-5, atol=1e-4)
                np.testing.assert_allclose(scores[row], np.array(classes) * objectness, rtol=1e-5)
                row += 1
    assert row == len(boxes)


def test_yolox_sizes_beyond_any_picture_stay_finite() -> None:
    raw = np.zeros((1, 42, 8), np.float32)
    raw[0, 0, 2:4] = 1e30
    boxes, _ = make_decoder(manifest(YoloxDecode(output="out")))({"out": raw})
    assert np.isfinite(boxes).all()
    assert boxes[0, 2] - boxes[0, 0] > 1e6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_counted_and_named(bad: float) -> None:
    scores = np.zeros((1, 5, 3), np.float32)
    scores[0, 2, :2] = bad
    outputs = {"boxes": np.zeros((1, 5, 4), np.float32), "scores": scores}
    with pytest.raises(ModelOutputError, match=r'"scores": 2 of 15 values are NaN or infinite'):
        make_decoder(detection_manifest())(outputs)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("scores", np.zeros((1, 5, 4), np.float32), r"found float32 \[1, 5, 4\], expected .* 3\]"),
        ("scores", np.zeros((2, 5, 3), np.float32), r"expected float32 \[1, a, 3\]"),
        ("scores", np.zeros((5, 3), np.float32), r"found float32 \[5, 3\]"),
        ("scores", np.zeros((1, 5, 3), np.float64), "found float64"),
        ("boxes", np.zeros((1, 4, 4), np.float32), r"expected float32 \[1, 5, 4\]"),
    ],
)
def test_another_shape_or_dtype_is_refused(name: str, array: np.ndarray, message: str) -> None:
    outputs = {
        "boxes": np.zeros((1, 5, 4), np.float32),
        "scores": np.zeros((1, 5, 3), np.float32),
    }
    with pytest.raises(ModelOutputError, match=message):
        make_decoder(detection_manifest())({**outputs, name: array})


def test_a_missing_output_is_named_beside_those_there() -> None:
    with pytest.raises(ModelOutputError, match=r'"scores" is missing, found \[\'boxes\'\]'):
        make_decoder(detection_manifest())({"boxes": np.zeros((1, 5, 4), np.float32)})
