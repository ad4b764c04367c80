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

from typing import TYPE_CHECKING

import numpy as np

from vinfer.export.added_nodes import AddedNodes
from vinfer.export.batch_norm import fold_batch_norm
from vinfer.export.functions import DOMAIN, attach_functions
from vinfer.export.relation_pair import (
    OBJECT,
    SUBJECT,
    UNION,
    PairConvolution,
    find_pair_convolution,
)
from vinfer.export.relation_positions import position_term
from vinfer.export.relation_unions import Unions
from vinfer.export.unused import remove_unused_initializers, remove_unused_nodes

if TYPE_CHECKING:
    import onnx

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
    pair = find_pair_convolution(folded)
    graph = folded.graph
    builder = AddedNodes(graph)
    kept = _without_pair(graph, pair)
    subject, object_ = builder.column("pairs", 0), builder.column("pairs", 1)
    unions = Unions(builder, subject, object_)
    terms = _visual_terms(builder, pair, unions) if pair.roi_align else []
    terms.append(position_term(builder, pair, unions, bias=pair.bias))
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


def _visual_terms(builder: AddedNodes, pair: PairConvolution, unions: Unions) -> list[str]:
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


def _copy_stage(builder: AddedNodes, pair: PairConvolution, pooled: str) -> str:
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


def _factor_embeddings(
    builder: AddedNodes, nodes: list[onnx.NodeProto], subject: str, object_: str
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


def _without_pair(graph: onnx.GraphProto, pair: PairConvolution) -> list[onnx.NodeProto]:
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
