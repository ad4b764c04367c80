"""The relation network as an ONNX file, as it is defined; `factor_relations` makes it fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vinfer.errors import InputError, MissingDependencyError
from vinfer.export.to_onnx import to_onnx

if TYPE_CHECKING:
    import onnx

    from vinfer.training.relation_network import RelationNetwork

INPUTS = ("images", "boxes", "box_images", "labels", "pairs")
OUTPUT = "logits"


def export_relation_network(
    network: RelationNetwork, *, classes: Sequence[str], predicates: Sequence[str]
) -> onnx.ModelProto:
    """Export a trained network; every pair computes its own three RoIs.

    Args:
        network: as trained; exported in evaluation mode.
        classes, predicates: the names of its vocabularies, written into the file's metadata as
            JSON under ``vinfer.classes`` and ``vinfer.predicates``.

    Returns:
        A model with the inputs and the output of `RelationNetwork.forward` under these names:
        ``images``, ``boxes``, ``box_images``, ``labels``, ``pairs``, ``logits``. Number and size of
        the pictures, boxes and pairs are free. An input that the network does not use is left out.

    Raises:
        InputError: the vocabularies are of other sizes than the network's.
        MissingDependencyError: PyTorch, onnx or onnxscript is not installed.
    """
    try:
        import torch
    except ImportError as exc:
        raise MissingDependencyError.of("PyTorch", "train", exc) from exc
    config = network.config
    if (len(classes), len(predicates)) != (config.num_classes, config.num_predicates):
        raise InputError(
            f"found {len(classes)} classes and {len(predicates)} predicates, expected "
            f"{config.num_classes} and {config.num_predicates}, as the network has"
        )
    dynamic = torch.export.Dim.DYNAMIC
    model = to_onnx(
        network.eval(),
        (
            torch.zeros(2, 3, 96, 160),
            torch.tensor([[0.0, 0, 40, 50], [20, 30, 90, 80], [10, 5, 150, 90]]),
            torch.zeros(3, dtype=torch.int64),
            torch.zeros(3, dtype=torch.int64),
            torch.tensor([[0, 1], [1, 0], [0, 2], [2, 1]]),
        ),
        input_names=INPUTS,
        output_names=(OUTPUT,),
        dynamic_shapes={
            "images": {0: dynamic, 2: dynamic, 3: dynamic},
            **{name: {0: dynamic} for name in INPUTS[1:]},
        },
    )
    read = {name for node in model.graph.node for name in node.input}
    for value in [value for value in model.graph.input if value.name not in read]:
        model.graph.input.remove(value)
    for key, names in (("classes", classes), ("predicates", predicates)):
        model.metadata_props.add(key=f"vinfer.{key}", value=json.dumps(list(names)))
    return model
