"""The relation prior as a bundle: graph, manifest and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vinfer.bundles import Provenance, RelationManifest, TensorSpec, write_bundle
from vinfer.training.relation_graph import Weights, relation_graph
from vinfer.training.thresholds import EventPrecision, event_thresholds
from vinfer.training.vocabulary import COCO_ALIASES, PREDICATES, SYMMETRIC

NAME = "relation-prior"
VERSION = "0.1.0"
DETECTOR = "ssd-mobilenet-v2-coco"
LICENCE = (
    "Research use only: the weights are trained on the VRD labels, which are given out for "
    "research; not for redistribution in a product"
)
SOURCE_OUTPUT = "vrd_scores"
"""A second output: VRD's own predicates in the file's order, to compare with published figures."""


def write_relation_prior(
    output: Path,
    weights: Weights,
    *,
    classes: Sequence[str],
    vrd_predicates: Sequence[str],
    chosen: Mapping[str, EventPrecision],
    quality: Mapping[str, Any],
    notes: str,
) -> Path:
    """Pack a trained network.

    Args:
        output: the ``.vinfer`` file; what was there stays until the new one is complete.
        weights: the module's state; its predicates are `PREDICATES`, then ``vrd_predicates``.
        classes, vrd_predicates: VRD's vocabularies.
        chosen: thresholds of the predicates that may become events.
        quality: for the manifest.
        notes: how it was trained, for the provenance.

    Returns:
        The path.

    Raises:
        MissingDependencyError: onnx is not installed.
        OutputError: it can't be written.
    """
    reported = range(len(PREDICATES))
    original = range(len(PREDICATES), len(PREDICATES) + len(vrd_predicates))
    graph = relation_graph(weights, {"scores": reported, SOURCE_OUTPUT: original})
    manifest = RelationManifest(
        name=NAME,
        version=VERSION,
        inputs=(
            TensorSpec(name="subject_labels", dtype="int64", shape=("m",)),
            TensorSpec(name="object_labels", dtype="int64", shape=("m",)),
            TensorSpec(name="subject_boxes", dtype="float32", shape=("m", 4)),
            TensorSpec(name="object_boxes", dtype="float32", shape=("m", 4)),
        ),
        outputs=(
            TensorSpec(name="scores", dtype="float32", shape=("m", len(reported))),
            TensorSpec(name=SOURCE_OUTPUT, dtype="float32", shape=("m", len(original))),
        ),
        files={},
        provenance=Provenance(
            source="trained from random weights by `vinfer train relation-prior`",
            created_by="vinfer.training.relation_prior",
            trained_on="VRD labels (Lu et al., ECCV 2016), no pictures",
            notes=notes,
        ),
        licence=LICENCE,
        quality=dict(quality),
        labels=tuple(classes),
        aliases={name: target for name, target in COCO_ALIASES.items() if target in set(classes)},
        predicates=PREDICATES,
        symmetric=SYMMETRIC,
        input_roles={
            "subject_labels": "subject_labels",
            "object_labels": "object_labels",
            "subject_boxes": "subject_boxes",
            "object_boxes": "object_boxes",
        },
        detector=DETECTOR,
        events=event_thresholds(chosen),
    )
    card = _card(manifest, chosen, len(vrd_predicates))
    files = {"model.onnx": graph, "card.md": card.encode()}
    return write_bundle(output, manifest, files)


def _card(
    manifest: RelationManifest, chosen: Mapping[str, EventPrecision], num_vrd_predicates: int
) -> str:
    events = "\n".join(
        f"| `{name}` | {manifest.events[name].on:.2f} | {manifest.events[name].off:.2f} "
        f"| {measured.right} of {measured.found} | {measured.right} of {measured.described} |"
        for name, measured in chosen.items()
    )
    return f"""\
# {NAME} {VERSION}

Scores which of {len(PREDICATES)} predicates hold between two objects, from their classes and boxes
alone: the picture is never looked at. It is the first relation model of vinfer, a prior to be
replaced by a network that sees.

**Licence.** {LICENCE}.

**Trained on** the labels of VRD (Lu, Krishna, Bernstein, Fei-Fei: Visual Relationship Detection
with Language Priors, ECCV 2016): {len(manifest.labels)} classes, {num_vrd_predicates} predicates.
{manifest.provenance.notes}

**Input.** Class indices and xyxy boxes of subject and object, any number of pairs. **Output.**
`scores`, a probability for each of: {", ".join(manifest.predicates)}.
`{SOURCE_OUTPUT}`: the same for VRD's own predicates. Synonyms are merged; a person on a bike,
motorbike, horse, elephant, skateboard, snowboard or surfboard is `ride`, not `on`; a worn thing is
`wear`, not `on`.

**Events** are made of these only; the counts are pairs on held-out pictures, of classes that
{DETECTOR} knows, and a true relation that nobody described counts as wrong:

| predicate | on | off | right of found | found of described |
|---|---|---|---|---|
{events or "| none | | | | |"}

**Limits.** Boxes can't show contact: somebody standing right in front of a bench looks like sitting
on it, a bag that is worn like one that is held. Pairs are scored alone: two people may both come
out as riding one bicycle. Classes that are not among the {len(manifest.labels)} (31 of COCO's 80)
are not paired. VRD is photographs, mostly taken at eye level: from above, positions mean something
else. Where the picture cuts objects off, their boxes say less. The probabilities hold for pictures
like VRD's; a detector's false box gives false relations. Do not use it to judge people.

Figures on the VRD test split and on exhaustively labelled pictures: docs/relation-prior.md.
"""
