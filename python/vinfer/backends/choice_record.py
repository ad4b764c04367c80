"""What a choice between backends was measured from, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic

from vinfer.backends.base import Array, Precision
from vinfer.backends.processor import this_processor
from vinfer.cache_folder import cache_folder

_logger = logging.getLogger(__name__)

_MAX_BYTES = 100_000


class Measured(pydantic.BaseModel):
    """One candidate."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    backend: str
    precision: Precision
    median_ms: float | None = None
    """Time of a round, milliseconds; None where it is refused."""
    refused: str = ""
    """Why it can't be taken; empty where it can."""

    def __str__(self) -> str:
        told = f"refused: {self.refused}" if self.median_ms is None else f"{self.median_ms:.3g} ms"
        return f"{self.name} {told}"

    @property
    def name(self) -> str:
        """Backend and precision."""
        return f"{self.backend} {self.precision}"


class Record(pydantic.BaseModel):
    """A choice and all that it depends on."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    key: dict[str, Any]
    chosen: str
    """The name of the candidate to take."""
    candidates: tuple[Measured, ...]
    rounds: int


def make_key(
    graph: bytes,
    versions: Mapping[str, str],
    *,
    threads: int,
    concurrent_runs: int,
    candidates: Sequence[str],
    sample: Mapping[str, Array] | None,
) -> dict[str, Any]:
    """All that a measurement depends on, JSON-ready.

    Args:
        graph: bytes of the ONNX file.
        versions: of vinfer and each backend.
        threads: for one run.
        concurrent_runs: runs at once.
        candidates: the names of all that could be taken.
        sample: inputs of the measurement; None for those that follow from the graph.
    """
    processor = this_processor()
    return {
        "graph": hashlib.sha256(graph).hexdigest(),
        "versions": dict(versions),
        "processor": processor.model,
        "flags": hashlib.sha256(" ".join(sorted(processor.flags)).encode()).hexdigest(),
        "threads": threads,
        "concurrent_runs": concurrent_runs,
        "candidates": list(candidates),
        "inputs": None
        if sample is None
        else {name: [str(array.dtype), *array.shape] for name, array in sorted(sample.items())},
    }


def record_path(key: Mapping[str, Any]) -> Path:
    """Where the choice for a key is kept: ``backends/`` in the cache folder."""
    text = json.dumps(key, sort_keys=True)
    return cache_folder() / "backends" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def read_record(key: dict[str, Any]) -> Record | None:
    """The choice that was kept for a key; None without one, and where the file is damaged."""
    path = record_path(key)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
        record = Record.model_validate_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:  # pydantic's error is a ValueError
        _logger.warning("%s is damaged (%s): measuring again", path, str(exc).splitlines()[0])
        return None
    names = [each.name for each in record.candidates]
    timed = [each.name for each in record.candidates if not each.refused and each.median_ms]
    if record.key != key or names != key["candidates"] or record.chosen not in timed:
        _logger.warning("%s is damaged (it does not fit its key): measuring again", path)
        return None
    return record


def write_record(record: Record) -> None:
    """Keep a choice, whole or not at all; where that can't be done, it is measured again."""
    path = record_path(record.key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=path.parent) as partial:
            file = Path(partial) / path.name
            file.write_text(record.model_dump_json(indent=1) + "\n")
            file.replace(path)
    except OSError as exc:
        _logger.warning("%s can't be written (%s): measured again next time", path, exc)
