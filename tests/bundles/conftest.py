"""A small detection bundle, made by code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vinfer.bundles import DetectionManifest, write_bundle

GRAPH = bytes(range(256)) * 16
CARD = b"# dot-detector\n\nFinds dots.\n"


def manifest_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "dot-detector",
        "version": "1.2.0",
        "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 3, 64, 96]}],
        "outputs": [
            {"name": "boxes", "dtype": "float32", "shape": [1, "a", 4]},
            {"name": "scores", "dtype": "float32", "shape": [1, "a", 2]},
        ],
        "files": {},
        "provenance": {"source": "code", "created_by": "a test", "trained_on": "nothing"},
        "licence": "Apache-2.0",
        "labels": ["dot", "dash"],
        "preprocess": {"size": [64, 96], "mode": "pad"},
        "decode": {
            "kind": "boxes_scores",
            "boxes": "boxes",
            "scores": "scores",
            "normalized": False,
        },
        "nms": {"score_threshold": 0.3, "iou_threshold": 0.5},
        **changes,
    }


@pytest.fixture
def fields() -> Callable[..., dict[str, Any]]:
    """The manifest's fields, with changes given by keyword."""
    return manifest_fields


@pytest.fixture
def files() -> dict[str, bytes]:
    return {"model.onnx": GRAPH, "card.md": CARD}


@pytest.fixture
def manifest() -> DetectionManifest:
    return DetectionManifest.model_validate(manifest_fields())


@pytest.fixture
def packed(tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]) -> Path:
    """The bundle as a zip."""
    return write_bundle(tmp_path / "dot-detector.vinfer", manifest, files)


@pytest.fixture
def folder(tmp_path: Path, packed: Path) -> Path:
    """The bundle as a folder."""
    import zipfile

    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "dot-detector")
    return tmp_path / "dot-detector"
