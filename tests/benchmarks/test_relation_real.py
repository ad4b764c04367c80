"""The comparison on real pictures: nothing leaks between folds, and figures are what they say."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)

from benchmarks import relation_real_figures as real_figures
from benchmarks import relation_real_models as models
from benchmarks.relation_real_figures import Figures, interval, report
from benchmarks.relation_real_pairs import PREDICATES, Pairs
from vinfer.evaluation.relation_truth import FALSE, LEFT_OUT, TRUE
from vinfer.evaluation.relations import average_precision
from vinfer.training.ridge_logistic import group_folds

NUM_PICTURES = 20


def made_up(seed: int = 0) -> Pairs:
    """Pairs whose relations the visual features half tell, each picture with a few."""
    generator = np.random.default_rng(seed)
    picture = np.repeat(np.arange(NUM_PICTURES), 12)
    m = len(picture)
    corner = generator.uniform(0, 100, (2, m, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(5, 50, (2, m, 2))], 2)
    visual = generator.normal(size=(m, 8)).astype(np.float32)
    verdicts = (visual[:, :5] + generator.normal(size=(m, 5)) > 1.5).astype(np.int32)
    verdicts[generator.random((m, 5)) < 0.05] = LEFT_OUT
    truths = np.zeros((NUM_PICTURES, 5), np.int64)
    np.add.at(truths, picture, verdicts == TRUE)
    prior = generator.uniform(0, 1, (m, 18))
    prior[generator.random(m) < 0.3] = np.nan
    labels = generator.integers(0, 80, (2, m))
    low, high = boxes.astype(np.float32)
    return Pairs(picture, labels[0], labels[1], low, high, prior, visual, verdicts, truths)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "OUTER_FOLDS", 4)
    monkeypatch.setattr(models, "PENALTIES", (10.0, 0.1))
    monkeypatch.setattr(models, "COMPONENTS", 6)  # fewer than the features: directions count, too


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["visual", "prior x visual + boxes"])
def test_a_picture_is_scored_without_a_look_at_its_labels(name: str) -> None:
    pairs, seed = made_up(), 1
    candidate = models.CANDIDATES[name]
    (before,), _ = models.cross_validated(candidate, pairs, [pairs], seed)
    # Whatever is said of the pictures of one fold, and whatever they look like, the models that
    # score them stay: only rows outside of the fold may change.
    fold = group_folds(np.arange(NUM_PICTURES), models.OUTER_FOLDS, seed) == 3
    inside = fold[pairs.picture]
    verdicts = pairs.verdicts.copy()
    verdicts[inside] = 1 - np.maximum(verdicts[inside], FALSE)
    visual = pairs.visual.copy()
    visual[inside] *= 100
    altered = dataclasses.replace(pairs, verdicts=verdicts, visual=visual)
    (after,), _ = models.cross_validated(candidate, altered, [pairs], seed)
    np.testing.assert_array_equal(after[inside], before[inside])
    assert (after[~inside] != before[~inside]).any()


@pytest.mark.usefixtures("quick")
def test_what_can_be_learned_is_learned() -> None:
    pairs = made_up()
    (scores,), chosen = models.cross_validated(models.CANDIDATES["visual"], pairs, [pairs], 0)
    assert Figures(pairs, scores).of(np.ones(NUM_PICTURES, np.int64))["mAP"] > 0.4
    assert set(chosen) == set(PREDICATES)
    assert {penalty for row in chosen.values() for penalty in row} <= set(models.PENALTIES)


def test_figures_known() -> None:
    # Picture 0: right .9 and .7, false .8; picture 1: false .6, and one true relation not stated.
    pairs = made_up()
    k = PREDICATES.index("on")
    rows = np.array([0, 1, 2, 12])
    small = dataclasses.replace(
        pairs.at_least(np.isin(np.arange(len(pairs.picture)), rows)),
        verdicts=np.array([[FALSE] * 5] * 4, np.int32),
        truths=np.zeros((NUM_PICTURES, 5), np.int64),
    )
    small.verdicts[[0, 2], k] = TRUE
    small.truths[0, k], small.truths[1, k] = 2, 1
    scores = np.zeros((4, 5))
    scores[:, k] = [0.9, 0.8, 0.7, 0.6]
    weights = np.zeros(NUM_PICTURES, np.int64)
    weights[:2] = 1
    found = Figures(small, scores).of(weights)
    assert found["AP on"] == pytest.approx((1 + 2 / 3) / 3)
    assert found["mAP"] == found["AP on"]  # no other has a true relation
    for kind in ("all", "events"):  # 2 of 3 is the first recall of a half or more
        assert found[f"precision at recall .5, {kind}"] == pytest.approx(2 / 3)
        assert found[f"false a picture at recall .5, {kind}"] == 1 / 2
        assert found[f"recall at .1 false a picture, {kind}"] == pytest.approx(1 / 3)
    scores[:2] = 0  # nothing said of these
    found = Figures(small, scores).of(weights)
    assert found["precision at recall .5, all"] == 0
    assert np.isinf(found["false a picture at recall .5, all"])
    assert np.isnan(found["AP ride"])


def test_average_precision_and_weights_against_a_repeated_set() -> None:
    pairs = made_up()
    scores = np.random.default_rng(5).choice([0.1, 0.2, 0.5, 0.9], (len(pairs.picture), 5))
    weights = np.random.default_rng(6).integers(0, 3, NUM_PICTURES)
    found = Figures(pairs, scores).of(weights)
    rows = np.concatenate(
        [np.flatnonzero(pairs.picture == k) for k in np.repeat(np.arange(NUM_PICTURES), weights)]
    )
    for k, name in enumerate(PREDICATES):
        judged = rows[pairs.verdicts[rows, k] != LEFT_OUT]
        expected = average_precision(scores[judged, k], pairs.verdicts[judged, k] == TRUE)
        assert found[f"AP {name}"] == pytest.approx(expected)


def test_intervals_hold_the_value_and_differences_are_paired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(real_figures, "DRAWS", 200)
    pairs = made_up()
    generator = np.random.default_rng(7)
    good = 0.3 * (pairs.verdicts == TRUE) + generator.random((len(pairs.picture), 5))
    poor = generator.random((len(pairs.picture), 5))
    figures = {"prior": Figures(pairs, poor), "same": Figures(pairs, poor)}
    figures["good"] = Figures(pairs, good)
    found = report(figures, np.arange(NUM_PICTURES), NUM_PICTURES, base="prior")
    row = found["good"]["mAP"]
    low, high = row["interval"]
    assert low < row["value"] < high
    assert row["minus prior"][0] > 0
    assert found["same"]["mAP"]["minus prior"] == [0, 0]
    assert found["good"]["false a picture at recall .5, all"]["minus prior"][1] < 0


def test_intervals_of_what_is_undefined_or_never_reached() -> None:
    assert interval(np.array([np.nan] * 3)) == [None, None]
    assert interval(np.array([np.nan, 1.0, 1.0])) == [1, 1]
    assert interval(np.array([0.5] * 50 + [np.inf] * 50)) == [0.5, None]
