"""Finds the part of a relation network's graph that `relation_factoring` rewrites."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError
from vinfer.export.functions import DOMAIN

if TYPE_CHECKING:
    import onnx

Float64Array = npt.NDArray[np.float64]

SUBJECT, OBJECT, UNION = range(3)


@dataclasses.dataclass
class PairConvolution:
    """The part that is rewritten.

    Attributes:
        conv: the first pair convolution, BatchNorm folded in.
        weight: float64 ``[K, channels, 3, 3]``; ``bias`` ``[K]``.
        offsets: first channel of the RoI features of each role; none for a graph without.
        map_offsets: first of the two channels of positional maps of each role, likewise.
        roi_align: of each role.
        features: the value at the end of the RoI stage, of each role.
        bins: of a map, height and width.
        num_features: of a RoI.
        union_extent: what the union's own maps are relative to, as `NetworkConfig` has it.
    """

    conv: onnx.NodeProto
    weight: Float64Array
    bias: Float64Array
    offsets: list[int]
    map_offsets: list[int]
    roi_align: list[onnx.NodeProto]
    features: list[str]
    bins: tuple[int, int]
    num_features: int
    union_extent: float | None


def find_pair_convolution(model: onnx.ModelProto) -> PairConvolution:
    """The first pair convolution and what it reads.

    Raises:
        InputError: the graph has no pair convolution of RoIs and positional maps.
    """
    from onnx import numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    roi_align = [n for n in graph.node if (n.domain, n.op_type) == (DOMAIN, "RoiAlign")]
    maps = [n for n in graph.node if (n.domain, n.op_type) == (DOMAIN, "PositionalMaps")]
    for node in graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if before is None or before.op_type != "Concat" or len(before.input) not in (3, 6):
            continue
        parts = list(before.input)
        map_names = [output for each in maps for output in each.output]
        features = [name for name in parts if name not in map_names]
        positions = [name for name in parts if name in map_names]
        if len(features) not in (0, 3) or len(positions) not in (0, 3):
            continue
        if len(features) == 3 and len(roi_align) != 3:
            continue
        weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
        bias = (
            numpy_helper.to_array(weights[node.input[2]]).astype(np.float64)
            if len(node.input) > 2
            else np.zeros(len(weight))
        )
        num_features = (weight.shape[1] - 2 * len(positions)) // 3 if features else 0
        widths = [2 if name in positions else num_features for name in parts]
        starts = [sum(widths[:k]) for k in range(len(parts))]
        attributes = {a.name: a.i for a in maps[0].attribute} if maps else {}
        return PairConvolution(
            conv=node,
            weight=weight,
            bias=bias,
            offsets=[starts[parts.index(name)] for name in features],
            map_offsets=[starts[parts.index(name)] for name in positions],
            roi_align=roi_align if features else [],
            features=features,
            bins=(attributes.get("height", 7), attributes.get("width", 7)),
            num_features=num_features,
            union_extent=_union_extent(producers[positions[UNION]], producers, weights)
            if positions
            else None,
        )
    raise InputError(
        "model: found no convolution over the RoI features and positional maps of subject, object "
        "and union, expected a graph that export_relation_network made"
    )


def _union_extent(
    maps: onnx.NodeProto,
    producers: dict[str, onnx.NodeProto],
    weights: dict[str, onnx.TensorProto],
) -> float | None:
    from onnx import numpy_helper

    boxes, reference = maps.input
    if reference == boxes:
        return None
    end = producers[producers[reference].input[1]]  # the corner's coordinates and the extent
    return float(numpy_helper.to_array(weights[end.input[1]]))
