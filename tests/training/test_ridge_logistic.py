"""Logistic regression against solutions found in other ways, and folds that keep groups whole."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.training.ridge_logistic import (
    Scaling,
    fit_ridge_logistic,
    group_folds,
    log_loss,
    sigmoid,
)


def samples(m: int = 200, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    features = generator.normal(size=(m, d))
    truth = features @ generator.normal(size=d) - 1.5
    return features, generator.random(m) < sigmoid(truth), generator.normal(size=m)


def test_bias_alone_gives_the_share() -> None:
    labels = np.array([True] * 3 + [False] * 7)
    model = fit_ridge_logistic(np.zeros((10, 2)), labels, np.zeros(10), penalty=1.0)
    assert model.bias == pytest.approx(np.log(3 / 7), abs=2e-3)
    np.testing.assert_array_equal(model.weights, 0)


def test_one_feature_known() -> None:
    # Symmetric: no bias, and the weight solves 4 (1 - sigmoid(w)) - 2 sigmoid(w) = w: by bisection.
    features = np.array([[1.0]] * 2 + [[-1.0]] * 2 + [[1.0], [-1.0]])
    labels = np.array([True, True, False, False, False, True])
    low, high = 0.0, 4.0
    for _ in range(60):
        w = (low + high) / 2
        slope = 4 * (1 - 1 / (1 + np.exp(-w))) - 2 / (1 + np.exp(-w)) - w
        low, high = (w, high) if slope > 0 else (low, w)
    model = fit_ridge_logistic(features, labels, np.zeros(6), penalty=1.0)
    assert model.weights[0] == pytest.approx(low, abs=1e-7)
    assert model.bias == pytest.approx(0, abs=1e-7)


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed (extra train)"
)
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_as_pytorch_finds_it(penalty: float) -> None:
    import torch

    features, labels, offsets = samples()
    model = fit_ridge_logistic(features, labels, offsets, penalty=penalty)
    solution = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [solution], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = torch.from_numpy(features) @ solution[:5] + solution[5] + torch.from_numpy(offsets)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(labels).double(), reduction="sum"
        )
        loss = loss + penalty / 2 * (solution[:5] ** 2).sum() + 1e-3 / 2 * solution[5] ** 2
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)
    expected = solution.detach().numpy()
    np.testing.assert_allclose([*model.weights, model.bias], expected, atol=1e-5)
    start = fit_ridge_logistic(features, labels, offsets, penalty=penalty * 10)
    warm = fit_ridge_logistic(features, labels, offsets, penalty=penalty, start=start)
    np.testing.assert_allclose(warm.weights, model.weights, atol=1e-5)


def test_a_strong_penalty_leaves_the_offsets() -> None:
    features, labels, offsets = samples()
    model = fit_ridge_logistic(features, labels, offsets, penalty=1e9)
    np.testing.assert_allclose(model.logits(features, offsets) - offsets, model.bias, atol=1e-5)


def test_separable_and_one_sided_labels_stay_finite() -> None:
    features = np.arange(10.0)[:, None] * 1e3
    for labels in (np.arange(10) > 4, np.zeros(10, bool), np.ones(10, bool)):
        model = fit_ridge_logistic(features, labels, np.zeros(10), penalty=1e-4)
        assert np.isfinite([*model.weights, model.bias]).all()
        assert log_loss(model.logits(features, np.zeros(10)), labels) < 0.05


def test_bad_input() -> None:
    features, labels, offsets = samples()
    with pytest.raises(TrainingError, match="penalty: found 0"):
        fit_ridge_logistic(features, labels, offsets, penalty=0)
    with pytest.raises(TrainingError, match="found NaN or infinity"):
        fit_ridge_logistic(features * np.nan, labels, offsets, penalty=1)
    with pytest.raises(TrainingError, match=r"offsets \[199\]"):
        fit_ridge_logistic(features, labels, offsets[1:], penalty=1)


def test_scaling_is_of_the_training_samples_only() -> None:
    training = np.array([[0.0, 7, 1], [2, 7, 3], [4, 7, 2]])
    scaling = Scaling.of(training, 8)
    scaled = scaling(training) * np.sqrt(3)
    np.testing.assert_allclose(scaled[:, [0, 2]].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:, [0, 2]].std(0), 1)
    # What never changed in training is not blown up later; an outlier is bounded.
    np.testing.assert_allclose(scaling(np.array([[2.0, 8, 1e9]])) * np.sqrt(3), [[0, 1, 5]])


def test_main_directions_keep_what_varies_together() -> None:
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(300, 2))
    features = hidden @ generator.normal(size=(2, 20))
    scaling = Scaling.of(features, 2)
    assert scaling(features).shape == (300, 2)
    whole = ((features - features.mean(0)) / features.std(0)) ** 2
    clipped = np.abs(features - features.mean(0)) / features.std(0) > 5
    assert not clipped.any()
    assert (scaling(features) ** 2).sum() * 20 == pytest.approx(whole.sum())


def test_folds_keep_groups_whole_and_even() -> None:
    groups = np.repeat(np.arange(60) * 7, np.random.default_rng(1).integers(1, 30, 60))
    folds = group_folds(groups, 10, seed=0)
    of_group = {g: set(folds[groups == g].tolist()) for g in np.unique(groups).tolist()}
    assert all(len(found) == 1 for found in of_group.values())
    counts = np.bincount([found.pop() for found in of_group.values()])
    assert counts.tolist() == [6] * 10
    order = np.random.default_rng(2).permutation(len(groups))
    np.testing.assert_array_equal(group_folds(groups[order], 10, seed=0), folds[order])
    assert (group_folds(groups, 10, seed=1) != folds).any()
    with pytest.raises(TrainingError, match="found 61 for 60 groups"):
        group_folds(groups, 61, seed=0)
