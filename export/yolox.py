"""Imports YOLOX models in the ONNX form that YOLOX's own exporter writes (not decoded inside)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vinfer.backends import SessionOptions, TensorSpec, load
from vinfer.bundles import Nms, Preprocess, YoloxDecode
from vinfer.errors import ConfigError
from vinfer.export.cards import yolox_card
from vinfer.export.coco import COCO_CATEGORY_IDS, COCO_LABELS
from vinfer.export.detector import pack_detector, read_graph_file, sha256_hex
from vinfer.export.download import Progress


def import_yolox(
    model: Path,
    *,
    name: str | None = None,
    labels: Sequence[str] | None = None,
    licence: str = "not stated by the file",
    output: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Pack a YOLOX model into a bundle; the graph is not changed.

    Args:
        model: ONNX with one input ``[1, 3, h, w]`` (BGR 0..255, no normalisation, padded at the
            bottom right with 114, as YOLOX does since 0.1.1) and one output
            ``[1, a, 5 + classes]``.
        name: of the bundle; default: the file's name, "yolox_nano.onnx" gives "yolox-nano".
        labels: class names; default: the 80 of COCO.
        licence: of the weights.
        output: the bundle to write; default ``NAME.vinfer`` in the folder for bundles.
        progress: takes a line for each step.

    Returns:
        The bundle's path.

    Raises:
        BundleError: the file can't be read.
        ConfigError: its inputs or outputs are not those of YOLOX, or of another number of classes.
        BackendError: it is not an ONNX model that can be loaded.
        OutputError: the bundle can't be written.
    """
    report = progress or (lambda _: None)
    report(f"reading {model}")
    graph = read_graph_file(model)
    size, output_name = _layout(graph)
    name = name or model.stem.lower().replace("_", "-")
    report(f"packing {name} ({size[0]}x{size[1]})")
    digest = sha256_hex(graph)
    return pack_detector(
        graph,
        name=name,
        bundle_version="1.0.0",
        labels=COCO_LABELS if labels is None else labels,
        category_ids=COCO_CATEGORY_IDS if labels is None else None,
        preprocess=Preprocess(
            size=size, mode="pad", align="top_left", rounding="floor", color="BGR"
        ),
        decode=YoloxDecode(output=output_name),
        nms=Nms(score_threshold=0.3, iou_threshold=0.65, max_detections=100),
        source=f"{model.name} (SHA-256 {digest})",
        trained_on="not stated by the file"
        + (" (its classes are COCO's)" if labels is None else ""),
        licence=licence,
        card=yolox_card(name, model.name, digest, size, licence),
        output=output,
    )


def _layout(graph: bytes) -> tuple[tuple[int, int], str]:
    """(height, width) of the input and the name of the output."""
    session = load(graph, SessionOptions(provider="cpu"))
    try:
        inputs, outputs = session.inputs, session.outputs
    finally:
        session.close()
    size = _fixed_size(inputs[0]) if len(inputs) == 1 else None
    if size is None or len(outputs) != 1:
        raise ConfigError(
            f"found inputs {[(spec.name, spec.shape) for spec in inputs]} and outputs "
            f"{[(spec.name, spec.shape) for spec in outputs]}, expected one input of a fixed size "
            "and one output; export YOLOX without --dynamic and without --decode_in_inference"
        )
    return size, outputs[0].name


def _fixed_size(spec: TensorSpec) -> tuple[int, int] | None:
    if len(spec.shape) != 4:
        return None
    height, width = spec.shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
