"""Bundles: what is deployed. A manifest, ONNX graphs and a card, in a folder or one zip."""

from vinfer.bundles.bundle import Bundle, write_bundle
from vinfer.bundles.find import EXPORTABLE, default_bundle_dir, find_bundle, known_bundles
from vinfer.bundles.inspect import describe_bundle
from vinfer.bundles.manifest import (
    BoxesScoresDecode,
    DetectionManifest,
    EventThresholds,
    FileEntry,
    Manifest,
    Nms,
    PicturePreprocess,
    Preprocess,
    Provenance,
    RelationManifest,
    TensorSpec,
    YoloxDecode,
    manifest_json,
    parse_manifest,
)

__all__ = [
    "EXPORTABLE",
    "BoxesScoresDecode",
    "Bundle",
    "DetectionManifest",
    "EventThresholds",
    "FileEntry",
    "Manifest",
    "Nms",
    "PicturePreprocess",
    "Preprocess",
    "Provenance",
    "RelationManifest",
    "TensorSpec",
    "YoloxDecode",
    "default_bundle_dir",
    "describe_bundle",
    "find_bundle",
    "known_bundles",
    "manifest_json",
    "parse_manifest",
    "write_bundle",
]
