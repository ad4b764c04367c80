"""Trains the detector of sprites. Deterministic by seed, on one thread."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vinfer.errors import ConfigError, TrainingError
from vinfer.training.key64 import key64
from vinfer.training.picture_tensors import mirrored_boxes
from vinfer.training.relation_fit import reproducible
from vinfer.training.sprite_detector_network import SpriteDetectorNetwork
from vinfer.training.sprite_detector_pictures import LabelledPicture
from vinfer.training.sprite_detector_targets import cell_targets

MEAN, STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)
"""Of values 0 to 255."""

BATCH_PICTURES = 8
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-4
DISTANCE_WEIGHT = 0.5
"""Of the loss of a pixel, against that of the scores."""

Progress = Callable[[int, int, float], None]
"""Takes the number of batches done and of all, and the loss of the last one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network.

    Attributes:
        network: in evaluation mode.
        losses: mean of each epoch.
        seconds: that the training took.
    """

    network: SpriteDetectorNetwork
    losses: tuple[float, ...]
    seconds: float


def fit(
    pictures: Sequence[LabelledPicture],
    *,
    epochs: int,
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train a network; half of the pictures of a batch are mirrored.

    The same pictures, epochs and seed give the same bits on one machine.

    Args:
        pictures: of one size; one or more.
        epochs: 1 or more.
        seed: of weights, order and mirrored pictures, 0 or more.
        progress: called after each batch.

    Raises:
        ConfigError: there is no picture, or fewer than one epoch.
        TrainingError: the loss is no longer finite.
    """
    if not pictures:
        raise ConfigError("pictures: found none, expected at least one")
    if epochs < 1:
        raise ConfigError(f"epochs: found {epochs}, expected 1 or more")
    started = time.monotonic()
    batches = math.ceil(len(pictures) / BATCH_PICTURES)
    losses = []
    with reproducible(seed):
        network = SpriteDetectorNetwork()
        # Any: PyTorch's stubs know no memory format here; channels last is faster.
        move: Any = network.to
        move(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=epochs * batches, pct_start=0.15
        )
        network.train()
        for epoch in range(epochs):
            random = np.random.default_rng(key64(seed, epoch))
            total = 0.0
            order = random.permutation(len(pictures))
            for number, rows in enumerate(np.array_split(order, batches)):
                images, *targets = collated(
                    [pictures[k] for k in rows], random.random(len(rows)) < 0.5
                )
                loss = detection_loss(*network(images), *targets)
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingError(f"epoch {epoch + 1}: the loss is {value}; try another seed")
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                total += value
                if progress is not None:
                    progress(epoch * batches + number + 1, epochs * batches, value)
            losses.append(total / batches)
    return Fitted(network.eval(), tuple(losses), time.monotonic() - started)


def collated(
    pictures: Sequence[LabelledPicture], mirrored: Iterable[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch.

    Args:
        pictures: of one size.
        mirrored: whether to exchange left and right, for each.

    Returns:
        Images ``[n, 3, height, width]``, normalised; heat, distances and owned as `CellTargets` has
        them, with ``n`` before. All float32.
    """
    images, targets = [], []
    for picture, flip in zip(pictures, mirrored, strict=True):
        image, boxes = picture.image, picture.boxes
        height, width = image.shape[:2]
        if flip:
            image, boxes = image[:, ::-1], mirrored_boxes(boxes, width)
        images.append(np.ascontiguousarray(image))
        targets.append(cell_targets(picture.labels, boxes, (height, width)))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (
        (stacked - mean) / std,
        torch.from_numpy(np.stack([target.heat for target in targets])),
        torch.from_numpy(np.stack([target.distances for target in targets])),
        torch.from_numpy(np.stack([target.owned for target in targets])),
    )


def detection_loss(
    logits: Tensor, distances: Tensor, heat: Tensor, true_distances: Tensor, owned: Tensor
) -> Tensor:
    """Focal loss of the scores (Zhou et al. 2019, equation 1) an object, and pixels off a side.

    Args:
        logits, distances: the network's.
        heat, true_distances, owned: the targets.
    """
    log_p, log_not = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = torch.sigmoid(logits)
    is_centre = heat == 1
    positive = (1 - p) ** 2 * log_p
    negative = (1 - heat) ** 4 * p**2 * log_not
    count = is_centre.sum().clamp(min=1)
    scores = -torch.where(is_centre, positive, negative).sum() / count
    off = ((distances - true_distances).abs().mean(1) * owned).sum() / owned.sum().clamp(min=1)
    return scores + DISTANCE_WEIGHT * off
