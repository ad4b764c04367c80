"""Scene-graph recall against the specification's known values and by its properties."""

import numpy as np
import pytest
from golden_scene_graphs import GOLDEN, golden_pictures, triplets
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError
from vinfer.evaluation.scene_graph import Recall, ranked_triplets, recall_at_k


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


def test_recall_without_truth_is_not_defined() -> None:
    nothing = [triplets([])]
    assert recall_at_k(nothing, nothing, 50, num_predicates=3) == Recall(None, None, None, None)


def test_mean_recall_with_and_without_absent_predicates() -> None:
    truth, predictions = golden_pictures(constrained=False)
    found = recall_at_k(truth, predictions, 20, num_predicates=6)
    assert found.predicate_mean_present == pytest.approx(0.8333333333)
    assert found.predicate_mean == pytest.approx(0.8333333333 / 2)


def test_recall_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="found 1 pictures, expected 2"):
        recall_at_k([triplets([])] * 2, [triplets([])], 50, num_predicates=3)
    with pytest.raises(InputError, match="k: found 0"):
        recall_at_k([], [], 0, num_predicates=3)


@given(st.permutations(range(4)), st.permutations(range(2)), st.sampled_from([3, 5, 20]))
@settings(derandomize=True, deadline=None)
def test_recall_does_not_depend_on_the_order_of_truth(
    order: list[int], pictures: list[int], k: int
) -> None:
    truth, predictions = golden_pictures(constrained=False)
    shuffled = [truth[0].select(np.array(order)), truth[1]]
    assert recall_at_k(
        [shuffled[i] for i in pictures], [predictions[i] for i in pictures], k, num_predicates=3
    ) == recall_at_k(truth, predictions, k, num_predicates=3)


def test_ranking_refuses_nan() -> None:
    labels, boxes = np.zeros(2, np.int64), np.zeros((2, 4), np.float32)
    with pytest.raises(InputError, match="found 1 NaN"):
        ranked_triplets(labels, boxes, np.array([[0, 1]]), np.array([[0.1, np.nan]]), limit=5)


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
