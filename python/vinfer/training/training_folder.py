"""What a finished training left in its folder, put together again."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vinfer.errors import TrainingError
from vinfer.stores.files import output_error
from vinfer.training.relation_config import RelationTrainingConfig, parse_training_config
from vinfer.training.relation_data import RelationData

if TYPE_CHECKING:
    from vinfer.training.relation_network import RelationNetwork

WEIGHTS, RECORD = "network.pt", "training.json"
_SCHEMA = "vinfer.training/1"


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a training was.

    Attributes:
        config: of the training.
        classes, predicates: its vocabularies.
        map_star: mAP* of the best epoch on the validation pictures, in [0, 1].
    """

    config: RelationTrainingConfig
    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    map_star: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TrainedRelations(TrainingRecord):
    """The same with what came of it.

    Attributes:
        network: with the weights of the best epoch, ready to score.
    """

    network: RelationNetwork


def write_record(
    folder: Path, config: RelationTrainingConfig, data: RelationData, *, map_star: float
) -> Path:
    """Write down what the weights are for.

    Args:
        folder: of the training; made where it is missing.
        config: of the training.
        data: with its vocabularies.
        map_star: of the weights on the validation pictures.

    Returns:
        The file, ``training.json``.

    Raises:
        OutputError: it can't be written.
    """
    path = folder / RECORD
    record = {
        "schema": _SCHEMA,
        "config": config.model_dump(mode="json"),
        "classes": list(data.classes),
        "predicates": list(data.predicates),
        "map_star": map_star,
    }
    partial = path.with_name(RECORD + ".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(record, indent=1) + "\n")
        partial.replace(path)
    except OSError as exc:
        raise output_error(path, exc) from exc
    return path


def read_record(folder: Path) -> TrainingRecord:
    """Read what `write_record` wrote.

    Raises:
        TrainingError: there is none, or it is damaged.
        ConfigError: its configuration is of another version of vinfer.
    """
    path = folder / RECORD
    try:
        record: Any = json.loads(path.read_text())
    except OSError as exc:
        raise TrainingError(
            f"{path}: can't be read: {exc.strerror}; expected the folder that `vinfer train "
            "relations --output` wrote"
        ) from exc
    except ValueError as exc:
        raise TrainingError(f"{path}: not JSON ({exc}); train again into this folder") from exc
    try:
        if record["schema"] != _SCHEMA:
            raise ValueError(f"found schema {record['schema']!r}, expected {_SCHEMA!r}")
        classes, predicates = (
            tuple(str(name) for name in record[key]) for key in ("classes", "predicates")
        )
        content, map_star = record["config"], float(record["map_star"])
    except (KeyError, TypeError, ValueError) as exc:
        raise TrainingError(f"{path}: not the record of a training: {exc!r}") from exc
    config = parse_training_config(content, str(path))
    return TrainingRecord(config, classes, predicates, map_star)


def load_trained(folder: Path) -> TrainedRelations:
    """Read the folder of a training that is finished.

    Raises:
        TrainingError: it is not such a folder, or a file in it is damaged.
        ConfigError: its configuration is of another version of vinfer.
        MissingDependencyError: PyTorch is not installed.
    """
    record = read_record(folder)
    from vinfer.training.relation_training import load_network

    vocabularies = RelationData(record.classes, record.predicates, (), True, collections.Counter())
    network = load_network(folder / WEIGHTS, record.config, vocabularies)
    return TrainedRelations(
        record.config, record.classes, record.predicates, record.map_star, network
    )
