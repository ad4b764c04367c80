"""The challenge's score against the specification's known values and by hand."""

from typing import Any

import numpy as np
import pytest
from golden_scene_graphs import GOLDEN, golden_pictures, triplets
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.open_images import challenge_hits, open_images_score

KNOWN = GOLDEN["openimages_vrd"]
LEFT, RIGHT = [0, 0, 10, 10], [20, 0, 30, 10]


def scores() -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    return [np.array([row[0] for row in rows]) for rows in GOLDEN["sgg_recall"]["pred_score_s_o_p"]]


def test_score_known() -> None:
    truth, predictions = golden_pictures(constrained=False)
    found = open_images_score(truth, predictions, scores(), num_predicates=3)
    for figures, name in ((found.relation, "rel"), (found.phrase, "phrase")):
        assert figures.ap == pytest.approx(KNOWN[name]["ap"])
        assert figures.mean_ap == pytest.approx(KNOWN[name]["mAP"])
        assert figures.recall == pytest.approx(KNOWN[name]["recall50"])
    assert found.score == pytest.approx(KNOWN["score"])


@pytest.mark.parametrize("name", ["rel", "phrase"])
def test_hits_known(name: str) -> None:
    truth, predictions = golden_pictures(constrained=False)
    for true, predicted, flags in zip(truth, predictions, KNOWN[name]["tp_flags"], strict=True):
        classes = {*true.subject_labels.tolist(), *true.object_labels.tolist()}
        known = np.isin(predicted.subject_labels, list(classes))
        known &= np.isin(predicted.object_labels, list(classes))
        found = challenge_hits(true, predicted.select(known), phrase=name == "phrase")
        assert found.tolist() == [bool(flag) for flag in flags]


def test_no_second_choice() -> None:
    # Both true triplets meet both predictions; the first is the better one for each of them.
    nearly = [0, 0, 10, 9]
    true = triplets([(0, 0, 1, LEFT, RIGHT), (0, 0, 1, nearly, RIGHT)])
    predicted = triplets([(0, 0, 1, LEFT, RIGHT)] * 2)
    assert challenge_hits(true, predicted).tolist() == [True, False]


def test_a_class_verified_absent_is_a_false_positive() -> None:
    truth = [triplets([(0, 0, 1, LEFT, RIGHT)])]
    predictions = [triplets([(2, 0, 1, LEFT, RIGHT), (0, 0, 1, LEFT, RIGHT)])]
    values = [np.array([0.9, 0.8])]
    unknown = open_images_score(truth, predictions, values, num_predicates=1)
    absent = open_images_score(truth, predictions, values, num_predicates=1, verified=[{0, 1, 2}])
    assert unknown.relation.mean_ap == 1
    assert absent.relation.mean_ap == 0.5


def test_only_the_first_k_count_for_recall() -> None:
    rows = [(0, 0, 1, LEFT, RIGHT), (0, 1, 1, LEFT, RIGHT)]
    values = [np.array([0.9, 0.8])]
    found = open_images_score(
        [triplets(rows)], [triplets(rows)], values, num_predicates=2, k=1
    ).relation
    assert (found.recall, found.mean_ap) == (0.5, 1.0)


def test_nothing_true_is_not_defined() -> None:
    found = open_images_score(
        [triplets([])], [triplets([(0, 0, 1, LEFT, RIGHT)])], [np.ones(1)], num_predicates=2
    )
    assert found.score is found.relation.mean_ap is found.phrase.recall is None
    assert found.relation.ap == (None, None)
    nowhere = open_images_score([], [], [], num_predicates=1)
    assert nowhere.score is None


def test_nothing_predicted_is_zero() -> None:
    truth, _ = golden_pictures(constrained=False)
    found = open_images_score(truth, [triplets([])] * 2, [np.zeros(0)] * 2, num_predicates=3)
    assert found.score == found.relation.mean_ap == found.relation.recall == 0


@given(st.randoms())
@settings(derandomize=True, deadline=None, max_examples=30)
def test_the_order_of_pictures_and_truth_does_not_matter(random: Any) -> None:
    truth, predictions = golden_pictures(constrained=False)
    # Told apart, so that no tie is left to the order of pictures.
    values = [row - 1e-6 * np.arange(len(row)) - 1e-3 * k for k, row in enumerate(scores())]
    order = random.sample(range(2), 2)
    shuffled = [true.select(np.array(random.sample(range(len(true)), len(true)))) for true in truth]
    found = open_images_score(
        [shuffled[k] for k in order],
        [predictions[k] for k in order],
        [values[k] for k in order],
        num_predicates=3,
    )
    assert found == open_images_score(truth, predictions, values, num_predicates=3)


def test_refusals() -> None:
    truth, predictions = golden_pictures(constrained=False)
    with pytest.raises(InputError, match="found 2 and 2 and 1 and 2 pictures"):
        open_images_score(truth, predictions, scores()[:1], num_predicates=3)
    with pytest.raises(ShapeError, match=r"scores\[0\]: found shape \[2\], expected \[12\]"):
        open_images_score(truth, predictions, scores()[::-1], num_predicates=3)
    upside_down = [values[::-1].copy() for values in scores()]
    with pytest.raises(InputError, match="higher score after a lower"):
        open_images_score(truth, predictions, upside_down, num_predicates=3)
    missing = [np.full(len(values), np.nan) for values in scores()]
    with pytest.raises(InputError, match="found NaN"):
        open_images_score(truth, predictions, missing, num_predicates=3)
