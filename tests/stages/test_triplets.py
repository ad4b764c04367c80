"""Triplets of one picture against the specification's known values and by their properties."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import ConfigError, InputError, ShapeError
from vinfer.stages.triplets import candidate_triplets, select_triplets
from vinfer.types import Detections, Relations

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_triplets.json").read_text())
PREDICATES = ("at", "holds", "under")

Rows = list[tuple[float, int, int, int]]


def picture() -> Detections:
    return Detections.untracked(
        np.array(GOLDEN["boxes"], np.float32),
        np.array(GOLDEN["det_scores"], np.float32),
        np.array(GOLDEN["classes"], np.int32),
        ("a", "b", "c", "d"),
    )


def candidates(order: list[int] | None = None) -> Relations:
    rows = GOLDEN["triplets_s_o_p_prob"]
    rows = rows if order is None else [rows[k] for k in order]
    table = np.array(rows, np.float32)
    whole = table[:, :3].astype(np.int32)
    return Relations(whole[:, :2].copy(), whole[:, 2].copy(), table[:, 3].copy(), PREDICATES)


def rows_of(relations: Relations) -> Rows:
    columns = (relations.scores, *relations.pairs.T, relations.predicates)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def golden(name: str) -> Rows:
    return [tuple(row) for row in GOLDEN[name]]


def test_order_known() -> None:
    found = select_triplets(picture(), candidates(), nms_iou=None)
    # Every score is a multiple of 2^-18: exact in float32.
    assert rows_of(found) == golden("ranked")


def test_suppression_known() -> None:
    found = select_triplets(picture(), candidates(), nms_iou=GOLDEN["nms_iou"])
    assert rows_of(found) == golden("kept")
    assert rows_of(select_triplets(picture(), candidates(), limit=3)) == golden("top3")


@given(st.permutations(range(len(GOLDEN["triplets_s_o_p_prob"]))), st.booleans(), st.booleans())
@settings(derandomize=True, deadline=None)
def test_the_order_of_candidates_does_not_matter(
    order: list[int], suppressed: bool, constrained: bool
) -> None:
    options: dict[str, Any] = {
        "nms_iou": 0.7 if suppressed else None,
        "graph_constraint": constrained,
    }
    found = select_triplets(picture(), candidates(order), **options)
    assert rows_of(found) == rows_of(select_triplets(picture(), candidates(), **options))


def test_graph_constraint_keeps_the_best_predicate_of_a_pair() -> None:
    found = select_triplets(picture(), candidates(), nms_iou=None, graph_constraint=True)
    seen: set[tuple[int, int]] = set()
    expected = []
    for row in golden("ranked"):
        if row[1:3] not in seen:
            expected.append(row)
        seen.add(row[1:3])
    assert rows_of(found) == expected


def test_score_of_the_predicate_alone() -> None:
    found = select_triplets(picture(), candidates(), score="predicate", nms_iou=None)
    assert found.scores[0] == np.float32(0.9375)
    assert sorted(found.scores.tolist()) == sorted(candidates().scores.tolist())


def test_product_is_rounded_from_left_to_right() -> None:
    objects = Detections.untracked(
        np.zeros((2, 4), np.float32),
        np.array([0.3, 0.7], np.float32),
        np.zeros(2, np.int32),
        ("a",),
    )
    one = Relations(
        np.array([[0, 1]], np.int32), np.zeros(1, np.int32), np.full(1, 0.9, np.float32), ("at",)
    )
    expected = np.float32(np.float32(0.3) * np.float32(0.7)) * np.float32(0.9)
    assert select_triplets(objects, one).scores[0] == expected


def test_suppression_is_strict_and_needs_both_boxes() -> None:
    # IoU of the subjects 1/2, of the objects 1: suppressed below 1/2, not at it.
    objects = Detections.untracked(
        np.array([[0, 0, 4, 4], [0, 0, 4, 8], [9, 9, 10, 10]], np.float32),
        np.ones(3, np.float32),
        np.array([0, 0, 1], np.int32),
        ("a", "b"),
    )
    two = Relations(
        np.array([[0, 2], [1, 2]], np.int32),
        np.zeros(2, np.int32),
        np.array([0.9, 0.8], np.float32),
        ("at",),
    )
    assert len(select_triplets(objects, two, nms_iou=0.5)) == 2
    assert rows_of(select_triplets(objects, two, nms_iou=0.499))[0][1:] == (0, 2, 0)
    assert len(select_triplets(objects, two, nms_iou=0.499)) == 1


def test_candidates() -> None:
    pairs = np.array([[0, 1], [1, 0], [1, 1]], np.int32)
    probabilities = np.array([[0.05, 0.04], [0.5, 0.9], [1, 1]], np.float32)
    found = candidate_triplets(pairs, probabilities, ("at", "on"))
    assert found.pairs.tolist() == [[0, 1], [1, 0], [1, 0]]
    assert found.predicates.tolist() == [0, 0, 1]
    assert found.scores.tolist() == np.array([0.05, 0.5, 0.9], np.float32).tolist()


def test_nothing() -> None:
    nothing = Relations.empty(PREDICATES)
    assert len(select_triplets(Detections.empty(("a",)), nothing, graph_constraint=True)) == 0
    none = candidate_triplets(np.zeros((0, 2), np.int32), np.zeros((0, 3), np.float32), PREDICATES)
    assert len(none) == 0
    assert len(select_triplets(picture(), candidates(), limit=0)) == 0


def test_refusals() -> None:
    pairs = np.array([[0, 1]], np.int32)
    with pytest.raises(ShapeError, match=r"found \[1, 2\], expected \[1, 3\]"):
        candidate_triplets(pairs, np.zeros((1, 2), np.float32), PREDICATES)
    with pytest.raises(InputError, match="found 1 NaN"):
        candidate_triplets(pairs, np.array([[0, np.nan, 0]], np.float32), PREDICATES)
    with pytest.raises(ConfigError, match="min_probability"):
        candidate_triplets(pairs, np.zeros((1, 3), np.float32), PREDICATES, min_probability=2)
    missing = Relations(pairs, np.zeros(1, np.int32), np.full(1, np.nan, np.float32), PREDICATES)
    with pytest.raises(InputError, match="found 1 NaN"):
        select_triplets(picture(), missing)
    for wrong in ({"score": "best"}, {"nms_iou": 1.5}, {"limit": -1}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: found"):
            select_triplets(picture(), candidates(), **wrong)  # type: ignore[arg-type]
