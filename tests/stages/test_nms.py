"""Suppression against a slow reference, and its order and limits."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.stages.nms import Candidates, above_threshold, suppress

IOU_THRESHOLD = 0.5


def slow_suppress(
    candidates: Candidates, iou_threshold: float, max_detections: int, class_agnostic: bool
) -> list[int]:
    """One pair at a time, in exact arithmetic on whole numbers."""

    def iou_above(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        overlap = float(max(width, 0)) * float(max(height, 0))
        area_a, area_b = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
        return bool(overlap > iou_threshold * (float(area_a) + float(area_b) - overlap))

    order = sorted(range(len(candidates.scores)), key=lambda i: (-candidates.scores[i], i))
    kept: list[int] = []
    for i in order:
        if len(kept) == max_detections:
            break
        if not any(
            (class_agnostic or candidates.labels[i] == candidates.labels[k])
            and iou_above(candidates.boxes[i], candidates.boxes[k])
            for k in kept
        ):
            kept.append(i)
    return kept


def make(boxes: object, scores: object, labels: object) -> Candidates:
    return Candidates(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int32),
    )


box = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)
# Few distinct scores: ties are common. Sixteenths and whole numbers are exact in float32.
candidate = st.tuples(box, st.integers(1, 8).map(lambda v: v / 16), st.integers(0, 2))


@settings(derandomize=True, deadline=None)
@given(
    st.lists(candidate, max_size=40),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([0.25, 0.5]),
)
def test_agrees_with_the_slow_reference(
    items: list[tuple[tuple[int, ...], float, int]],
    max_detections: int,
    class_agnostic: bool,
    iou_threshold: float,
) -> None:
    candidates = make(*([item[k] for item in items] for k in range(3)))
    kept = suppress(
        candidates, iou_threshold, max_detections=max_detections, class_agnostic=class_agnostic
    )
    assert kept.tolist() == slow_suppress(candidates, iou_threshold, max_detections, class_agnostic)


def test_many_real_sized_candidates_agree_with_the_slow_reference() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 900, (600, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 300, (600, 2))], 1)
    candidates = make(boxes, rng.integers(1, 64, 600) / 64, rng.integers(0, 5, 600))
    kept = suppress(candidates, 0.5, max_detections=100)
    assert kept.tolist() == slow_suppress(candidates, 0.5, 100, False)
    assert 50 < len(kept) <= 100


def test_equal_scores_keep_the_lower_index_first() -> None:
    boxes = [[0, 0, 1, 1], [4, 0, 5, 1], [0, 0, 1, 1], [8, 0, 9, 1]]
    kept = suppress(make(boxes, [0.5, 0.5, 0.5, 0.9], [0] * 4), 0.5, max_detections=9)
    assert kept.tolist() == [3, 0, 1]


@pytest.mark.parametrize(("width", "kept"), [(2, [0, 1]), (3, [0])])
def test_a_box_goes_only_above_the_threshold(width: int, kept: list[int]) -> None:
    # IoU of [0, 4] with a part of it of this width: 2/4 is the threshold itself, 3/4 is above.
    candidates = make([[0, 0, 4, 1], [0, 0, width, 1]], [0.9, 0.8], [0, 0])
    assert suppress(candidates, 0.5, max_detections=9).tolist() == kept


def test_a_suppressed_box_suppresses_nothing() -> None:
    # 1 goes because of 0; 2 overlaps only 1, so it stays.
    boxes = [[0, 0, 6, 1], [2, 0, 8, 1], [4, 0, 10, 1]]
    kept = suppress(make(boxes, [0.9, 0.8, 0.7], [0] * 3), 0.4, max_detections=9)
    assert kept.tolist() == [0, 2]


def test_classes_suppress_each_other_only_when_asked_to() -> None:
    candidates = make([[0, 0, 4, 4]] * 2, [0.6, 0.9], [0, 1])
    assert suppress(candidates, 0.5, max_detections=9).tolist() == [1, 0]
    agnostic = suppress(candidates, 0.5, max_detections=9, class_agnostic=True)
    assert agnostic.tolist() == [1]


def test_nothing_in_nothing_out() -> None:
    kept = suppress(make([], [], []), 0.5, max_detections=9)
    assert kept.tolist() == []
    assert kept.dtype == np.int64


def test_threshold_is_inclusive_and_order_is_box_then_class() -> None:
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3]], np.float32)
    # 0.3 is not exact: the comparison has to be made in float32, as the scores are.
    scores = np.array([[0.1, 0.3, 0.9], [0.5, 0.0, 0.29999998]], np.float32)
    found = above_threshold(boxes, scores, 0.3)
    assert found.labels.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(found.boxes, boxes[[0, 0, 1]])
    np.testing.assert_array_equal(found.scores, np.float32([0.3, 0.9, 0.5]))
    assert found.labels.dtype == np.int32
