"""A relation bundle that looks at one known place of the picture, made by code.

The score of "person ride anything" is the mean green of `SPOT` on 0..1, that of "near" always 0.02.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from tiny_bundles import LABELS, PREDICATES, PROVENANCE, serialised, tensor

from vinfer.bundles import RelationManifest, write_bundle
from vinfer.types import UInt8Array

SPOT = (12, 28, 20, 36)  # xyxy, within both boxes of `tiny_bundles` at red 0
NAME = "looking-relations"
SIZE = 64


def lit(green: int) -> UInt8Array:
    """A black picture, green at `SPOT`."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    x1, y1, x2, y2 = SPOT
    image[y1:y2, x1:x2, 1] = green
    return image


def looking_graph() -> bytes:
    """See the top of the file; boxes are read and not used."""
    node = helper.make_node
    info = helper.make_tensor_value_info
    x1, y1, x2, y2 = SPOT
    return serialised(
        [
            node("Slice", ["images", "from", "to", "axes"], ["spot"]),
            node("ReduceMean", ["spot"], ["mean"], keepdims=0),
            node("Div", ["mean", "full"], ["signed_level"]),
            node("Relu", ["signed_level"], ["level"]),
            node("ReduceSum", ["boxes"], ["box_sum"], keepdims=0),
            node("Mul", ["box_sum", "zero"], ["no_boxes"]),
            node("Cast", ["box_images"], ["images_float"], to=TensorProto.FLOAT),
            node("ReduceSum", ["images_float"], ["image_sum"], keepdims=0),
            node("Mul", ["image_sum", "zero"], ["no_images"]),
            node("Sum", ["level", "no_boxes", "no_images"], ["seen"]),
            node("Gather", ["pairs", "first"], ["subjects"], axis=1),
            node("Gather", ["labels", "subjects"], ["subject_labels"]),
            node("Equal", ["subject_labels", "person"], ["is_person"]),
            node("Cast", ["is_person"], ["is_person_float"], to=TensorProto.FLOAT),
            node("Mul", ["is_person_float", "ride"], ["ride_row"]),
            node("Mul", ["ride_row", "seen"], ["ride_score"]),
            node("Add", ["ride_score", "near"], ["scores"]),
        ],
        [
            info("images", TensorProto.FLOAT, ["n", 3, "h", "w"]),
            info("boxes", TensorProto.FLOAT, ["k", 4]),
            info("box_images", TensorProto.INT64, ["k"]),
            info("labels", TensorProto.INT64, ["k"]),
            info("pairs", TensorProto.INT64, ["m", 2]),
        ],
        [info("scores", TensorProto.FLOAT, ["m", 2])],
        {
            "from": np.array([1, y1, x1], np.int64),
            "to": np.array([2, y2, x2], np.int64),
            "axes": np.array([1, 2, 3], np.int64),
            "first": np.array([0], np.int64),
            "person": np.int64(0),
            "full": np.float32(255),
            "zero": np.float32(0),
            "ride": np.array([1, 0], np.float32),
            "near": np.array([0, 0.02], np.float32),
        },
    )


def pack_looking(folder: Path, *, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    """The bundle, for the detector of `tiny_bundles`."""
    names = ("images", "boxes", "box_images", "labels", "pairs")
    manifest = {
        "name": NAME,
        "version": "1.0",
        "inputs": [
            tensor("images", "float32", ["n", 3, "h", "w"]),
            tensor("boxes", "float32", ["k", 4]),
            tensor("box_images", "int64", ["k"]),
            tensor("labels", "int64", ["k"]),
            tensor("pairs", "int64", ["m", 2]),
        ],
        "outputs": [tensor("scores", "float32", ["m", 2])],
        "files": {},
        "provenance": PROVENANCE,
        "licence": "Apache-2.0",
        "labels": LABELS,
        "predicates": PREDICATES,
        "input_roles": {name: name for name in names},
        "picture": {"short_side": SIZE, "long_side": SIZE, "mean": mean},
        "detector": "tiny-detector",
        "events": {"ride": {"on": 0.6, "off": 0.4, "min_duration": 0.2}},
    }
    return write_bundle(
        folder / f"{NAME}.vinfer",
        RelationManifest.model_validate(manifest),
        {"model.onnx": looking_graph(), "card.md": b"# looks at one place\n"},
    )
