"""Packs a detector's ONNX graph into a bundle, after a run has shown that the manifest fits it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from vinfer.backends import Session, SessionOptions, load
from vinfer.bundles import (
    BoxesScoresDecode,
    DetectionManifest,
    Nms,
    Preprocess,
    Provenance,
    TensorSpec,
    YoloxDecode,
    default_bundle_dir,
    write_bundle,
)
from vinfer.errors import BundleError, ConfigError


def pack_detector(
    graph: bytes,
    *,
    name: str,
    bundle_version: str,
    labels: Sequence[str],
    category_ids: Sequence[int] | None = None,
    preprocess: Preprocess,
    decode: BoxesScoresDecode | YoloxDecode,
    nms: Nms,
    source: str,
    trained_on: str,
    licence: str,
    card: str,
    notes: str = "",
    quality: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    output: Path | None = None,
) -> Path:
    """A detection bundle of any ONNX graph with one picture input and a known decode.

    Args:
        graph: a serialised ONNX model; input float32 ``[N or 1, 3, height, width]``.
        name: lower case letters, digits, ``.``, ``_`` and ``-``.
        bundle_version: version of the bundle, "1.0.0".
        labels: class name of each score column.
        category_ids: COCO category id of each, where they are COCO's classes.
        preprocess: how a picture becomes the input.
        decode: how the outputs become boxes and scores.
        nms: thresholds to start from; a `Detector` can override them.
        source: where the weights come from.
        trained_on: the data.
        licence: licence of the weights, as it is stated.
        card: text of ``card.md``.
        notes: anything else about provenance.
        quality: measured figures.
        files: further files by name (licence texts).
        output: the bundle to write; default ``NAME.vinfer`` in the folder for bundles.

    Returns:
        The bundle's path.

    Raises:
        ConfigError: the graph's inputs or outputs do not fit what was said of them, or a field
            can't stand in a manifest.
        BackendError: the graph can't be loaded.
        OutputError: the bundle can't be written.
    """
    session = load(graph, SessionOptions(provider="cpu"))
    try:
        _check_fit(session, preprocess, decode, len(labels))
        inputs, outputs = session.inputs, session.outputs
    finally:
        session.close()
    try:
        manifest = DetectionManifest(
            name=name,
            version=bundle_version,
            inputs=tuple(TensorSpec.model_validate(dataclasses.asdict(spec)) for spec in inputs),
            outputs=tuple(TensorSpec.model_validate(dataclasses.asdict(spec)) for spec in outputs),
            files={},
            provenance=Provenance(
                source=source,
                created_by=f"vinfer {version('vinfer')}",
                trained_on=trained_on,
                notes=notes,
            ),
            licence=licence,
            quality=dict(quality or {}),
            labels=tuple(labels),
            category_ids=None if category_ids is None else tuple(category_ids),
            preprocess=preprocess,
            decode=decode,
            nms=nms,
        )
    except pydantic.ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{field}: found {first['input']!r}; {first['msg']}") from exc
    return write_bundle(
        output or default_bundle_dir() / f"{name}.vinfer",
        manifest,
        {manifest.graph: graph, "card.md": card.encode(), **(files or {})},
    )


def read_graph_file(path: Path) -> bytes:
    """The bytes of a file to export from.

    Raises:
        BundleError: it is not there or can't be read.
    """
    try:
        return path.expanduser().read_bytes()
    except OSError as exc:
        raise BundleError(f"{path}: {exc.strerror or exc}; check the path") from exc


def sha256_hex(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _check_fit(
    session: Session,
    preprocess: Preprocess,
    decode: BoxesScoresDecode | YoloxDecode,
    num_classes: int,
) -> None:
    height, width = preprocess.size
    if len(session.inputs) != 1:
        raise ConfigError(
            f"graph: found inputs {[spec.name for spec in session.inputs]}, expected one picture"
        )
    picture = session.inputs[0]
    fixed = [(have, want) for have, want in zip(picture.shape, (1, 3, height, width), strict=False)]
    if (
        picture.dtype != "float32"
        or len(picture.shape) != 4
        or any(isinstance(have, int) and have != want for have, want in fixed)
    ):
        raise ConfigError(
            f'input "{picture.name}": found {picture.dtype} {list(picture.shape)}, '
            f"expected float32 [N, 3, {height}, {width}]"
        )
    found = session.run({picture.name: np.zeros((1, 3, height, width), np.float32)})
    shapes = {name: tuple(array.shape) for name, array in found.items()}
    for name, rows, columns in _expected_outputs(decode, preprocess, num_classes, shapes):
        if shapes.get(name) != (1, rows, columns):
            raise ConfigError(
                f'output "{name}": expected [1, {rows}, {columns}] ({num_classes} labels), '
                f"found {shapes}"
            )


def _expected_outputs(
    decode: BoxesScoresDecode | YoloxDecode,
    preprocess: Preprocess,
    num_classes: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[tuple[str, int, int]]:
    """(output, rows, columns) that the decode kind needs."""
    if isinstance(decode, YoloxDecode):
        height, width = preprocess.size
        rows = sum((height // stride) * (width // stride) for stride in decode.strides)
        return [(decode.output, rows, 5 + num_classes)]
    boxes = shapes.get(decode.boxes, ())
    if len(boxes) != 3:
        raise ConfigError(f'output "{decode.boxes}": expected [1, a, 4], found {shapes}')
    return [(decode.boxes, boxes[1], 4), (decode.scores, boxes[1], num_classes)]
