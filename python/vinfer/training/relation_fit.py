"""Fitting the relation prior: the loop, early stop, calibration. Deterministic by seed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vinfer.errors import TrainingError
from vinfer.training.relation_data import PairTable
from vinfer.training.relation_model import RelationPrior
from vinfer.types import Float32Array, Int64Array

EPOCHS = 14
PATIENCE = 3
BATCH_PAIRS = 2048
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-4

UNANNOTATED_WEIGHT = 0.5
"""A pair that nobody described may still be related: it counts half as much as a described one."""

CALIBRATION_PRIOR = 4.0
"""Pulls a rare predicate's calibration towards none; in units of pairs' log loss."""

Progress = Callable[[int, int, float], None]
"""Takes the number of epochs done, of all, and the loss on the held-out pictures."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """What the network is fitted to.

    Attributes:
        subject_labels, object_labels: int64 ``[m]``.
        subject_boxes, object_boxes: float32 ``[m, 4]``.
        targets: float32 ``[m, predicates]``, 0 or 1.
        weights: float32 ``[m, predicates]``; 0 where a pair says nothing about a predicate.
    """

    subject_labels: Tensor
    object_labels: Tensor
    subject_boxes: Tensor
    object_boxes: Tensor
    targets: Tensor
    weights: Tensor

    @classmethod
    def of(cls, table: PairTable, targets: npt.NDArray[np.bool_]) -> Pairs:
        """All pairs of a table; ``targets`` bool ``[m, predicates]``."""
        described = targets.any(1, keepdims=True)
        weights = np.where(described, 1.0, UNANNOTATED_WEIGHT).astype(np.float32)
        return cls(
            torch.from_numpy(table.subject_labels),
            torch.from_numpy(table.object_labels),
            torch.from_numpy(table.subject_boxes),
            torch.from_numpy(table.object_boxes),
            torch.from_numpy(targets.astype(np.float32)),
            torch.from_numpy(np.broadcast_to(weights, targets.shape).copy()),
        )

    def with_denied(
        self,
        source: Int64Array,
        subject_boxes: Float32Array,
        denied: npt.NDArray[np.bool_],
    ) -> Pairs:
        """These pairs and copies of some, with another subject box, where predicates are untrue.

        Args:
            source: int64 ``[k]``, the pair that each copy is made from.
            subject_boxes: float32 ``[k, 4]``.
            denied: bool ``[predicates]``; the copies say nothing about the others.
        """
        copies = self.at(torch.from_numpy(source))
        copies = dataclasses.replace(
            copies,
            subject_boxes=torch.from_numpy(subject_boxes),
            targets=torch.zeros_like(copies.targets),
            weights=torch.from_numpy(denied.astype(np.float32)).expand(len(source), -1),
        )
        return Pairs(
            *(
                torch.cat([getattr(self, field.name), getattr(copies, field.name)])
                for field in dataclasses.fields(self)
            )
        )

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, rows: Tensor) -> Pairs:
        """The pairs at an index tensor, in that order."""
        return Pairs(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def loss(self, logits: Tensor) -> Tensor:
        """Weighted binary cross-entropy, summed over predicates, mean over pairs."""
        each = functional.binary_cross_entropy_with_logits(
            logits, self.targets, self.weights, reduction="sum"
        )
        return each / self.weights.mean(1).sum()


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Same seed, same bits on one machine; the caller's torch settings come back afterwards.

    One thread: sums over batches must not depend on how many cores there are, and on tensors of
    this size a second one gains little.
    """
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


def fit(
    network: RelationPrior, pairs: Pairs, held_out: Pairs, progress: Progress | None
) -> tuple[int, float]:
    """Train in place, keep the weights of the epoch that is best on ``held_out``.

    Returns:
        Number of epochs run, and the best loss on ``held_out``.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    network.fit_geometry(pairs.subject_boxes, pairs.object_boxes)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = math.ceil(len(pairs) / BATCH_PAIRS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=EPOCHS * batches, pct_start=0.1
    )
    best, best_epoch, kept = math.inf, 0, network.state_dict()
    for epoch in range(1, EPOCHS + 1):
        network.train()
        for rows in torch.split(torch.randperm(len(pairs)), BATCH_PAIRS):
            batch = pairs.at(rows)
            loss = batch.loss(
                network(
                    batch.subject_labels,
                    batch.object_labels,
                    batch.subject_boxes,
                    batch.object_boxes,
                )
            )
            _check_finite(loss.item(), epoch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        held_out_loss = held_out.loss(predict(network, held_out)).item()
        _check_finite(held_out_loss, epoch)
        if progress is not None:
            progress(epoch, EPOCHS, held_out_loss)
        if held_out_loss < best:
            best, best_epoch = held_out_loss, epoch
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    network.load_state_dict(kept)
    network.eval()
    return epoch, best


def predict(network: RelationPrior, pairs: Pairs) -> Tensor:
    """Uncalibrated logits without dropout, float32 ``[m, predicates]``."""
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(
            pairs.subject_labels, pairs.object_labels, pairs.subject_boxes, pairs.object_boxes
        )
    return logits


def calibrate(network: RelationPrior, held_out: Pairs) -> None:
    """Fit scale and offset of each predicate's logit to ``held_out`` (Platt 1999), in place."""
    logits = predict(network, held_out)
    scale = network.calibration_scale.clone().requires_grad_()
    offset = network.calibration_offset.clone().requires_grad_()
    # Any: torch leaves this class untyped.
    optimizer: Any = torch.optim.LBFGS(
        [scale, offset], max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-4
    )

    def closure() -> float:
        optimizer.zero_grad()
        pull = CALIBRATION_PRIOR * ((scale - 1).square().sum() + offset.square().sum())
        loss = held_out.loss(logits * scale + offset) * len(held_out) + pull
        torch.autograd.backward(loss)
        return loss.item()

    optimizer.step(closure)
    _check_finite((scale + offset).sum().item(), 0)
    with torch.no_grad():
        # A negative slope would turn the order round: only a handful of positives can do that.
        network.calibration_scale.copy_(scale.clamp(min=0.1))
        network.calibration_offset.copy_(offset)


def _check_finite(value: float, epoch: int) -> None:
    if not math.isfinite(value):
        when = f"in epoch {epoch}" if epoch else "in calibration"
        raise TrainingError(
            f"the loss became {value} {when}, expected a number; nothing was written. "
            "Try another seed"
        )
