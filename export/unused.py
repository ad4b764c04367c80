"""Drops what a graph does not need once it was rewritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


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


def remove_unused_initializers(graph: onnx.GraphProto) -> None:
    """Drop the weights that no node reads and no output is; subgraphs count."""
    used = {output.name for output in graph.output}
    stack = [graph]
    while stack:
        for node in stack.pop().node:
            used.update(node.input)
            for attribute in node.attribute:
                stack.extend([attribute.g, *attribute.graphs])
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
