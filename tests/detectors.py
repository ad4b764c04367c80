"""Tiny detectors made of constants, so that most tests need no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

from vinfer.bundles import (
    BoxesScoresDecode,
    Bundle,
    DetectionManifest,
    Nms,
    Preprocess,
    Provenance,
    TensorSpec,
    YoloxDecode,
    write_bundle,
)

PICTURE = "images"


def constant_graph(
    outputs: Mapping[str, npt.NDArray[np.float32]], size: tuple[int, int] = (32, 32)
) -> bytes:
    """A model with input ``images [N, 3, h, w]`` that gives ``outputs`` whatever the picture."""
    nodes = [helper.make_node("Identity", [f"{name}/value"], [name]) for name in outputs]
    constants = [numpy_helper.from_array(a, f"{name}/value") for name, a in outputs.items()]
    shapes = {name: list(a.shape) for name, a in outputs.items()}
    return _model(nodes, constants, size, shapes)


def channel_mean_graph(size: tuple[int, int] = (32, 32)) -> bytes:
    """A model that finds the whole input, with the mean of each channel / 255 as scores."""
    height, width = size
    box = np.array([[[0, 0, width, height]]], np.float32)
    nodes = [
        helper.make_node("Identity", ["boxes/value"], ["boxes"]),
        helper.make_node("ReduceMean", [PICTURE], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["means", "rows"], ["means/rows"]),
        helper.make_node("Mul", ["means/rows", "rate"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(box, "boxes/value"),
        numpy_helper.from_array(np.array([1], np.int64), "rows"),
        numpy_helper.from_array(np.array(1 / 255, np.float32), "rate"),
    ]
    return _model(nodes, constants, size, {"boxes": [1, 1, 4], "scores": ["N", 1, 3]})


def detection_manifest(
    *,
    labels: tuple[str, ...] = ("cat", "dog", "bird"),
    category_ids: tuple[int, ...] | None = None,
    preprocess: Preprocess | None = None,
    decode: BoxesScoresDecode | YoloxDecode | None = None,
    nms: Nms | None = None,
) -> DetectionManifest:
    """A manifest for the graphs above; ``boxes`` and ``scores`` in input pixels unless told."""
    preprocess = preprocess or Preprocess(size=(32, 32), mode="stretch")
    decode = decode or BoxesScoresDecode(boxes="boxes", scores="scores", normalized=False)
    names = [decode.output] if isinstance(decode, YoloxDecode) else [decode.boxes, decode.scores]
    return DetectionManifest(
        name="tiny",
        version="1.0.0",
        inputs=(TensorSpec(name=PICTURE, dtype="float32", shape=("N", 3, *preprocess.size)),),
        outputs=tuple(TensorSpec(name=n, dtype="float32", shape=("N", "a", "c")) for n in names),
        files={},
        provenance=Provenance(source="made by a test", created_by="tests", trained_on="nothing"),
        licence="Apache-2.0",
        labels=labels,
        category_ids=category_ids,
        preprocess=preprocess,
        decode=decode,
        nms=nms or Nms(score_threshold=0.5, iou_threshold=0.5),
    )


def tiny_bundle(folder: Path, graph: bytes, manifest: DetectionManifest) -> Bundle:
    """The graph and manifest packed and opened."""
    path = write_bundle(
        folder / "tiny.vinfer", manifest, {manifest.graph: graph, "card.md": b"# tiny\n"}
    )
    return Bundle.open(path)


def _model(
    nodes: list[object],
    constants: list[object],
    size: tuple[int, int],
    shapes: Mapping[str, list[int | str]],
) -> bytes:
    picture = helper.make_tensor_value_info(PICTURE, TensorProto.FLOAT, ["N", 3, *size])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "tiny", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
