"""`vinfer train relation-prior`: from the VRD labels to a relation bundle that needs no picture."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import MissingDependencyError, TrainingError
from vinfer.training.relation_data import PairTable, RelationData, pair_table
from vinfer.training.thresholds import EventPrecision, choose_thresholds
from vinfer.training.vocabulary import COCO_ALIASES, COCO_SHARED, PREDICATES, reported_labels
from vinfer.training.vrd import load_vrd

HELD_OUT_PERCENT = 20
TRAIN_FILES = ("train.json.gz", "train.json")

DENIED_IN_FRONT = ("ride", "on", "on the top of", "sit on", "stand on", "drive")
"""What a person in front of something to ride does not do, by reported and by VRD's names."""

Progress = Callable[[int, int, float], None]
"""Takes the number of epochs done, of all at most, and the loss on the held-out pictures."""


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training did.

    Attributes:
        bundle: the file that was written.
        seed: as given.
        epochs: epochs run; fewer than the most where it stopped early.
        num_pairs, num_held_out: ordered pairs trained on, and kept for early stop, calibration and
            thresholds.
        held_out_loss: best log loss a held-out pair, summed over predicates.
        seconds: wall time.
        events: the predicates that may become events, with what their threshold gave.
        skipped: rows of the data that were left out, by reason.
    """

    bundle: Path
    seed: int
    epochs: int
    num_pairs: int
    num_held_out: int
    held_out_loss: float
    seconds: float
    events: Mapping[str, EventPrecision]
    skipped: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {**dataclasses.asdict(self), "bundle": str(self.bundle)}


def train(
    data_dir: Path, output: Path, *, seed: int = 0, progress: Progress | None = None
) -> TrainingReport:
    """Train, calibrate, choose thresholds and write the bundle.

    The same labels and seed give the same bytes on one machine. Nothing is written before all of it
    succeeded. One CPU core, below a minute for VRD.

    Args:
        data_dir: folder with ``train.json.gz`` or ``train.json`` (`vrd.load_vrd`); a test split
            there is never read.
        output: the ``.vinfer`` file.
        seed: of weights, order and made-up pairs; 0 or more.
        progress: called after each epoch.

    Raises:
        MissingDependencyError: torch or onnx is not installed.
        TrainingError: the labels can't be used, are too few, or the loss did not stay finite.
        OutputError: the bundle can't be written.
    """
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"{package} is not installed, and training needs it; "
                "install it with: pip install 'vinfer[train]'"
            )
    from vinfer.training import relation_fit
    from vinfer.training.counterfactuals import in_front_of_ridden
    from vinfer.training.relation_bundle import write_relation_prior
    from vinfer.training.relation_model import RelationPrior

    started = time.monotonic()
    if seed < 0:
        raise TrainingError(f"seed: found {seed}, expected 0 or more")
    split = load_vrd(_train_file(data_dir))
    table = pair_table(split)
    reported = reported_labels(table, split.classes, split.predicates)
    targets = np.concatenate([reported, table.annotated], 1)
    held_out = _held_out(split)[table.image]
    if not targets[held_out].any() or not targets[~held_out].any():
        raise TrainingError(
            f"{data_dir}: found {len(split.pictures)} pictures, too few to keep "
            f"{HELD_OUT_PERCENT} % of them for calibration; expected some dozens with relations"
        )
    training = table.select(~held_out)

    with relation_fit.reproducible(seed):
        pairs = relation_fit.Pairs.of(training, targets[~held_out])
        source, moved = in_front_of_ridden(
            training,
            reported[~held_out, PREDICATES.index("ride")],
            split.classes,
            np.random.default_rng(seed),
        )
        denied = np.isin((*PREDICATES, *split.predicates), DENIED_IN_FRONT)
        kept = relation_fit.Pairs.of(table.select(held_out), targets[held_out])
        network = RelationPrior(len(split.classes), targets.shape[1])
        epochs, loss = relation_fit.fit(
            network, pairs.with_denied(source, moved, denied), kept, progress
        )
        relation_fit.calibrate(network, kept)
        scores = network.scores(relation_fit.predict(network, kept)).numpy()

    detectable = _detectable(table.select(held_out), split)
    events = choose_thresholds(
        scores[detectable], targets[held_out][detectable], (*PREDICATES, *split.predicates)
    )
    bundle = write_relation_prior(
        output,
        {name: value.numpy() for name, value in network.state_dict().items()},
        classes=split.classes,
        vrd_predicates=split.predicates,
        chosen=events,
        quality={
            "VRD, held-out training pictures": {
                "pairs": int(held_out.sum()),
                "log_loss": round(loss, 4),
                "events": {name: measured.to_dict() for name, measured in events.items()},
            }
        },
        notes=(
            f"{int((~held_out).sum())} ordered pairs, {len(source)} made-up ones, seed {seed}; "
            f"{int(held_out.sum())} pairs of other pictures for early stop, calibration and "
            "thresholds."
        ),
    )
    return TrainingReport(
        bundle=bundle,
        seed=seed,
        epochs=epochs,
        num_pairs=int((~held_out).sum()),
        num_held_out=int(held_out.sum()),
        held_out_loss=loss,
        seconds=time.monotonic() - started,
        events=events,
        skipped=dict(split.skipped),
    )


def _train_file(data_dir: Path) -> Path:
    for name in TRAIN_FILES:
        if (data_dir / name).is_file():
            return data_dir / name
    raise TrainingError(
        f"{data_dir}: found neither {' nor '.join(TRAIN_FILES)}; "
        "give the folder with the VRD labels"
    )


def _held_out(split: RelationData) -> npt.NDArray[np.bool_]:
    """bool ``[images]``: chosen by name, so that more pictures do not move the others about."""
    digests = [hashlib.sha256(picture.name.encode()).digest() for picture in split.pictures]
    return np.array([int.from_bytes(d[:8]) % 100 < HELD_OUT_PERCENT for d in digests])


def _detectable(table: PairTable, split: RelationData) -> npt.NDArray[np.bool_]:
    """bool ``[m]``: pairs of classes that a COCO detector finds; events come of no others."""
    found = {*COCO_SHARED, *COCO_ALIASES.values()}
    known = np.array([name in found for name in split.classes])
    detectable: npt.NDArray[np.bool_] = known[table.subject_labels] & known[table.object_labels]
    return detectable
