"""Shortcut probes: known values, and that synthetic relations can't be told without pixels."""

import collections
import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)

import torch

from vinfer.errors import TrainingError
from vinfer.evaluation.relations import average_precision
from vinfer.ops import positional_maps
from vinfer.training.probes import class_pair_scores, geometry_scores, pair_features
from vinfer.training.relation_data import RelationData, RelationPicture, pair_table
from vinfer.training.sprites import PREDICATES, TWINNED, make_sprite_data

CEILING = 0.65


def data_of(*triplets: list[list[int]]) -> RelationData:
    """Pictures of three objects of classes 0, 1, 1 with these relations."""
    boxes = np.array([[0, 0, 4, 8], [2, 4, 10, 6], [20, 4, 21, 6]], np.float32)
    pictures = [
        RelationPicture(
            str(k), None, np.array([0, 1, 1]), boxes, np.array(rows, np.int64).reshape(-1, 3)
        )
        for k, rows in enumerate(triplets)
    ]
    return RelationData(("a", "b"), ("p", "q"), tuple(pictures), True, collections.Counter())


def test_class_pair_shares() -> None:
    training = data_of([[0, 0, 1]], [[0, 0, 1], [0, 0, 2], [1, 1, 2]])
    scores = class_pair_scores(training, data_of([]))
    # Pairs (0,1) (0,2) (1,0) (1,2) (2,0) (2,1): a-b is p in 3 of 4, b-b is q in 1 of 4.
    expected = [[0.75, 0], [0.75, 0], [0, 0], [0, 0.25], [0, 0], [0, 0.25]]
    np.testing.assert_array_equal(scores, np.array(expected, np.float32))


def test_features_are_classes_positions_and_sizes() -> None:
    table = pair_table(data_of([]))
    features = pair_features(table, 2).numpy()
    assert features.shape == (6, 2 * 2 + 12)
    # Subject (0, 0, 4, 8), object (2, 4, 10, 6), union (0, 0, 10, 8).
    expected = [1, 0, 0, 1, -1, -1, -0.6, 0, 0.8, 2, 1.6, 0.5, *np.log([4, 8, 8, 2])]
    np.testing.assert_allclose(features[0], expected, rtol=0, atol=1e-6)
    # Offset and extent are what the positional maps interpolate between.
    union = np.array([[0, 0, 10, 8]], np.float32)
    maps = positional_maps(table.object_boxes[:1], union, 1)[0, :, 0, 0]
    np.testing.assert_allclose(maps, features[0, 6:8] + features[0, 10:12] / 2, atol=1e-6)


def test_same_seed_same_scores_and_torch_is_as_it_was() -> None:
    training, test = make_sprite_data(30, 0), make_sprite_data(10, 1)
    state = torch.get_rng_state()
    first, again, other = (
        geometry_scores(training, test, seed=seed, epochs=2) for seed in (0, 0, 1)
    )
    assert first.shape == (len(pair_table(test)), len(PREDICATES))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_no_probe_tells_relations_that_only_pixels_decide() -> None:
    training, test = make_sprite_data(1000, 0), make_sprite_data(700, 1)
    truth = pair_table(test).annotated
    table, network = class_pair_scores(training, test), geometry_scores(training, test, epochs=8)
    for name in PREDICATES:
        k = PREDICATES.index(name)
        best = max(average_precision(s[:, k], truth[:, k]) or 0 for s in (table, network))
        if name in TWINNED:
            assert truth[:, k].sum() > 40
            assert best <= CEILING, name
        elif name in ("on", "wears"):  # geometry and labels decide these, so the probe works
            assert best >= 0.8, name


def test_bad_arguments_are_refused() -> None:
    other = "test data: found 8 classes, number"
    with pytest.raises(TrainingError, match=other):
        class_pair_scores(data_of([]), make_sprite_data(1, 0))
    with pytest.raises(TrainingError, match=other):
        geometry_scores(data_of([]), make_sprite_data(1, 0))
    for options in ({"seed": -1}, {"epochs": 0}):
        with pytest.raises(TrainingError, match="expected a seed of 0 or more, and 1 epoch"):
            geometry_scores(data_of([]), data_of([]), **options)
