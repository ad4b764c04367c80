"""Rewrites the graph of a relation network so that it does less for the same numbers.

The straight graph computes three RoIs a pair and a convolution over all of a pair's channels. But

- features depend on the box alone, and the union of (i, j) is that of (j, i): n + n(n - 1)/2 RoIs;
- the first pair convolution is linear, so it is a sum of one convolution a RoI and role;
- positional maps are affine in the bin's index, so their part is a small product with fixed maps,
  which hold the effect of the zero padding, too;
- linear class embeddings before a linear classifier are sums of table entries.

docs/relations.md has the figures.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError
from vinfer.export.batch_norm import fold_batch_norm, remove_unused_initializers
from vinfer.export.functions import DOMAIN, attach_functions

if TYPE_CHECKING:
    import onnx

Float64Array = npt.NDArray[np.float64]

SUBJECT, OBJECT, UNION = range(3)
MIN_EXTENT = 1e-6  # of a union; below it positions are 0, as in vinfer.ops.positional_maps
INT64_MAX = 2**63 - 1


def factor_relations(model: onnx.ModelProto) -> onnx.ModelProto:
    """The factored form of a graph that `export_relation_network` made.

    Args:
        model: with inputs ``images``, ``boxes``, ``box_images``, ``labels`` and ``pairs``. It is
            not changed.

    Returns:
        A model with the same inputs and output, equal to about 1e-6 of the largest logit.

    Raises:
        InputError: the graph has no pair convolution of RoIs and positional maps.
    """
    folded = fold_batch_norm(model)
    pair = _find_pair(folded)
    graph = folded.graph
    builder = _Builder(graph)
    kept = _without_pair(graph, pair)
    subject, object_ = builder.column("pairs", 0), builder.column("pairs", 1)
    unions = _Unions(builder, subject, object_)
    terms = _visual_terms(builder, pair, unions) if pair.roi_align else []
    terms.append(_position_term(builder, pair, unions, bias=pair.bias))
    total = terms[0]
    for term in terms[1:]:
        total = builder.node("Add", [total, term])
    _replace_input(kept, pair.conv.output[0], total)
    _factor_embeddings(builder, kept, subject, object_)
    nodes = _in_order(graph, [*kept, *builder.nodes])
    del graph.node[:]
    graph.node.extend(nodes)
    remove_unused_nodes(graph)
    remove_unused_initializers(graph)
    # Shapes that the exporter noted down are those of the straight graph.
    del graph.value_info[:]
    graph.value_info.extend(builder.shapes)
    return attach_functions(folded)


@dataclasses.dataclass
class _Pair:
    """The part that is rewritten.

    Attributes:
        conv: the first pair convolution, BatchNorm folded in.
        weight: float64 ``[K, channels, 3, 3]``; ``bias`` ``[K]``.
        offsets: first channel of the RoI features of each role; none for a graph without.
        map_offsets: first of the two channels of positional maps of each role, likewise.
        roi_align: of each role.
        features: the value at the end of the RoI stage, of each role.
        bins: of a map, height and width.
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


def _find_pair(model: onnx.ModelProto) -> _Pair:
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
        return _Pair(
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


class _Builder:
    """New nodes with names that no other value has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.shapes: list[onnx.ValueInfoProto] = []
        self._count = 0

    def name(self, hint: str) -> str:
        self._count += 1
        return f"factored_{hint}_{self._count}"

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        return self.nodes_of(op, inputs, 1, **attributes)[0]

    def nodes_of(
        self, op: str, inputs: list[str], num_outputs: int, **attributes: Any
    ) -> list[str]:
        from onnx import helper

        outputs = [self.name(op.lower()) for _ in range(num_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def constant(self, value: Any, dtype: npt.DTypeLike) -> str:
        from onnx import numpy_helper

        name = self.name("constant")
        array = np.asarray(value, dtype)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def gather(self, rows: str, indices: str) -> str:
        return self.node("Gather", [rows, indices], axis=0)

    def column(self, table: str, index: int) -> str:
        return self.node("Gather", [table, self.constant(index, np.int64)], axis=1)

    def state_shape(self, name: str, *dims: int | str) -> str:
        """Write down the shape of a float32 value, where inference can't tell it."""
        from onnx import TensorProto, helper

        self.shapes.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return name

    def slice(self, value: str, begin: int | str, end: int | str, axis: int) -> str:
        bounds = [self.ints(b) if isinstance(b, int) else b for b in (begin, end)]
        return self.node("Slice", [value, *bounds, self.ints(axis)])


class _Unions:
    """Unordered pairs, each once, and where each ordered pair finds its own."""

    def __init__(self, builder: _Builder, subject: str, object_: str) -> None:
        self.subject, self.object = subject, object_
        shape = builder.node("Shape", ["boxes"])
        self.num_boxes = builder.slice(shape, 0, 1, 0)
        low = builder.node("Min", [subject, object_])
        high = builder.node("Max", [subject, object_])
        key = builder.node("Add", [builder.node("Mul", [low, self.num_boxes]), high])
        keys, _, self.index, _ = builder.nodes_of("Unique", [key], 4, sorted=1)
        self.first = builder.node("Div", [keys, self.num_boxes])
        second = builder.node("Mod", [keys, self.num_boxes])
        self.boxes = _union(builder, *(builder.gather("boxes", i) for i in (self.first, second)))


def _union(builder: _Builder, first: str, second: str) -> str:
    low = builder.node("Min", [builder.slice(box, 0, 2, 1) for box in (first, second)])
    high = builder.node("Max", [builder.slice(box, 2, 4, 1) for box in (first, second)])
    return builder.node("Concat", [low, high], axis=1)


def _visual_terms(builder: _Builder, pair: _Pair, unions: _Unions) -> list[str]:
    """Convolutions of the RoIs, one a RoI and role, gathered for the pairs."""
    from onnx import helper

    rois = builder.node("Concat", ["boxes", unions.boxes], axis=0)
    first_images = builder.gather("box_images", unions.first)
    images = builder.node("Concat", ["box_images", first_images], axis=0)
    pooled = builder.name("roi_align")
    node = helper.make_node("RoiAlign", [pair.roi_align[SUBJECT].input[0], rois, images], [pooled])
    node.domain, node.name = DOMAIN, pooled
    node.attribute.extend(pair.roi_align[SUBJECT].attribute)
    builder.nodes.append(node)
    features = _copy_stage(builder, pair, pooled)

    def convolve(value: str, *roles: int) -> str:
        ends = [(pair.offsets[role], pair.offsets[role] + pair.num_features) for role in roles]
        kernel = np.concatenate([pair.weight[:, begin:end] for begin, end in ends])
        return builder.node(
            "Conv", [value, builder.constant(kernel, np.float32)], pads=[1, 1, 1, 1]
        )

    shape = (pair.num_features, *pair.bins)
    of_objects = builder.slice(features, 0, unions.num_boxes, 0)
    builder.state_shape(of_objects, "objects", *shape)
    of_unions = builder.slice(features, unions.num_boxes, INT64_MAX, 0)
    builder.state_shape(of_unions, "unions", *shape)
    both = convolve(of_objects, SUBJECT, OBJECT)
    filters = len(pair.weight)
    return [
        builder.gather(builder.slice(both, 0, filters, 1), unions.subject),
        builder.gather(builder.slice(both, filters, 2 * filters, 1), unions.object),
        builder.gather(convolve(of_unions, UNION), unions.index),
    ]


def _copy_stage(builder: _Builder, pair: _Pair, pooled: str) -> str:
    """The RoI stage of the subject once more, on other RoIs; gives its last value."""
    renamed = {pair.roi_align[SUBJECT].output[0]: pooled}
    for node in builder.graph.node:
        if not any(name in renamed for name in node.input) or pair.features[SUBJECT] in renamed:
            continue
        copy = type(node)()
        copy.CopyFrom(node)
        for k, name in enumerate(node.input):
            copy.input[k] = renamed.get(name, name)
        for k, name in enumerate(node.output):
            renamed[name] = copy.output[k] = builder.name(node.op_type.lower())
        copy.name = copy.output[0]
        builder.nodes.append(copy)
    return renamed[pair.features[SUBJECT]]


def _position_term(builder: _Builder, pair: _Pair, unions: _Unions, bias: Float64Array) -> str:
    """``[m, K, h, w]`` from the coefficients of the positional maps, and the bias."""
    height, width = pair.bins
    if not pair.map_offsets:
        return builder.constant(bias.reshape(1, -1, 1, 1), np.float32)
    subject = builder.gather("boxes", unions.subject)
    object_ = builder.gather("boxes", unions.object)
    around = builder.gather(unions.boxes, unions.index)
    low = builder.slice(around, 0, 2, 1)
    extent = builder.node("Sub", [builder.slice(around, 2, 4, 1), low])
    enough = builder.constant(MIN_EXTENT, np.float32)
    one, zero = builder.constant(1.0, np.float32), builder.constant(0.0, np.float32)
    two = builder.constant(2.0, np.float32)
    valid = builder.node("GreaterOrEqual", [extent, enough])
    safe = builder.node("Where", [valid, extent, one])
    columns = []
    for box in (subject, object_):
        box_low = builder.slice(box, 0, 2, 1)
        size = builder.node("Sub", [builder.slice(box, 2, 4, 1), box_low])
        from_low = builder.node("Mul", [two, builder.node("Sub", [box_low, low])])
        alpha = builder.node("Sub", [builder.node("Div", [from_low, safe]), one])
        beta = builder.node("Div", [builder.node("Mul", [two, size]), safe])
        columns += [builder.node("Where", [valid, value, zero]) for value in (alpha, beta)]
    if pair.union_extent is None:
        columns.append(builder.node("Where", [valid, one, zero]))
    else:
        slope = builder.constant(2 / pair.union_extent, np.float32)
        columns.append(builder.node("Mul", [extent, slope]))
    coefficients = builder.node("Concat", columns, axis=1)
    basis = builder.constant(_basis(pair).reshape(len(columns) * 2, -1), np.float32)
    constant = bias[:, None, None] + _union_constant(pair)
    product = builder.node(
        "Gemm", [coefficients, basis, builder.constant(constant.ravel(), np.float32)]
    )
    return builder.node("Reshape", [product, builder.ints(-1, len(pair.weight), height, width)])


def _basis(pair: _Pair) -> Float64Array:
    """What each coefficient adds: ``[10, K, h, w]``.

    In the order of the columns: offset x, y and slope x, y of the subject, then of the object; then
    the union's own map along x, and y, or its slopes where it has an extent.
    """
    x, y = _positions(pair)
    flat = np.ones(pair.bins)
    parts = []
    for role in (SUBJECT, OBJECT):
        for picture_x, picture_y in ((flat, flat), (x, y)):
            parts.append(_convolve(pair, pair.map_offsets[role], picture_x))
            parts.append(_convolve(pair, pair.map_offsets[role] + 1, picture_y))
    own = (2 * x - 1, 2 * y - 1) if pair.union_extent is None else (x, y)
    parts += [_convolve(pair, pair.map_offsets[UNION] + k, map_) for k, map_ in enumerate(own)]
    return np.stack(parts)


def _union_constant(pair: _Pair) -> Float64Array:
    """What the union's maps add whatever the pair, ``[K, h, w]``: they begin at -1."""
    if pair.union_extent is None:
        return np.zeros((len(pair.weight), *pair.bins))
    flat = np.full(pair.bins, -1.0)
    first = pair.map_offsets[UNION]
    return _convolve(pair, first, flat) + _convolve(pair, first + 1, flat)


def _positions(pair: _Pair) -> tuple[Float64Array, Float64Array]:
    """Where the bins' centres are along a box, 0 to 1, ``[h, w]`` along x and along y."""
    height, width = pair.bins
    x = np.tile((np.arange(width) + 0.5) / width, (height, 1))
    y = np.tile(((np.arange(height) + 0.5) / height)[:, None], (1, width))
    return x, y


def _convolve(pair: _Pair, channel: int, picture: Float64Array) -> Float64Array:
    """One input channel's share of the pair convolution, zero padding included: ``[K, h, w]``."""
    height, width = picture.shape
    padded = np.pad(picture, 1)
    kernel = pair.weight[:, channel]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    assert windows.shape[:2] == (height, width)
    response: Float64Array = np.einsum("kij,yxij->kyx", kernel, windows)
    return response


def _factor_embeddings(
    builder: _Builder, nodes: list[onnx.NodeProto], subject: str, object_: str
) -> None:
    """Replaces class embeddings before the last linear layer by tables of their products."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in builder.graph.initializer}
    producers = {name: node for node in nodes for name in node.output}
    classifier = producers[builder.graph.output[0].name]
    before = producers.get(classifier.input[0])
    if classifier.op_type != "Gemm" or before is None or before.op_type != "Concat":
        return
    gathered = [
        node
        for name in before.input[-2:]
        if (node := producers.get(name)) is not None
        and node.op_type == "Gather"
        and node.input[0] in weights
    ]
    if len(gathered) != 2 or len(before.input) > 3:  # a product of both has no table
        return
    tables = [numpy_helper.to_array(weights[n.input[0]]).astype(np.float64) for n in gathered]
    weight = numpy_helper.to_array(weights[classifier.input[1]]).astype(np.float64)
    transposed = next((a.i for a in classifier.attribute if a.name == "transB"), 0)
    weight = weight.T if transposed else weight
    bias = numpy_helper.to_array(weights[classifier.input[2]]).astype(np.float64)
    size = tables[0].shape[1]
    visual = weight[: len(weight) - 2 * size]
    of_subject = tables[0] @ weight[len(weight) - 2 * size : len(weight) - size] + bias
    of_object = tables[1] @ weight[len(weight) - size :]
    terms = [
        builder.gather(builder.constant(table, np.float32), builder.gather("labels", index))
        for table, index in ((of_subject, subject), (of_object, object_))
    ]
    total = builder.node("Add", terms)
    if len(before.input) == 3:
        product = builder.node("MatMul", [before.input[0], builder.constant(visual, np.float32)])
        total = builder.node("Add", [product, total])
    nodes.remove(classifier)
    builder.nodes[-1].output[0] = classifier.output[0]


def _without_pair(graph: onnx.GraphProto, pair: _Pair) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.output[0] != pair.conv.output[0]]


def _replace_input(nodes: list[onnx.NodeProto], old: str, new: str) -> None:
    for node in nodes:
        for k, name in enumerate(node.input):
            if name == old:
                node.input[k] = new


def _in_order(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Each after those whose values it reads, as ONNX wants it."""
    known = {i.name for i in graph.input} | {t.name for t in graph.initializer} | {""}
    ordered, left = [], nodes
    while left:
        ready = [node for node in left if known.issuperset(node.input)]
        known.update(name for node in ready for name in node.output)
        ordered += ready
        waiting = [node for node in left if not any(node is each for each in ready)]
        if len(waiting) == len(left):
            # What only the removed convolution fed is of no use to anyone.
            break
        left = waiting
    return ordered


def remove_unused_nodes(graph: onnx.GraphProto) -> None:
    """Drop the nodes that no output of the graph follows from."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
