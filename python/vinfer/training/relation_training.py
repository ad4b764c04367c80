"""Trains the visual relationship network; ended at any moment, it goes on to the same bits."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from vinfer.bundles import find_bundle
from vinfer.errors import MissingDependencyError, TrainingError
from vinfer.threads import usable_threads
from vinfer.training.batches import Batch, RelationBatches, keep_hardest
from vinfer.training.checkpoints import load_checkpoint, save_checkpoint
from vinfer.training.detected_boxes import detections_of, with_detected_boxes
from vinfer.training.relation_config import RelationTrainingConfig
from vinfer.training.relation_data import RelationData, check_vocabulary
from vinfer.training.relation_network import RelationNetwork
from vinfer.training.relation_scoring import PairScores, score_pairs
from vinfer.training.training_folder import WEIGHTS, write_record

CHECKPOINT, LOGS = "checkpoint.pt", "logs"


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is.

    Attributes:
        epoch, batch: the ones that are done, from 1.
        epochs, batches: how many there are, in all and in this epoch.
        loss: of the last batch.
        map_star: best validation mAP* so far, in [0, 1]; None before the first epoch ends.
        seconds_left: at the speed so far, without an early end.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    map_star: float | None
    seconds_left: float


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        epochs: that were run, those before a resumption included.
        best_epoch: the one whose weights were kept, from 1.
        map_star: its validation mAP*, in [0, 1].
        seconds: of this run.
        dropped_batches: in which no pair was related, of all epochs.
        skipped: rows of the training's and the validation's files that could not be used, by
            reason.
        weights: the file with the weights of the best epoch.
    """

    epochs: int
    best_epoch: int
    map_star: float
    seconds: float
    dropped_batches: int
    skipped: dict[str, int]
    weights: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {**dataclasses.asdict(self), "weights": str(self.weights)}


def train_relations(
    config: RelationTrainingConfig,
    output: Path,
    *,
    data: tuple[RelationData, RelationData] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train, validate after every epoch, keep the best weights.

    Where ``output`` holds a checkpoint of the same configuration, training goes on from it and ends
    with the weights that it would have had without the interruption, to the bit where the number of
    threads is the same: another number rounds sums differently.

    Args:
        config: what to do.
        output: folder for ``checkpoint.pt``, ``network.pt`` (the best weights),
            ``training.json`` (what they are for) and ``logs`` (TensorBoard's format).
        data: training and validation data; None: those that the configuration names.
        progress: called after every batch.

    Raises:
        BundleError: the configuration's detector is none.
        TrainingError: the data can't be used, training and validation have other names or another
            order of them, the loss is no number, or the checkpoint is damaged or of another
            configuration.
        OutputError: a checkpoint or the record can't be written.
        MissingDependencyError: tensorboardX is not installed.
    """
    torch.set_num_threads(config.threads or usable_threads())
    if config.detector is not None:
        find_bundle(config.detector)  # before the work of reading data
    training, validation = data or config.data.load()
    names = training.classes, training.predicates
    check_vocabulary("validation data", validation, *names, "the training data")
    if config.detector is not None:
        training = with_detected_boxes(training, detections_of(training, config.detector))
    run = _Run(config, output, training, validation, progress or (lambda _: None))
    with _logs(output / LOGS) as log:
        result = run.finish(log)
    write_record(output, config, training, map_star=result.map_star)
    return result


def load_network(path: Path, config: RelationTrainingConfig, data: RelationData) -> RelationNetwork:
    """A network with the weights that `train_relations` kept, ready to score.

    Raises:
        TrainingError: the file is not there, damaged or of another network.
    """
    network = RelationNetwork(config.network.config(data))
    try:
        network.load_state_dict(load_checkpoint(path))
    except RuntimeError as exc:
        raise TrainingError(f"{path}: weights of another network: {exc}") from exc
    return network.eval()


class _Run:
    def __init__(
        self,
        config: RelationTrainingConfig,
        output: Path,
        training: RelationData,
        validation: RelationData,
        progress: Callable[[Progress], None],
    ) -> None:
        self._config = config
        self._output = output
        self._validation = validation
        self._progress = progress
        self._batches = RelationBatches(training, config.batch_settings())
        torch.manual_seed(config.seed)
        self._network = RelationNetwork(config.network.config(training))
        # Any: PyTorch's stubs know no memory format here; channels last is faster.
        move: Any = self._network.to
        move(memory_format=torch.channels_last)
        if config.network.weights is not None:
            if self._network.trunk is None:
                raise TrainingError("network: found weights for a trunk with visual off")
            self._network.trunk.load_weights(config.network.weights)
        self._optimizer = torch.optim.Adam(
            self._network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self._steps_an_epoch = len(self._batches.plan(0).batches)
        self._epoch = self._batch = 0
        self._dropped = 0
        self._best_epoch, self._best = 0, -math.inf
        self._best_weights: dict[str, Any] = {}
        self._began = self._saved = time.monotonic()
        self._done_before = 0
        if (output / CHECKPOINT).exists():
            self._restore(load_checkpoint(output / CHECKPOINT))

    def finish(self, log: Callable[[str, float, int], None]) -> TrainingResult:
        patience = self._config.patience or self._config.epochs
        while self._epoch < self._config.epochs and self._epoch - self._best_epoch < patience:
            self._train_epoch(log)
            quality = self._validate()
            log("validation/mAP_star", quality, self._epoch)
            if quality > self._best:
                self._best, self._best_epoch = quality, self._epoch
                weights = self._network.state_dict()
                self._best_weights = {name: value.clone() for name, value in weights.items()}
            self._save()
        save_checkpoint(self._output / WEIGHTS, self._best_weights)
        return TrainingResult(
            epochs=self._epoch,
            best_epoch=self._best_epoch,
            map_star=self._best,
            seconds=round(time.monotonic() - self._began, 1),
            dropped_batches=self._dropped,
            skipped=dict(self._batches.data.skipped + self._validation.skipped),
            weights=self._output / WEIGHTS,
        )

    def _train_epoch(self, log: Callable[[str, float, int], None]) -> None:
        plan = self._batches.plan(self._epoch)
        self._network.train()
        for batch in self._batches.epoch(self._epoch, start=self._batch):
            step = self._epoch * self._steps_an_epoch + self._batch
            loss = self._step(batch, step)
            self._batch += 1
            log("training/loss", loss, step)
            self._progress(self._where(loss, len(plan.batches)))
            if time.monotonic() - self._saved > 60 * self._config.checkpoint_minutes:
                self._save()
        self._dropped += plan.skipped["batch_without_positives"]
        self._epoch += 1
        self._batch = 0

    def _step(self, batch: Batch, step: int) -> float:
        share = min(1.0, step / max(1, self._config.epochs * self._steps_an_epoch))
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        with self._autocast():
            picture = self._network.picture_features(torch.from_numpy(batch.images))
        if self._config.batches.hard_negatives > 1:
            with torch.no_grad():
                batch = keep_hardest(batch, self._logits(picture, batch).numpy())
        loss = self._network.loss(
            self._logits(picture, batch),
            torch.from_numpy(batch.labels),
            torch.from_numpy(batch.known),
        )
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"epoch {self._epoch + 1}, batch {batch.number}: the loss is {value}, expected a "
                "number; lower learning_rate or look at these pictures: "
                f"{', '.join(batch.names[:5])}. The last checkpoint is as it was"
            )
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return value

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            "cpu", dtype=torch.bfloat16, enabled=self._config.precision == "bfloat16"
        )

    def _logits(self, picture: torch.Tensor | None, batch: Batch) -> torch.Tensor:
        with self._autocast():
            logits = self._network.pair_logits(
                picture,
                torch.from_numpy(batch.boxes),
                torch.from_numpy(batch.box_images),
                torch.from_numpy(batch.class_labels),
                torch.from_numpy(batch.pairs[:, 1:]),
            )
        return logits.float()

    def _validate(self) -> float:
        scored: PairScores = score_pairs(
            self._network, self._validation, self._config.batch_settings()
        )
        quality = scored.quality(self._validation.predicates, self._config.ignored).mean_star
        if quality is None:
            raise TrainingError(
                "validation data: found no relation of a predicate that is not ignored, expected "
                "some; without them no epoch is better than another"
            )
        return quality

    def _where(self, loss: float, batches: int) -> Progress:
        done = self._epoch * self._steps_an_epoch + self._batch
        here = max(1, done - self._done_before)
        left = self._config.epochs * self._steps_an_epoch - done
        return Progress(
            epoch=self._epoch + 1,
            epochs=self._config.epochs,
            batch=self._batch,
            batches=batches,
            loss=loss,
            map_star=self._best if self._best_epoch else None,
            seconds_left=(time.monotonic() - self._began) / here * left,
        )

    def _save(self) -> None:
        self._saved = time.monotonic()
        save_checkpoint(
            self._output / CHECKPOINT,
            {
                "configuration": identity(self._config),
                "network": self._network.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "epoch": self._epoch,
                "batch": self._batch,
                "dropped": self._dropped,
                "best_epoch": self._best_epoch,
                "best": self._best,
                "best_weights": self._best_weights,
            },
        )

    def _restore(self, state: dict[str, Any]) -> None:
        path = self._output / CHECKPOINT
        if state.get("configuration") != identity(self._config):
            raise TrainingError(
                f"{path}: of another configuration; give another output folder, or delete it to "
                "start anew"
            )
        try:
            self._network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._epoch, self._batch = state["epoch"], state["batch"]
            self._dropped = state["dropped"]
            self._best_epoch, self._best = state["best_epoch"], state["best"]
            self._best_weights = state["best_weights"]
        except (KeyError, RuntimeError, ValueError) as exc:
            raise TrainingError(f"{path}: damaged ({exc}); delete it to start anew") from exc
        self._done_before = self._epoch * self._steps_an_epoch + self._batch


def identity(config: RelationTrainingConfig) -> str:
    """Hash of what decides the weights. Threads change only how sums are rounded."""
    content = config.model_dump(mode="json", exclude={"threads", "checkpoint_minutes"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _logs(folder: Path) -> Iterator[Callable[[str, float, int], None]]:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as exc:
        raise MissingDependencyError.of("tensorboardX", "train", exc) from exc
    with contextlib.closing(SummaryWriter(str(folder))) as writer:
        yield writer.add_scalar
