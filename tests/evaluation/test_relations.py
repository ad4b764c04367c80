"""Average precision against the specification's known values and by its properties."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.relations import (
    ap_voc,
    average_precision,
    mean_average_precision,
    top_k_accuracy,
)

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_relations.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["average_precision"])
def test_average_precision_known(case: str) -> None:
    values = GOLDEN["average_precision"][case]
    found = average_precision(np.array(values["scores"]), np.array(values["labels"], bool))
    assert found == (None if values["ap"] is None else pytest.approx(values["ap"], abs=1e-9))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30), st.randoms())
@settings(derandomize=True, deadline=None)
def test_average_precision_does_not_depend_on_the_order_of_ties(
    samples: list[tuple[int, bool]], random: Any
) -> None:
    def value(rows: list[tuple[int, bool]]) -> float | None:
        scores, labels = zip(*rows, strict=True)
        return average_precision(np.array(scores) / 4, np.array(labels, bool))

    shuffled = samples.copy()
    random.shuffle(shuffled)
    assert value(samples) == value(shuffled)


def test_average_precision_refuses_nan_and_other_shapes() -> None:
    with pytest.raises(InputError, match="found 1 NaN"):
        average_precision(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(ShapeError, match=r"\[2\] and \[3\]"):
        average_precision(np.zeros(2), np.zeros(3, bool))


@pytest.mark.parametrize("case", GOLDEN["average_precision"])
def test_voc_average_precision_known(case: str) -> None:
    values = GOLDEN["average_precision"][case]
    labels = np.array(values["labels"], bool)
    found = ap_voc(np.array(values["scores"]), labels, int(labels.sum()))
    assert found == (None if values["ap_voc"] is None else pytest.approx(values["ap_voc"]))


def slow_ap_voc(scores: list[float], labels: list[bool], num_truths: int) -> float:
    """The area under the envelope, rectangle by rectangle."""
    order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))
    points, hits = [], 0
    for seen, k in enumerate(order, 1):
        hits += labels[k]
        points.append((hits / num_truths, hits / seen))
    area, reached = 0.0, 0.0
    for recall, _ in points:
        area += (recall - reached) * max(p for r, p in points if r >= recall)
        reached = recall
    return area


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=25),
    st.integers(0, 3),
)
@settings(derandomize=True, deadline=None)
def test_voc_average_precision_is_the_area_under_the_envelope(
    samples: list[tuple[int, bool]], missed: int
) -> None:
    scores, labels = ([row[k] for row in samples] for k in (0, 1))
    num_truths = sum(labels) + missed
    found = ap_voc(np.array(scores, float), np.array(labels, bool), num_truths)
    if num_truths == 0:
        assert found is None
        return
    assert found == pytest.approx(slow_ap_voc(scores, labels, num_truths))
    step = average_precision(np.array(scores, float), np.array(labels, bool))
    if step is not None and len(set(scores)) == len(scores):
        assert found >= step * sum(labels) / num_truths - 1e-12


def test_voc_average_precision_of_nothing() -> None:
    nothing = np.zeros(0), np.zeros(0, bool)
    assert ap_voc(*nothing, 3) == 0.0
    assert ap_voc(*nothing, 0) is None
    with pytest.raises(InputError, match="found 0 for 1 right"):
        ap_voc(np.zeros(1), np.ones(1, bool), 0)
    with pytest.raises(InputError, match="found 1 NaN"):
        ap_voc(np.array([np.nan]), np.ones(1, bool), 1)


def test_mean_average_precision_known() -> None:
    golden = GOLDEN["map_family"]
    found = mean_average_precision(
        np.array(golden["scores"]),
        np.array(golden["labels"], bool),
        ignored=golden["ignored_by_star"],
    )
    out = golden["out"]
    assert found.ap == pytest.approx(out["ap"])
    assert found.ap_foreground == pytest.approx(out["ap_fg"])
    assert (found.mean, found.mean_star) == pytest.approx((out["mAP"], out["mAP_star"]))
    assert found.mean_foreground == pytest.approx(out["mAP_fg"])
    assert found.mean_star_foreground == pytest.approx(out["mAP_star_fg"])


def test_mean_average_precision_without_positives_is_none() -> None:
    found = mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2), bool))
    assert found.mean is None
    assert found.mean_star_foreground is None


def test_foreground_is_not_below() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 8, (60, 4)) / 8
    labels = random.random((60, 4)) < 0.15
    found = mean_average_precision(scores, labels)
    for everywhere, foreground in zip(found.ap, found.ap_foreground, strict=True):
        assert everywhere is not None
        assert foreground is not None
        assert foreground >= everywhere


def test_mean_average_precision_does_not_depend_on_the_order_of_pairs() -> None:
    random = np.random.default_rng(1)
    scores = random.integers(0, 4, (40, 3)) / 4
    labels = random.random((40, 3)) < 0.3
    order = random.permutation(40)
    assert mean_average_precision(scores, labels) == mean_average_precision(
        scores[order], labels[order]
    )


def test_mean_average_precision_refuses_other_shapes() -> None:
    with pytest.raises(ShapeError, match=r"\[3, 2\] and \[3, 1\]"):
        mean_average_precision(np.zeros((3, 2)), np.zeros((3, 1), bool))


def test_top_k_counts_ties_for_the_lower_index() -> None:
    scores = np.array([[0.2, 0.9, 0.9, 0.1]] * 4)
    predicates = np.array([0, 1, 2, 3], np.int64)
    assert top_k_accuracy(scores, predicates, 1) == 0.25
    assert top_k_accuracy(scores, predicates, 2) == 0.5
    assert top_k_accuracy(scores, predicates, 3) == 0.75
    with pytest.raises(InputError, match="found none"):
        top_k_accuracy(scores[:0], predicates[:0], 1)
