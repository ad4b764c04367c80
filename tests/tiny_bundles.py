"""Two tiny bundles made by code, whose answers follow from a picture's mean colour.

Pictures are of 64x64 pixels. The bicycle stands still; the person's box moves to the right with the
mean red, so red 0 rides the bicycle and red 250 stands beside it. Mean blue above 200 makes the
detector's scores NaN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from vinfer.bundles import DetectionManifest, RelationManifest, write_bundle
from vinfer.types import UInt8Array

LABELS = ["person", "bicycle"]
PREDICATES = ["ride", "near"]
PROVENANCE = {"source": "code", "created_by": "a test", "trained_on": "nothing"}

RIDING, APART = 0, 250  # mean red
NAN_BLUE = 250
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def plain(red: int, *, blue: int = 0) -> UInt8Array:
    """A picture of one colour."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0], image[..., 2] = red, blue
    return image


def serialised(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]
) -> bytes:
    """An ONNX model."""
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def detector_graph() -> bytes:
    """boxes = base + red * shift; scores = constants, NaN where blue is too high."""
    base = np.array([[[2, 4, 26, 44], [4, 24, 30, 60]]], np.float32)
    shift = np.zeros((1, 2, 4), np.float32)
    shift[0, 0, ::2] = 36 / 250
    node = helper.make_node
    return serialised(
        [
            node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
            node("Gather", ["mean", "red_index"], ["red"], axis=1),
            node("Gather", ["mean", "blue_index"], ["blue"], axis=1),
            node("Unsqueeze", ["red", "last"], ["red3"]),
            node("Unsqueeze", ["blue", "last"], ["blue3"]),
            node("Mul", ["red3", "shift"], ["moved"]),
            node("Add", ["base", "moved"], ["boxes"]),
            node("Sub", ["too_blue", "blue3"], ["room"]),
            node("Sqrt", ["room"], ["root"]),
            node("Mul", ["root", "zero"], ["nothing"]),
            node("Add", ["constant_scores", "nothing"], ["scores"]),
        ],
        [helper.make_tensor_value_info("image", FLOAT, [1, 3, 64, 64])],
        [
            helper.make_tensor_value_info("boxes", FLOAT, [1, 2, 4]),
            helper.make_tensor_value_info("scores", FLOAT, [1, 2, 2]),
        ],
        {
            "red_index": np.array([0], np.int64),
            "blue_index": np.array([2], np.int64),
            "last": np.array([2], np.int64),
            "base": base,
            "shift": shift,
            "too_blue": np.float32(200),
            "zero": np.float32(0),
            "constant_scores": np.array([[[0.9, 0], [0, 0.8]]], np.float32),
        },
    )


def relation_graph() -> bytes:
    """P(person rides bicycle) = sigmoid((15 - distance of left edges) / 3); "near" is 0.1."""
    node = helper.make_node
    boxes = [
        helper.make_tensor_value_info(f"{who}_box", FLOAT, ["m", 4])
        for who in ("subject", "object")
    ]
    return serialised(
        [
            node("Gather", ["subject_box", "left"], ["s_left"], axis=1),
            node("Gather", ["object_box", "left"], ["o_left"], axis=1),
            node("Sub", ["s_left", "o_left"], ["offset"]),
            node("Abs", ["offset"], ["distance"]),
            node("Sub", ["far", "distance"], ["margin"]),
            node("Div", ["margin", "softness"], ["logit"]),
            node("Sigmoid", ["logit"], ["close"]),
            node("Equal", ["s", "person"], ["is_person"]),
            node("Cast", ["is_person"], ["is_person_float"], to=FLOAT),
            node("Unsqueeze", ["is_person_float", "last"], ["subject_fits"]),
            node("Cast", ["o"], ["is_bicycle"], to=FLOAT),
            node("Unsqueeze", ["is_bicycle", "last"], ["object_fits"]),
            node("Mul", ["close", "subject_fits"], ["half"]),
            node("Mul", ["half", "object_fits"], ["ride"]),
            node("Mul", ["ride", "zero"], ["nothing"]),
            node("Add", ["nothing", "tenth"], ["near"]),
            node("Concat", ["ride", "near"], ["scores"], axis=1),
        ],
        [
            helper.make_tensor_value_info("s", INT64, ["m"]),
            helper.make_tensor_value_info("o", INT64, ["m"]),
            *boxes,
        ],
        [helper.make_tensor_value_info("scores", FLOAT, ["m", 2])],
        {
            "left": np.array([0], np.int64),
            "last": np.array([1], np.int64),
            "person": np.array(0, np.int64),
            "far": np.float32(15),
            "softness": np.float32(3),
            "zero": np.float32(0),
            "tenth": np.float32(0.1),
        },
    )


def picture_relation_graph() -> bytes:
    """Looks at the picture: P(anything rides anything) = 1 - mean red; "near" is 0.1.

    ``images`` are on 0..1 (mean 0, std 255). Boxes, labels and pairs only say how many rows.
    """
    node = helper.make_node
    return serialised(
        [
            node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
            node("Gather", ["mean", "red_index"], ["red"], axis=1),
            node("Sub", ["one", "red"], ["not_red"]),
            node("Gather", ["box_images", "zero_index"], ["picture"], axis=0),
            node("Gather", ["not_red", "picture"], ["of_picture"], axis=0),
            node("Gather", ["pairs", "zero_index"], ["subjects"], axis=1),
            node("Gather", ["boxes", "subjects"], ["subject_boxes"], axis=0),
            node("ReduceMin", ["subject_boxes"], ["least"], axes=[2], keepdims=0),
            node("Gather", ["labels", "subjects"], ["subject_labels"], axis=0),
            node("Cast", ["subject_labels"], ["label_values"], to=FLOAT),
            node("Add", ["least", "label_values"], ["rows"]),
            node("Mul", ["rows", "zero"], ["nothing"]),
            node("Add", ["nothing", "of_picture"], ["ride"]),
            node("Add", ["nothing", "tenth"], ["near"]),
            node("Concat", ["ride", "near"], ["scores"], axis=1),
        ],
        [
            helper.make_tensor_value_info("images", FLOAT, ["N", 3, "H", "W"]),
            helper.make_tensor_value_info("boxes", FLOAT, ["n", 4]),
            helper.make_tensor_value_info("box_images", INT64, ["n"]),
            helper.make_tensor_value_info("labels", INT64, ["n"]),
            helper.make_tensor_value_info("pairs", INT64, ["m", 2]),
        ],
        [helper.make_tensor_value_info("scores", FLOAT, ["m", 2])],
        {
            "red_index": np.array([0], np.int64),
            "zero_index": np.array([0], np.int64),
            "one": np.float32(1),
            "zero": np.float32(0),
            "tenth": np.float32(0.1),
        },
    )


def tensor(name: str, dtype: str, shape: list[int | str]) -> dict[str, Any]:
    """A manifest's entry for a graph input or output."""
    return {"name": name, "dtype": dtype, "shape": shape}


def pack_detector(folder: Path, graph: bytes, *, name: str = "tiny-detector") -> Path:
    """A detection bundle for a graph with the inputs and outputs of `detector_graph`."""
    manifest = {
        "name": name,
        "version": "1.0",
        "inputs": [tensor("image", "float32", [1, 3, 64, 64])],
        "outputs": [tensor("boxes", "float32", [1, 2, 4]), tensor("scores", "float32", [1, 2, 2])],
        "files": {},
        "provenance": PROVENANCE,
        "licence": "Apache-2.0",
        "labels": LABELS,
        "preprocess": {"size": [64, 64], "mode": "stretch"},
        "decode": {
            "kind": "boxes_scores",
            "boxes": "boxes",
            "scores": "scores",
            "normalized": False,
        },
        "nms": {"score_threshold": 0.3, "iou_threshold": 0.9},
    }
    return write_bundle(
        folder / f"{name}.vinfer",
        DetectionManifest.model_validate(manifest),
        {"model.onnx": graph, "card.md": f"# {name}\n".encode()},
    )


def pack_relations(folder: Path, graph: bytes, *, name: str = "tiny-relations") -> Path:
    """A relation bundle for a graph with the inputs and outputs of `relation_graph`."""
    manifest = {
        "name": name,
        "version": "1.0",
        "inputs": [
            tensor("s", "int64", ["m"]),
            tensor("o", "int64", ["m"]),
            tensor("subject_box", "float32", ["m", 4]),
            tensor("object_box", "float32", ["m", 4]),
        ],
        "outputs": [tensor("scores", "float32", ["m", 2])],
        "files": {},
        "provenance": PROVENANCE,
        "licence": "Apache-2.0",
        "labels": LABELS,
        "predicates": PREDICATES,
        "input_roles": {
            "subject_labels": "s",
            "object_labels": "o",
            "subject_boxes": "subject_box",
            "object_boxes": "object_box",
        },
        "detector": "tiny-detector",
        "events": {"ride": {"on": 0.6, "off": 0.4, "min_duration": 0.2}},
    }
    return write_bundle(
        folder / f"{name}.vinfer",
        RelationManifest.model_validate(manifest),
        {"model.onnx": graph, "card.md": f"# {name}\n".encode()},
    )


def pack_picture_relations(folder: Path, graph: bytes, *, name: str = "tiny-pictures") -> Path:
    """A relation bundle that looks at the picture, for `picture_relation_graph`."""
    inputs = [
        tensor("images", "float32", ["N", 3, "H", "W"]),
        tensor("boxes", "float32", ["n", 4]),
        tensor("box_images", "int64", ["n"]),
        tensor("labels", "int64", ["n"]),
        tensor("pairs", "int64", ["m", 2]),
    ]
    manifest = {
        "name": name,
        "version": "1.0",
        "inputs": inputs,
        "outputs": [tensor("scores", "float32", ["m", 2])],
        "files": {},
        "provenance": PROVENANCE,
        "licence": "Apache-2.0",
        "labels": LABELS,
        "predicates": PREDICATES,
        "input_roles": {each["name"]: each["name"] for each in inputs},
        "picture": {"short_side": 32, "long_side": 48, "std": [255, 255, 255]},
        "detector": "tiny-detector",
        "events": {"ride": {"on": 0.6, "off": 0.4, "min_duration": 0.2}},
    }
    return write_bundle(
        folder / f"{name}.vinfer",
        RelationManifest.model_validate(manifest),
        {"model.onnx": graph, "card.md": f"# {name}\n".encode()},
    )
