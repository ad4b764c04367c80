"""Shortcut probes: how far relations can be told without a look at the pixels.

A data set on which a probe scores well can't show that a network sees relations. So train the
probes beside every network, on the same pictures, and compare.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vinfer.errors import TrainingError
from vinfer.training.relation_data import (
    PairTable,
    RelationData,
    check_vocabulary,
    pair_table,
)
from vinfer.training.relation_fit import reproducible
from vinfer.types import Float32Array

HIDDEN = 64
BATCH_PAIRS = 512
LEARNING_RATE = 2e-3
MIN_SIZE = 1e-6
"""Pixels. Smaller unions and sizes count as this."""


def class_pair_scores(training: RelationData, test: RelationData) -> Float32Array:
    """The first probe: the share of training pairs of these two classes that a predicate holds for.

    Args:
        training: what the shares are counted on.
        test: with the same vocabularies.

    Returns:
        float32 ``[m, predicates]`` in [0, 1], in the order of `relation_data.pair_table` on the
        test data; 0 for classes that no training pair has.

    Raises:
        TrainingError: the vocabularies differ.
    """
    names = training.classes, training.predicates
    check_vocabulary("test data", test, *names, "the training data")
    known, asked = pair_table(training), pair_table(test)
    classes = len(training.classes)
    of_known = known.subject_labels * classes + known.object_labels
    pairs = np.bincount(of_known, minlength=classes**2)
    shares = np.stack(
        [
            np.bincount(of_known, weights=column, minlength=classes**2) / np.maximum(pairs, 1)
            for column in known.annotated.T
        ],
        1,
    )
    scores: Float32Array = shares[asked.subject_labels * classes + asked.object_labels].astype(
        np.float32
    )
    return scores


def geometry_scores(
    training: RelationData, test: RelationData, *, seed: int = 0, epochs: int = 20
) -> Float32Array:
    """The second probe: a perceptron of two hidden layers on classes and boxes.

    It gets both classes, where both boxes lie in their union (the eight coefficients of the
    positional maps) and the logarithms of the widths and heights.

    Args:
        training: what it is fitted to.
        test: with the same vocabularies.
        seed: of weights and order, 0 or more; same seed, same scores on one machine.
        epochs: passes over all training pairs, 1 or more.

    Returns:
        float32 ``[m, predicates]`` in [0, 1], in the order of `relation_data.pair_table` on the
        test data.

    Raises:
        TrainingError: the vocabularies differ, or ``seed`` or ``epochs`` is out of range.
    """
    names = training.classes, training.predicates
    check_vocabulary("test data", test, *names, "the training data")
    if seed < 0 or epochs < 1:
        raise TrainingError(
            f"seed {seed}, epochs {epochs}: expected a seed of 0 or more, and 1 epoch or more"
        )
    classes = len(training.classes)
    known, asked = pair_table(training), pair_table(test)
    inputs, targets = pair_features(known, classes), torch.from_numpy(known.annotated).float()
    mean, spread = inputs.mean(0), inputs.std(0).clamp(min=1e-3)
    with reproducible(seed):
        network = nn.Sequential(
            *(nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU()),
            *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
            nn.Linear(HIDDEN, targets.shape[1]),
        )
        _fit(network, (inputs - mean) / spread, targets, epochs)
        with torch.no_grad():
            scores = network((pair_features(asked, classes) - mean) / spread).sigmoid()
    result: Float32Array = scores.numpy()
    return result


def pair_features(pairs: PairTable, num_classes: int) -> Tensor:
    """float32 ``[m, 2 * num_classes + 12]``: one-hot classes, positions in the union, log sizes."""
    labels = [
        functional.one_hot(torch.from_numpy(column), num_classes).float()
        for column in (pairs.subject_labels, pairs.object_labels)
    ]
    boxes = [torch.from_numpy(column) for column in (pairs.subject_boxes, pairs.object_boxes)]
    low = torch.minimum(boxes[0][:, :2], boxes[1][:, :2])
    high = torch.maximum(boxes[0][:, 2:], boxes[1][:, 2:])
    union = (high - low).clamp(min=MIN_SIZE)
    sizes = [box[:, 2:] - box[:, :2] for box in boxes]
    offsets = [2 * (box[:, :2] - low) / union - 1 for box in boxes]
    extents = [2 * size / union for size in sizes]
    logarithms = [size.clamp(min=MIN_SIZE).log() for size in sizes]
    return torch.cat([*labels, *offsets, *extents, *logarithms], 1)


def _fit(network: nn.Module, inputs: Tensor, targets: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    steps = epochs * -(-len(inputs) // BATCH_PAIRS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs)), BATCH_PAIRS):
            loss = functional.binary_cross_entropy_with_logits(network(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
