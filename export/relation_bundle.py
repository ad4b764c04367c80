"""A trained relation network as a bundle: exported, factored, checked against PyTorch, packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pydantic

from vinfer.backends import SessionOptions, load
from vinfer.backends.base import Array
from vinfer.bundles import (
    EventThresholds,
    PicturePreprocess,
    Provenance,
    RelationManifest,
    TensorSpec,
    write_bundle,
)
from vinfer.bundles.manifest import PICTURE_ROLES, AllowedPrecision
from vinfer.errors import ConfigError, ModelOutputError
from vinfer.export.cards import relation_card
from vinfer.export.relation_factoring import factor_relations
from vinfer.export.relation_network import INPUTS, OUTPUT, export_relation_network
from vinfer.export.winograd import use_winograd
from vinfer.stages.resizing import resized_size

if TYPE_CHECKING:
    import onnx

    from vinfer.training.relation_network import RelationNetwork

SCORES = "scores"
TOLERANCE = 1e-4
"""Largest difference of a logit from PyTorch's, absolute."""

_CHECKED_OBJECTS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class BundleText:
    """What a relation bundle says of itself.

    Attributes:
        name, version: of the bundle.
        detector: name of the bundle that it is meant to follow.
        trained_on: the data.
        licence: of the weights.
        source: where they come from.
        notes: anything else about provenance.
        limits: for the card: where it fails.
    """

    name: str
    version: str
    detector: str
    trained_on: str
    licence: str
    source: str = "trained by `vinfer train relations`"
    notes: str = ""
    limits: str = ""


def checked_graph(
    network: RelationNetwork,
    *,
    classes: Sequence[str],
    predicates: Sequence[str],
    picture: PicturePreprocess,
    factored: bool = True,
) -> bytes:
    """The graph of a bundle, once it has given PyTorch's logits on made-up inputs.

    Args:
        network: as trained.
        classes, predicates: the names of its vocabularies.
        picture: how it was trained to see pictures.
        factored: rewrite the graph to be fast; the straight one computes three RoIs a pair.

    Returns:
        The serialised ONNX model.

    Raises:
        InputError: the vocabularies are of other sizes than the network's.
        ModelOutputError: the graph gives other logits than PyTorch.
        MissingDependencyError: PyTorch, onnx or onnxscript is not installed.
    """
    straight = export_relation_network(network, classes=classes, predicates=predicates)
    fast = use_winograd(factor_relations(straight)) if factored else straight
    model = scored_graph(fast, network)
    check_graph(model, network, picture)
    _set_outputs(model, [SCORES])
    return bytes(model.SerializeToString(deterministic=True))


def pack_relation_graph(
    output: Path,
    graph: bytes,
    *,
    classes: Sequence[str],
    predicates: Sequence[str],
    picture: PicturePreprocess,
    text: BundleText,
    events: Mapping[str, EventThresholds],
    symmetric: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    quality: Mapping[str, Any] | None = None,
    allowed_precisions: Sequence[str] = ("float32",),
) -> Path:
    """Pack a graph that `checked_graph` gave.

    Args:
        output: the ``.vinfer`` file; what was there stays until the new one is complete.
        graph: of the same vocabularies and pictures.
        classes, predicates, picture: as for `checked_graph`.
        text: what the bundle says of itself.
        events: thresholds of the predicates that may become events.
        symmetric: predicates that hold both ways.
        aliases: a detector's class to one of ``classes``.
        quality: measured figures.
        allowed_precisions: those in which the model was measured to be good enough.

    Returns:
        The path.

    Raises:
        ConfigError: a field can't stand in a manifest.
        OutputError: it can't be written.
    """
    try:
        manifest = RelationManifest(
            name=text.name,
            version=text.version,
            inputs=_input_specs(),
            outputs=(TensorSpec(name=SCORES, dtype="float32", shape=("m", len(predicates))),),
            files={},
            provenance=Provenance(
                source=text.source,
                created_by=f"vinfer {installed_version('vinfer')}",
                trained_on=text.trained_on,
                notes=text.notes,
            ),
            licence=text.licence,
            quality=dict(quality or {}),
            labels=tuple(classes),
            aliases=dict(aliases or {}),
            predicates=tuple(predicates),
            symmetric=tuple(symmetric),
            input_roles={name: name for name in PICTURE_ROLES},
            picture=picture,
            scores=SCORES,
            detector=text.detector,
            events=dict(events),
            allowed_precisions=cast("tuple[AllowedPrecision, ...]", tuple(allowed_precisions)),
        )
    except pydantic.ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"])) or "manifest"
        raise ConfigError(f"{field}: found {first['input']!r:.100}; {first['msg']}") from exc
    card = relation_card(manifest, text.limits)
    return write_bundle(output, manifest, {manifest.graph: graph, "card.md": card.encode()})


def scored_graph(model: onnx.ModelProto, network: RelationNetwork) -> onnx.ModelProto:
    """A copy of a graph of logits with the probabilities as another output, ``scores``.

    All five inputs are there, also those that the network does not look at.
    """
    import onnx
    from onnx import helper

    config = network.config
    scored = onnx.ModelProto()
    scored.CopyFrom(model)
    graph = scored.graph
    if config.head == "softmax_bg":
        # Background is the last column. The bounds are constants of the graph.
        for name, value in (("begin", 0), ("end", config.num_predicates), ("axis", 1)):
            graph.initializer.append(
                helper.make_tensor(f"scores_{name}", onnx.TensorProto.INT64, [1], [value])
            )
        graph.node.append(helper.make_node("Softmax", [OUTPUT], ["shares"], "shares", axis=1))
        bounds = ["scores_begin", "scores_end", "scores_axis"]
        graph.node.append(helper.make_node("Slice", ["shares", *bounds], [SCORES], SCORES))
    else:
        graph.node.append(helper.make_node("Sigmoid", [OUTPUT], [SCORES], SCORES))
    _set_inputs(scored)
    _set_outputs(scored, [OUTPUT, SCORES], columns={SCORES: config.num_predicates})
    onnx.checker.check_model(scored)
    return scored


def check_graph(
    model: onnx.ModelProto, network: RelationNetwork, picture: PicturePreprocess
) -> float:
    """Run a graph of logits and scores, and PyTorch, on a made-up picture with six objects.

    Returns:
        The largest difference of a logit.

    Raises:
        ModelOutputError: it is above `TOLERANCE`, or the scores are not those of the logits.
    """
    import torch

    inputs = _made_up(network.config.num_classes, picture)
    session = load(model.SerializeToString(), SessionOptions(provider="cpu"))
    try:
        found = session.run(inputs)
    finally:
        session.close()
    with torch.inference_mode():
        tensors = [torch.from_numpy(inputs[name]) for name in INPUTS]
        logits = network.eval()(*tensors)
        scores = network.scores(logits).numpy()
    for name, expected in ((OUTPUT, logits.numpy()), (SCORES, scores)):
        same = found[name].shape == expected.shape
        difference = float(np.abs(found[name] - expected).max()) if same else np.inf
        # NaN compares false.
        if not difference <= TOLERANCE:
            raise ModelOutputError(
                f"{name} of the graph: found a difference of {difference:.3g} from PyTorch, "
                f"expected at most {TOLERANCE:g}; the export is at fault, or the weights are not "
                "finite: nothing was written"
            )
    return float(np.abs(found[OUTPUT] - logits.numpy()).max())


def _made_up(num_classes: int, picture: PicturePreprocess) -> dict[str, Array]:
    random = np.random.default_rng(0)
    height, width = resized_size(
        480, 853, short_side=picture.short_side, long_side=picture.long_side
    )
    low = random.uniform(0, 0.7, (_CHECKED_OBJECTS, 2))
    boxes = np.hstack([low, low + random.uniform(0.02, 0.3, low.shape)])
    boxes[-1] = boxes[0]  # one object twice: their union is both
    return {
        "images": random.standard_normal((1, 3, height, width)).astype(np.float32),
        "boxes": (boxes * [width, height, width, height]).astype(np.float32),
        "box_images": np.zeros(_CHECKED_OBJECTS, np.int64),
        "labels": np.arange(_CHECKED_OBJECTS, dtype=np.int64) % num_classes,
        "pairs": np.argwhere(~np.eye(_CHECKED_OBJECTS, dtype=bool)).astype(np.int64),
    }


def _set_inputs(model: onnx.ModelProto) -> None:
    """All of `INPUTS`, in this order; the exporter leaves out what the network does not use."""
    specs = {spec.name: spec for spec in _input_specs()}
    present = {value.name: value for value in model.graph.input}
    values = [present.get(name) or _value_info(specs[name]) for name in INPUTS]
    del model.graph.input[:]
    model.graph.input.extend(values)


def _set_outputs(
    model: onnx.ModelProto, names: Sequence[str], columns: Mapping[str, int] | None = None
) -> None:
    present = {value.name: value for value in model.graph.output}
    values = [
        present.get(name)
        or _value_info(TensorSpec(name=name, dtype="float32", shape=("m", (columns or {})[name])))
        for name in names
    ]
    del model.graph.output[:]
    model.graph.output.extend(values)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    kind = TensorProto.INT64 if spec.dtype == "int64" else TensorProto.FLOAT
    value: onnx.ValueInfoProto = helper.make_tensor_value_info(spec.name, kind, list(spec.shape))
    return value


def _input_specs() -> tuple[TensorSpec, ...]:
    return (
        TensorSpec(name="images", dtype="float32", shape=("N", 3, "H", "W")),
        TensorSpec(name="boxes", dtype="float32", shape=("n", 4)),
        TensorSpec(name="box_images", dtype="int64", shape=("n",)),
        TensorSpec(name="labels", dtype="int64", shape=("n",)),
        TensorSpec(name="pairs", dtype="int64", shape=("m", 2)),
    )
