"""The boxes around two objects, in a graph: those of (i, j) and (j, i) are the same."""

from __future__ import annotations

from vinfer.export.added_nodes import AddedNodes


class Unions:
    """Unordered pairs, each once, and where each ordered pair finds its own."""

    def __init__(self, builder: AddedNodes, subject: str, object_: str) -> None:
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


def _union(builder: AddedNodes, first: str, second: str) -> str:
    low = builder.node("Min", [builder.slice(box, 0, 2, 1) for box in (first, second)])
    high = builder.node("Max", [builder.slice(box, 2, 4, 1) for box in (first, second)])
    return builder.node("Concat", [low, high], axis=1)
