"""The shipped network that looks: on clips that it was not trained on, and through the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import vinfer
from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, RelationManifest, find_bundle
from vinfer.evaluation.event_truth import truth_of_labels
from vinfer.evaluation.events import evaluate_events
from vinfer.stages.relate import Relator

pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")

from vinfer.training.clip_thresholds import events_of, known_objects, score_clip
from vinfer.training.sprites import (
    CLASSES,
    PREDICATES,
    clip_truth,
    make_clip,
    noisy_detections,
    write_clip,
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(find_bundle("relations-synthetic"))


def test_it_is_small_and_says_what_it_is(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)
    assert bundle.path.stat().st_size < 1e6
    assert (manifest.labels, manifest.predicates) == (CLASSES, PREDICATES)
    assert (manifest.detector, manifest.licence) == ("sprites-detector", "Apache-2.0")
    assert "synthetic clips" in manifest.provenance.trained_on
    assert "its trunk before on 3000 synthetic pictures" in manifest.provenance.trained_on
    assert set(manifest.events) == set(PREDICATES) - {"under"}


def test_it_says_what_fewer_bits_cost(bundle: Bundle) -> None:
    report = bundle.manifest.quality["precision"]
    assert set(report["float32"]["metrics"]) == {"mAP*", "event F1"}
    verdicts = {(each["precision"], each["how"]): each["accepted"] for each in report["variants"]}
    assert not verdicts[("int8", "graph")]  # a hundredth of the events is too much
    # Allowed because it ran, on a processor that has it.
    assert verdicts[("bfloat16", "run time")]
    assert bundle.manifest.allowed_precisions == ("float32", "bfloat16")


@pytest.mark.parametrize(
    "kinds", [("holds", "hits"), ("inside_of", "wears"), ("linked_to", "on")], ids="-".join
)
def test_it_finds_events_that_boxes_do_not_tell(bundle: Bundle, kinds: tuple[str, str]) -> None:
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)
    truths, events = [], []
    with Relator(bundle, SessionOptions()) as relator:
        for seed in (7001, 7002, 7003):
            clip = make_clip(seed, kinds=kinds)
            objects = noisy_detections(clip, seed, jitter=0, drop_percent=0, switch_percent=0)
            truths.append(truth_of_labels(clip_truth(clip, f"sprites-{seed}")))
            scored = score_clip(relator, clip, known_objects(objects))
            events += events_of(scored, manifest.events, manifest.symmetric)
    found = evaluate_events(truths, events).by_predicate
    for predicate in (kind.replace("_", " ") for kind in kinds):
        assert found[predicate].recall == found[predicate].precision == 1, predicate


def test_it_runs_in_the_engine(tmp_path: Path) -> None:
    clip = make_clip(7001, kinds=("holds", "hits"))
    write_clip(clip, tmp_path / "clip.mp4")
    with vinfer.Engine("relations-synthetic") as engine:
        events = engine.run(tmp_path / "clip.mp4").events
        assert engine.describe()["detector"].startswith("sprites-detector@")
    [true] = [event for event in clip.events if event.predicate == "holds"]
    [held] = [event for event in events if event.predicate == "holds"]
    assert held.subject.label == "person"
    overlap = min(held.end, true.end) - max(held.start, true.start)
    assert overlap / (max(held.end, true.end) - min(held.start, true.start)) > 0.5
