"""What a relation bundle loses in fewer bits: measured on annotated pictures, written into it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vinfer.backends import Session, SessionOptions
from vinfer.backends.base import Array
from vinfer.bundles import Bundle, RelationManifest, find_bundle, write_bundle
from vinfer.errors import BundleSchemaError, MissingDependencyError
from vinfer.export.cards import with_precisions
from vinfer.export.precision import (
    MAX_LOSS,
    Measurement,
    Variant,
    accepted_graph,
    allowed_precisions,
    gate,
    relation_variants,
)
from vinfer.export.relation_network import OUTPUT
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.clip_thresholds import (
    Objects,
    event_f1,
    known_objects,
    score_clip,
    seen_objects,
)
from vinfer.training.relation_data import RelationData, check_vocabulary
from vinfer.training.relation_feeds import picture_feeds
from vinfer.training.relation_scoring import score_with
from vinfer.training.sprites import SpriteClip
from vinfer.types import Detections

if TYPE_CHECKING:
    import onnx

CALIBRATION_PICTURES = 160
METRIC, EVENT_METRIC = "mAP*", "event F1"
CLIP_SEED = 5001
"""Of the synthetic clips that events are counted on; no training, choice or test uses them."""


def measure_precisions(
    bundle: Bundle,
    calibration: RelationData,
    validation: RelationData,
    settings: BatchSettings,
    *,
    ignored: tuple[str, ...] = (),
    max_loss: float = MAX_LOSS,
    threads: int = 0,
    clips: Sequence[SpriteClip] = (),
) -> tuple[dict[str, Any], list[Variant]]:
    """Measure int8, float16 and bfloat16 by mAP* over all pairs of annotated objects.

    With clips also by the F1 of the bundle's events on them, at temporal IoU 0.5, with objects as
    the bundle's detector finds them (`clip_thresholds.seen_objects`).

    Args:
        bundle: a relation model that sees the picture.
        calibration: pictures that int8 takes its ranges from, the first `CALIBRATION_PICTURES`.
        validation: pictures that it is measured on.
        settings: how pictures are resized and normalised, as in training.
        ignored: predicates that mAP* leaves out.
        max_loss: that is accepted, absolute.
        threads: of one run; 0 is all cores.
        clips: for a model of sprites that has events.

    Returns:
        The report, see `vinfer.export.precision.gate`, and what was measured.

    Raises:
        BundleError: the bundle holds another kind of model, or its detector is not there.
        TrainingError: the data has other classes or predicates than the bundle, or a picture can't
            be read.
        InputError: the graph has nothing to quantize, or mAP* is undefined on these pictures.
        MissingDependencyError: onnx is not installed.
    """
    manifest = _picture_manifest(bundle)
    for name, data in (("calibration data", calibration), ("validation data", validation)):
        check_vocabulary(name, data, manifest.labels, manifest.predicates, "the bundle")
    model = with_logits(bundle.graph())
    roles = {str(role): name for role, name in manifest.input_roles.items()}

    def named(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {roles[role]: array for role, array in arrays.items()}

    few = dataclasses.replace(calibration, pictures=calibration.pictures[:CALIBRATION_PICTURES])
    feeds = (named(feed.arrays) for feed in picture_feeds(few, settings) if any(feed.pairs))
    variants = relation_variants(model, feeds)

    objects: list[tuple[Detections, ...]] = []
    if clips:
        followed = Bundle.open(find_bundle(manifest.detector))
        with Detector(followed, SessionOptions(provider="cpu")) as detector:
            objects = [_found(clip, seen_objects(clip, detector)) for clip in clips]

    def measure(session: Session) -> Measurement:
        measured = measure_session(
            session, validation, settings, scores=manifest.scores, roles=roles, ignored=ignored
        )
        if not clips:
            return measured
        found = {EVENT_METRIC: _event_f1(bundle, session, clips, objects)}
        return dataclasses.replace(measured, metrics={**measured.metrics, **found})

    report = gate(
        model.SerializeToString(),
        variants,
        measure,
        sample=named(_busiest(validation, settings)),
        max_loss=max_loss,
        threads=threads,
    )
    report["data"] = {
        "pictures": len(validation.pictures),
        "calibration_pictures": len(few.pictures),
        "clips": len(clips),
    }
    return report, variants


def measure_session(
    session: Session,
    data: RelationData,
    settings: BatchSettings,
    *,
    scores: str = "scores",
    roles: Mapping[str, str] | None = None,
    ignored: tuple[str, ...] = (),
) -> Measurement:
    """mAP* of a session, and its logits.

    Args:
        session: of a graph with the inputs of a `relation_feeds.PictureFeed`, or some of them.
        data, settings: what it is measured on.
        scores: the output with probabilities. Differences are taken of ``logits`` where there is
            such an output, else of these.
        roles: the graph's names of the inputs, where they differ.
        ignored: predicates that mAP* leaves out.
    """
    inputs = [spec.name for spec in session.inputs]
    logits = OUTPUT if OUTPUT in [spec.name for spec in session.outputs] else scores
    found: list[Array] = []

    def run(arrays: Mapping[str, Array]) -> Array:
        by_name = {(roles or {}).get(role, role): array for role, array in arrays.items()}
        outputs = session.run({name: by_name[name] for name in inputs})
        found.append(outputs[logits])
        return outputs[scores]

    scored = score_with(run, data, settings)
    if not np.isfinite(scored.scores).all():
        return Measurement({METRIC: math.nan}, np.concatenate(found))
    quality = scored.quality(data.predicates, ignored).mean_star
    return Measurement({METRIC: math.nan if quality is None else quality}, np.concatenate(found))


def _found(clip: SpriteClip, objects: Objects) -> tuple[Detections, ...]:
    return tuple(objects(number, clip.image(number)) for number in range(len(clip)))


def _event_f1(
    bundle: Bundle,
    session: Session,
    clips: Sequence[SpriteClip],
    objects: Sequence[Sequence[Detections]],
) -> float:
    manifest = _picture_manifest(bundle)
    relator = Relator(bundle, SessionOptions(), session=session)
    scored = [
        score_clip(relator, clip, known_objects(found))
        for clip, found in zip(clips, objects, strict=True)
    ]
    f1 = event_f1(scored, manifest.events, manifest.symmetric)
    return math.nan if f1 is None else f1


def write_precisions(
    bundle: Bundle,
    report: Mapping[str, Any],
    variants: list[Variant],
    output: Path,
    *,
    use: str | None = None,
) -> Path:
    """A copy of a bundle that says what was measured.

    Args:
        bundle: that was measured.
        report, variants: of `measure_precisions`.
        output: the ``.vinfer`` file.
        use: "int8" or "float16" packs that graph in place of the float32 one, under a version of
            its own; None keeps the graph, and lets backend `auto` take what was accepted at run
            time.

    Returns:
        The path.

    Raises:
        InputError: ``use`` was refused or not measured.
        OutputError: it can't be written.
    """
    manifest = _picture_manifest(bundle)
    graph, allowed = bundle.graph(), allowed_precisions(report)
    version = manifest.version
    if use is not None:
        graph = without_logits(accepted_graph(report, variants, use), manifest.scores)
        # What was measured at run time was the float32 graph.
        allowed = ("float32",)
        version = f"{version}+{use}"
    changed = manifest.model_copy(
        update={
            "version": version,
            "quality": {**manifest.quality, "precision": dict(report)},
            "allowed_precisions": allowed,
        }
    )
    files = {name: bundle.read(name) for name in manifest.files}
    files["card.md"] = with_precisions(bundle.card(), report).encode()
    return write_bundle(output, changed, {**files, manifest.graph: graph})


def with_logits(graph: bytes) -> onnx.ModelProto:
    """The model with its logits as an output, too, where it still has them inside."""
    module = _onnx()
    model: onnx.ModelProto = module.load_from_string(graph)
    inside = {name for node in model.graph.node for name in node.output}
    if OUTPUT in inside and OUTPUT not in [value.name for value in model.graph.output]:
        # As many columns as it has: softmax takes one more for the background.
        value = module.helper.make_tensor_value_info(
            OUTPUT, module.TensorProto.FLOAT, ["m", "columns"]
        )
        model.graph.output.append(value)
    return model


def without_logits(graph: bytes, scores: str) -> bytes:
    """The graph with the output that a bundle has."""
    model = _onnx().load_from_string(graph)
    kept = [value for value in model.graph.output if value.name == scores]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return bytes(model.SerializeToString(deterministic=True))


def _busiest(data: RelationData, settings: BatchSettings) -> dict[str, Array]:
    """One picture, as the engine feeds them, that with the most objects."""
    feeds = picture_feeds(data, settings, at_once=1)
    return max(feeds, key=lambda feed: sum(feed.pairs)).arrays


def _picture_manifest(bundle: Bundle) -> RelationManifest:
    manifest = bundle.manifest
    if not isinstance(manifest, RelationManifest) or manifest.picture is None:
        raise BundleSchemaError(
            f"{bundle.path}: found a model of task {manifest.task} that takes no picture, expected "
            "a relation model that does; such a one is made by `vinfer train relations`"
        )
    return manifest


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "export", exc) from exc
    return onnx
