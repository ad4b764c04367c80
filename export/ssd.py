"""SSD-MobileNetV2 300x300: TensorFlow's frozen graph to ONNX.

The feature extractor and the box predictors are walked from their twelve outputs back to the
preprocessor; constants are evaluated, batch normalisation is folded into the convolutions, and SAME
padding is written as explicit, possibly uneven pads, which every runtime treats alike. TensorFlow's
anchor, suppression and loop nodes are replaced by constants and a few arithmetic nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vinfer.errors import BundleError
from vinfer.export.graph_builder import GraphBuilder
from vinfer.export.ssd_anchors import GRIDS, VARIANCES, anchors_per_cell, make_anchors
from vinfer.export.tensorflow_graph import Constants, TensorflowGraph, TensorflowNode

SIZE = 300
_CLASSES_WITH_BACKGROUND = 91
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


class _Tensor(NamedTuple):
    name: str
    channels: int
    side: int


def convert_ssd(graph: TensorflowGraph, category_ids: Sequence[int], *, raw: bool = False) -> bytes:
    """An ONNX model of the detector.

    Args:
        graph: the frozen graph of ``ssd_mobilenet_v2_coco``.
        category_ids: the columns to keep; the network has one for each of 1..90, ten never used.
        raw: also give what the boxes and scores are computed from.

    Returns:
        A serialised model. Input ``images`` float32 ``[N, 3, 300, 300]``, RGB 0..255, normalised
        inside. Outputs ``boxes`` float32 ``[N, 1917, 4]``, xyxy as fractions of the picture, not
        clipped; ``scores`` float32 ``[N, 1917, classes]`` in [0, 1]; with ``raw`` also ``codes``
        ``[N, 1917, 4]`` and ``logits`` ``[N, 1917, 91]``, background first.

    Raises:
        BundleError: a node is missing or is not what this network has.
        MissingDependencyError: onnx is not installed.
    """
    builder = GraphBuilder()
    builder.node("Mul", ["images", builder.constant("rate", 1 / 127.5)], "images/scaled")
    builder.node("Sub", ["images/scaled", builder.constant("one", 1.0)], "images/normalised")
    walk = _Walk(graph, builder, "images/normalised")
    codes = walk.head("BoxEncodingPredictor", 4, "codes")
    logits = walk.head("ClassPredictor", _CLASSES_WITH_BACKGROUND, "logits")
    anchors = make_anchors()
    _decode(builder, codes, anchors)
    builder.constant("category_ids", category_ids, np.int64)
    builder.node("Gather", [logits, "category_ids"], "logits/used", axis=2)
    builder.node("Sigmoid", ["logits/used"], "scores")
    rows = len(anchors)
    outputs: dict[str, Sequence[int | str]] = {
        "boxes": ["N", rows, 4],
        "scores": ["N", rows, len(category_ids)],
    }
    if raw:
        outputs |= {codes: ["N", rows, 4], logits: ["N", rows, _CLASSES_WITH_BACKGROUND]}
    return builder.model("ssd_mobilenet_v2_coco", {"images": ["N", 3, SIZE, SIZE]}, outputs)


def _decode(builder: GraphBuilder, codes: str, anchors: npt.NDArray[np.float64]) -> None:
    """Codes to corners: `vinfer.export.ssd_anchors.decode_boxes` as nodes."""
    centres, sizes = anchors[None, :, :2], anchors[None, :, 2:]
    centre_variances, size_variances = np.array(VARIANCES[:2]), np.array(VARIANCES[2:])
    builder.constant("code_parts", [2, 2], np.int64)
    builder.node("Split", [codes, "code_parts"], "codes/yx", "codes/hw", axis=2)
    builder.constant("anchor/step", sizes / centre_variances)
    builder.node("Mul", ["codes/yx", "anchor/step"], "centre/offset")
    builder.node("Add", ["centre/offset", builder.constant("anchor/centre", centres)], "centre")
    builder.node("Mul", ["codes/hw", builder.constant("size/rate", 1 / size_variances)], "size/log")
    builder.node("Exp", ["size/log"], "size/factor")
    builder.node("Mul", ["size/factor", builder.constant("anchor/half", sizes / 2)], "half")
    builder.node("Sub", ["centre", "half"], "corners/low")
    builder.node("Add", ["centre", "half"], "corners/high")
    builder.node("Concat", ["corners/low", "corners/high"], "corners", axis=2)
    builder.constant("yx_to_xy", [1, 0, 3, 2], np.int64)
    builder.node("Gather", ["corners", "yx_to_xy"], "boxes", axis=2)


class _Walk:
    """Writes what a TensorFlow tensor depends on, each node once."""

    def __init__(self, graph: TensorflowGraph, builder: GraphBuilder, picture: str) -> None:
        self._graph = graph
        self._builder = builder
        self._constants = Constants(graph)
        self._written: dict[str, _Tensor] = {}
        self._picture = _Tensor(picture, 3, SIZE)
        self._zero = builder.constant("relu6/low", 0.0)
        self._six = builder.constant("relu6/high", 6.0)

    def head(self, predictor: str, columns: int, output: str) -> str:
        """One predictor over all feature maps as ``[N, 1917, columns]``."""
        parts = []
        shape = self._builder.constant(f"{output}/shape", [0, -1, columns], np.int64)
        for layer, grid in enumerate(GRIDS):
            name = f"BoxPredictor_{layer}/{predictor}/BiasAdd"
            source = self._tensor(name)
            channels = anchors_per_cell(layer) * columns
            if source.side != grid or source.channels != channels:
                raise BundleError(
                    f"{name}: found {source.channels} channels on {source.side}x{source.side} "
                    f"cells, expected {channels} on {grid}x{grid}; only "
                    "ssd_mobilenet_v2_coco converts"
                )
            rows = self._builder.node(
                "Transpose", [source.name], f"{output}_{layer}/nhwc", perm=[0, 2, 3, 1]
            )
            parts.append(self._builder.node("Reshape", [rows, shape], f"{output}_{layer}"))
        return self._builder.node("Concat", parts, output, axis=1)

    def _tensor(self, name: str) -> _Tensor:
        if name not in self._written:
            self._written[name] = self._write(self._node(name))
        return self._written[name]

    def _node(self, name: str) -> TensorflowNode:
        if name not in self._graph:
            raise BundleError(
                f'node "{name}" is missing, expected the frozen graph of ssd_mobilenet_v2_coco'
            )
        return self._graph[name]

    def _write(self, node: TensorflowNode) -> _Tensor:
        if node.name.startswith("Preprocessor/"):
            return self._picture
        if node.op == "Identity":
            return self._tensor(node.inputs[0])
        if node.op == "Relu6":
            source = self._tensor(node.inputs[0])
            self._builder.node("Clip", [source.name, self._zero, self._six], node.name)
            return source._replace(name=node.name)
        if node.op in ("Add", "BiasAdd"):
            return self._write_sum(node)
        if node.op in _CONVOLUTIONS:
            return self._convolution(node, np.float64(1), np.float64(0), node.name)
        raise BundleError(
            f'{node.name}: found operation "{node.op}", expected one that ssd_mobilenet_v2_coco has'
        )

    def _write_sum(self, node: TensorflowNode) -> _Tensor:
        """A residual connection, or a convolution with its batch normalisation or bias."""
        shift = self._constants.value(node.inputs[1])
        if shift is None:
            first, second = (self._tensor(name) for name in node.inputs)
            self._builder.node("Add", [first.name, second.name], node.name)
            return first._replace(name=node.name)
        inner = self._node(node.inputs[0])
        scale: npt.NDArray[np.float64] | np.float64 | None = np.float64(1)
        if inner.op == "Mul":
            scale = self._constants.value(inner.inputs[1])
            inner = self._node(inner.inputs[0])
        if scale is None or inner.op not in _CONVOLUTIONS:
            raise BundleError(
                f'{node.name}: found "{inner.op}" under a constant sum, expected a convolution'
            )
        return self._convolution(inner, scale, shift, node.name)

    def _convolution(
        self,
        node: TensorflowNode,
        scale: npt.NDArray[np.float64] | np.float64,
        shift: npt.NDArray[np.float64] | np.float64,
        output: str,
    ) -> _Tensor:
        """The convolution ``node``, times ``scale``, plus ``shift`` (one a channel)."""
        weights = self._constants.value(node.inputs[1])
        dilations = node.integers("dilations")
        if weights is None or node.text("padding") != "SAME" or any(d != 1 for d in dilations):
            raise BundleError(
                f"{node.name}: expected constant weights, SAME padding and no dilation"
            )
        groups = 1
        weights = weights.astype(np.float64)
        if node.op == "DepthwiseConv2dNative":
            height, width, groups, multiplier = weights.shape
            weights = weights.reshape(height, width, 1, groups * multiplier)
        weights = (weights * scale).transpose(3, 2, 0, 1)
        channels, _, kernel, _ = weights.shape
        stride = node.integers("strides")[1]
        source = self._tensor(node.inputs[0])
        side = -(-source.side // stride)
        padding = max((side - 1) * stride + kernel - source.side, 0)
        before, after = padding // 2, padding - padding // 2
        self._builder.node(
            "Conv",
            [
                source.name,
                self._builder.constant(f"{output}/weights", weights),
                self._builder.constant(f"{output}/bias", np.broadcast_to(shift, (channels,))),
            ],
            output,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            pads=[before, before, after, after],
        )
        return _Tensor(output, channels, side)
