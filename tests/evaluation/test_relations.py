"""Relation metrics against the specification's known values and by their properties."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.relations import (
    Triplets,
    average_precision,
    bootstrap_interval,
    box_iou,
    mean_average_precision,
    ranked_triplets,
    recall_at_k,
    top_k_accuracy,
    wilson_interval,
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


def triplets(rows: list[Any]) -> Triplets:
    """Rows: subject class, predicate, object class, subject box, object box."""
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    labels = [np.array(column, np.int64) for column in columns[:3]]
    boxes = [np.array(column, np.float32).reshape(-1, 4) for column in columns[3:]]
    return Triplets(labels[0], labels[1], labels[2], boxes[0], boxes[1])


def golden_pictures(constrained: bool) -> tuple[list[Triplets], list[Triplets]]:
    golden = GOLDEN["sgg_recall"]
    predictions = []
    for rows, boxes, classes in zip(
        golden["pred_score_s_o_p"], golden["boxes"], golden["classes"], strict=True
    ):
        seen: set[tuple[int, int]] = set()
        kept = []
        for _, s, o, p in rows:
            if not constrained or (s, o) not in seen:
                kept.append((classes[s], p, classes[o], boxes[s], boxes[o]))
            seen.add((s, o))
        predictions.append(triplets(kept))
    return [triplets(rows) for rows in golden["gt"]], predictions


@pytest.mark.parametrize("case", GOLDEN["sgg_recall"]["out"])
def test_recall_known(case: str) -> None:
    mode, _, k = case.partition("@")
    truth, predictions = golden_pictures(constrained=not mode.startswith("unconstrained"))
    found = recall_at_k(
        truth,
        predictions,
        int(k),
        num_predicates=GOLDEN["sgg_recall"]["n_predicates"],
        phrase=mode.endswith("phrase"),
    )
    expected = GOLDEN["sgg_recall"]["out"][case]
    assert found.image_mean == pytest.approx(expected["R_image_mean"])
    assert found.pooled == pytest.approx(expected["R_pooled"])
    assert found.predicate_mean == pytest.approx(expected["mR"])


def test_recall_without_truth_is_refused() -> None:
    with pytest.raises(InputError, match="found no triplet"):
        recall_at_k([triplets([])], [triplets([])], 50, num_predicates=3)


def test_ranking_breaks_ties_by_subject_object_predicate() -> None:
    labels = np.array([5, 6], np.int64)
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3]], np.float32)
    pairs = np.array([[0, 1], [1, 0]])
    scores = np.array([[0.5, 0.5, 0.1], [0.9, 0.5, 0.5]], np.float32)
    ranked = ranked_triplets(labels, boxes, pairs, scores, limit=5)
    assert ranked.predicates.tolist() == [0, 0, 1, 1, 2]
    assert ranked.subject_labels.tolist() == [6, 5, 5, 6, 6]
    best = ranked_triplets(labels, boxes, pairs, scores, limit=5, graph_constraint=True)
    assert best.predicates.tolist() == [0, 0]
    assert best.subject_labels.tolist() == [6, 5]


def test_top_k_counts_ties_for_the_lower_index() -> None:
    scores = np.array([[0.2, 0.9, 0.9, 0.1]] * 4)
    predicates = np.array([0, 1, 2, 3], np.int64)
    assert top_k_accuracy(scores, predicates, 1) == 0.25
    assert top_k_accuracy(scores, predicates, 2) == 0.5
    assert top_k_accuracy(scores, predicates, 3) == 0.75
    with pytest.raises(InputError, match="found none"):
        top_k_accuracy(scores[:0], predicates[:0], 1)


def test_box_iou_known_and_empty() -> None:
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 9]], np.float32)
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 5, 9]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 1, 0], [0, 0, 0]])
    assert box_iou(a, b[:0]).shape == (2, 0)


def test_wilson_interval_known() -> None:
    # Wilson 1927; the usual textbook values for 9 of 10 and for none of 10.
    assert wilson_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_draws_whole_groups() -> None:
    groups = np.array([0, 0, 0, 1], np.int64)
    values = np.array([1.0, 1.0, 1.0, 0.0])
    low, high = bootstrap_interval(groups, lambda drawn: float(values[drawn].mean())) or (0, 0)
    # Both groups, one of them twice, or the other twice: 3/4, 1 or 0.
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval(groups, lambda drawn: None) is None
