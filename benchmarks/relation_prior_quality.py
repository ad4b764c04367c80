"""Every quality figure that docs/relation-prior.md quotes.

    python -m benchmarks.relation_prior_quality --data DIR [--bundle FILE] [--detector FILE]
        [--clip models/bikes.mp4] [--ablation] [--output benchmarks/results/relation_prior.json]

DIR holds ``vrd/{train,test}.json.gz`` and ``coco_open/``. Measured: the VRD test split against the
class-prior baseline; the exhaustively labelled pictures with true boxes and with a detector's; the
rider and the walker of the demo clip; the time of one `Relator.relate`. ``--ablation`` trains six
more bundles (three minutes), with and without the made-up pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import vinfer
from vinfer.backends import Session, SessionOptions, load
from vinfer.bundles import Bundle, RelationManifest, find_bundle
from vinfer.errors import BundleNotFoundError
from vinfer.evaluation.relation_truth import (
    LEFT_OUT,
    TRUE,
    LabelledPicture,
    judge,
    load_relation_truth,
)
from vinfer.evaluation.relations import average_precision, top_k_accuracy
from vinfer.evaluation.scene_graph import Triplets, ranked_triplets, recall_at_k
from vinfer.evaluation.uncertainty import bootstrap_interval, wilson_interval
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.training import counterfactuals
from vinfer.training.relation_data import RelationData, RelationPicture, pair_table
from vinfer.training.relation_prior import train
from vinfer.training.vocabulary import PREDICATES, reported_labels
from vinfer.training.vrd import load_vrd
from vinfer.types import Detections

PREDICATE_MAP = {
    "on": "on",
    "rides": "ride",
    "holds": "hold",
    "wears": "wear",
    "inside_of": "in",
    "under": "under",
    "at": "at",
}
"""plays, hits and interacts_with have no counterpart among the reported predicates."""

SPECIFIC = {"ride": "on"}
SHOWN = ("ride", "on", "in", "hold", "wear")
SWEEP = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9)
DETECTION_SCORES = (0.3, 0.5)
WALKER_FROM = 5.48  # seconds: nobody rides in the demo clip after its third cut

Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Takes labels and boxes of subjects and objects, gives scores of VRD's 70 predicates."""


class ClassPrior:
    """How far the two class names go, counted on the training split.

    ``conditional`` is P(predicate | classes, described), the published baseline; ``joint`` is the
    share of all pairs of these classes that are described so, which ranks pairs of a picture much
    better. Unseen class pairs back off to P(p|subject) P(p|object) / P(p), which also breaks ties.
    """

    def __init__(self, split: RelationData) -> None:
        c, n = len(split.classes), len(split.predicates)
        count, pairs = np.zeros((c, c, n)), np.zeros((c, c))
        for image in split.pictures:
            s, p, o = image.triplets.T
            np.add.at(count, (image.labels[s], image.labels[o], p), 1)
            np.add.at(pairs, (image.labels[:, None], image.labels[None]), 1)
            pairs[image.labels, image.labels] -= 1
        subject, object_, overall = count.sum(1), count.sum(0), count.sum((0, 1))
        a = (subject + 1e-3) / (subject.sum(1, keepdims=True) + n * 1e-3)
        b = (object_ + 1e-3) / (object_.sum(1, keepdims=True) + n * 1e-3)
        back_off = a[:, None] * b[None] / (np.maximum(overall, 1) / overall.sum())
        back_off /= back_off.sum(2, keepdims=True)
        seen = count.sum(2, keepdims=True)
        self.conditional = count / np.maximum(seen, 1) + 1e-3 * back_off
        self.joint = (count + 0.15 * back_off) / (pairs[..., None] + 1)


def network(session: Session) -> Scorer:
    def score(s: np.ndarray, o: np.ndarray, sb: np.ndarray, ob: np.ndarray) -> np.ndarray:
        feeds = {"subject_labels": s, "object_labels": o, "subject_boxes": sb, "object_boxes": ob}
        return session.run(feeds)["vrd_scores"]

    return score


def table(scores: np.ndarray) -> Scorer:
    return lambda s, o, _sb, _ob: scores[s, o]


def pairs_of(image: RelationPicture) -> np.ndarray:
    n = len(image.labels)
    return np.argwhere(~np.eye(n, dtype=bool)).reshape(-1, 2)


def scored(score: Scorer, image: RelationPicture, pairs: np.ndarray) -> np.ndarray:
    i, j = pairs.T
    return score(image.labels[i], image.labels[j], image.boxes[i], image.boxes[j])


def vrd_quality(score: Scorer, data: Path) -> dict[str, float | None]:
    """Top-K over annotated triplets as the baseline counts them, recall over all pairs."""
    rows = load_vrd(data / "test.json.gz", keep_repeats=True)
    known = {
        (image.labels[s], p, image.labels[o])
        for image in load_vrd(data / "train.json.gz", keep_repeats=True).pictures
        for s, p, o in image.triplets
    }
    scores, predicates, unseen = [], [], []
    for image in rows.pictures:
        if not len(image.triplets):
            continue
        s, p, o = image.triplets.T
        scores.append(scored(score, image, image.triplets[:, ::2]))
        predicates.append(p)
        unseen += [
            (a, b, c) not in known
            for a, b, c in zip(image.labels[s], p, image.labels[o], strict=True)
        ]
    every, named, new = np.concatenate(scores), np.concatenate(predicates), np.array(unseen)
    quality: dict[str, float | None] = {"triplets": len(named), "unseen_triplets": int(new.sum())}
    for k in (1, 5):
        quality[f"top_{k}"] = top_k_accuracy(every, named, k)
        quality[f"unseen_top_{k}"] = top_k_accuracy(every[new], named[new], k)

    split = load_vrd(data / "test.json.gz")
    truth = [
        Triplets(
            image.labels[image.triplets[:, 0]],
            image.triplets[:, 1],
            image.labels[image.triplets[:, 2]],
            image.boxes[image.triplets[:, 0]],
            image.boxes[image.triplets[:, 2]],
        )
        for image in split.pictures
    ]
    for constrained in (False, True):
        ranked = []
        for image in split.pictures:
            pairs = pairs_of(image)
            ranked.append(
                ranked_triplets(
                    image.labels,
                    image.boxes,
                    pairs,
                    scored(score, image, pairs),
                    limit=100,
                    graph_constraint=constrained,
                )
            )
        for k in (50, 100):
            recall = recall_at_k(truth, ranked, k, num_predicates=len(split.predicates))
            name = f"{'' if constrained else 'ng'}R@{k}"
            quality[f"{name}_pooled"] = recall.pooled
            quality[f"{name}_image_mean"] = recall.image_mean
            quality[f"{name}_predicate_mean"] = recall.predicate_mean
    return quality


def reported_scores(bundle: Bundle, data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, labels and class of the object of all pairs of the VRD test split."""
    split = load_vrd(data / "test.json.gz")
    pairs = pair_table(split)
    session = load(bundle.graph(), SessionOptions(provider="cpu"))
    scores = session.run(
        {
            "subject_labels": pairs.subject_labels,
            "object_labels": pairs.object_labels,
            "subject_boxes": pairs.subject_boxes,
            "object_boxes": pairs.object_boxes,
        }
    )["scores"]
    session.close()
    labels = reported_labels(pairs, split.classes, split.predicates)
    return scores, labels, np.array(split.classes)[pairs.object_labels]


def reported_quality(bundle: Bundle, data: Path) -> dict[str, Any]:
    """Average precision of the reported predicates, undescribed pairs counted as unrelated."""
    scores, labels, _ = reported_scores(bundle, data)
    return {
        name: {
            "described": int(labels[:, k].sum()),
            "AP": average_precision(scores[:, k], labels[:, k]),
        }
        for k, name in enumerate(PREDICATES)
    }


def drawn_average_precision(score: np.ndarray, true: np.ndarray, drawn: np.ndarray) -> float | None:
    return average_precision(score[drawn], true[drawn])


def drawn_share(true: np.ndarray, drawn: np.ndarray) -> float:
    return float(true[drawn].mean())


@dataclasses.dataclass
class Judged:
    """All relations of all pictures, with their verdicts."""

    picture: np.ndarray
    predicate: np.ndarray
    score: np.ndarray
    true: np.ndarray
    num_pictures: int

    def of(self, predicate: int) -> Judged:
        which = self.predicate == predicate
        return Judged(
            self.picture[which],
            self.predicate[which],
            self.score[which],
            self.true[which],
            self.num_pictures,
        )


def judged(relator: Relator, pictures: list[LabelledPicture], found: list[Detections]) -> Judged:
    rows = []
    for number, (picture, objects) in enumerate(zip(pictures, found, strict=True)):
        relations = relator.relate(objects)
        verdicts = judge(picture, objects, relations)
        for predicate, score, verdict in zip(
            relations.predicates, relations.scores, verdicts, strict=True
        ):
            if verdict != LEFT_OUT:
                rows.append((number, predicate, score, verdict == TRUE))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Judged(columns[0], columns[1], columns[2], columns[3].astype(bool), len(pictures))


def coco_quality(
    relator: Relator,
    manifest: RelationManifest,
    pictures: list[LabelledPicture],
    found: list[Detections],
    with_ap: bool,
) -> dict[str, Any]:
    everything = judged(relator, pictures, found)
    known = set(manifest.labels) | set(manifest.aliases)
    report: dict[str, Any] = {"pictures": len(pictures), "predicates": {}}
    false_events = 0
    for name in SHOWN:
        one = everything.of(manifest.predicates.index(name))
        sure = [
            (picture.objects.name(s), picture.objects.name(o))
            for picture in pictures
            for (s, p, o), how in picture.certainty.items()
            if p == name and how == "sure"
        ]
        row: dict[str, Any] = {
            "true": len(sure),
            "true_of_known_classes": sum({s, o} <= known for s, o in sure),
            "sum_of_scores": float(one.score.sum()),
            "right_of_found_at": {
                f"{t:.2f}": f"{int(one.true[at].sum())} of {int(at.sum())}"
                for t in SWEEP
                for at in [one.score >= np.float32(t)]
            },
        }
        if with_ap:
            row["AP_of_known_classes"] = average_precision(one.score, one.true)
            row["AP_interval"] = bootstrap_interval(
                one.picture,
                partial(drawn_average_precision, one.score, one.true),
            )
        if name in manifest.events:
            at = one.score >= np.float32(manifest.events[name].on)
            right, number = int(one.true[at].sum()), int(at.sum())
            false_events += number - right
            row["event"] = {
                "on": manifest.events[name].on,
                "right": right,
                "found": number,
                "pictures_with_one": len(np.unique(one.picture[at])),
                "precision": right / number if number else None,
                "wilson_interval": wilson_interval(right, number),
                "picture_interval": bootstrap_interval(
                    one.picture[at], partial(drawn_share, one.true[at])
                )
                if number
                else None,
                "recall": right / len(sure),
            }
        report["predicates"][name] = row
    report["false_relations_a_picture"] = false_events / len(pictures)
    return report


def rgb_picture(path: Path) -> np.ndarray:
    import cv2

    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"{path} can't be read")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def clip_frames(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.time, frame.to_ndarray(format="rgb24")


def clip_quality(relator: Relator, frames: list[tuple[float, Detections]]) -> dict[str, Any]:
    """Best score of a person riding a bicycle, frame by frame."""
    ride = relator.predicates.index("ride")
    best: dict[str, list[float]] = {"rider": [], "walker": []}
    for seconds, detections in frames:
        relations = relator.relate(detections)
        scores = [
            float(relations.scores[k])
            for k, (i, j) in enumerate(relations.pairs)
            if relations.predicates[k] == ride
            and (detections.name(i), detections.name(j)) == ("person", "bicycle")
        ]
        if scores:
            best["walker" if seconds >= WALKER_FROM else "rider"].append(max(scores))
    return {
        who: {
            "frames": len(scores),
            "median": statistics.median(scores) if scores else None,
            "most": max(scores, default=None),
        }
        for who, scores in best.items()
    }


def latency_ms(relator: Relator, num_objects: int) -> dict[str, float]:
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 400, (num_objects, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(20, 200, (num_objects, 2))], 1)
    detections = Detections.untracked(
        boxes.astype(np.float32),
        np.ones(num_objects, np.float32),
        np.arange(num_objects, dtype=np.int32) % 3,
        ("person", "bicycle", "dining table"),
    )
    times = []
    for _ in range(1050):
        start = time.perf_counter()
        relator.relate(detections)
        times.append((time.perf_counter() - start) * 1e3)
    times = sorted(times[50:])  # the first ones warm up
    return {"median": statistics.median(times), "p95": times[950], "p99": times[990]}


def ablation(data: Path, frames: list[tuple[float, Detections]]) -> dict[str, Any]:
    """``ride`` on the VRD test split and the demo clip, trained with and without made-up pairs."""
    report: dict[str, Any] = {}
    shipped = counterfactuals.COPIES
    for copies in (0, shipped):
        counterfactuals.COPIES = copies
        rows = []
        for seed in range(3):
            with tempfile.TemporaryDirectory() as folder:
                train(data, Path(folder) / "b.vinfer", seed=seed)
                bundle = Bundle.open(Path(folder) / "b.vinfer")
            with Relator(bundle, SessionOptions(provider="cpu"), min_score=0.0) as relator:
                rows.append(
                    {
                        "seed": seed,
                        "AP": ride_ap(bundle, data, None),
                        "AP_of_bikes": ride_ap(bundle, data, "bike"),
                        "clip": clip_quality(relator, frames),
                    }
                )
        report[f"{copies} made-up pairs a rider"] = rows
    counterfactuals.COPIES = shipped
    return report


def ride_ap(bundle: Bundle, data: Path, ridden: str | None) -> float | None:
    scores, labels, objects = reported_scores(bundle, data)
    which = np.ones(len(labels), bool) if ridden is None else objects == ridden
    k = PREDICATES.index("ride")
    return average_precision(scores[which, k], labels[which, k])


def machine() -> dict[str, Any]:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {"cpu": names[0] if names else platform.machine(), "cores": len(names)}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="relation-prior")
    parser.add_argument("--detector", default="ssd-mobilenet-v2-coco")
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    vrd, coco = arguments.data / "vrd", arguments.data / "coco_open"

    bundle = Bundle.open(find_bundle(arguments.bundle))
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)
    session = load(bundle.graph(), SessionOptions(provider="cpu", threads=1))
    relator = Relator(bundle, SessionOptions(provider="cpu", threads=1), min_score=0.0)
    prior = ClassPrior(load_vrd(vrd / "train.json.gz", keep_repeats=True))
    pictures = load_relation_truth(
        coco / "annotations.json", coco / "relations.json", PREDICATE_MAP, specific=SPECIFIC
    )
    with Relator(bundle, SessionOptions(provider="cpu", threads=1)) as usual:
        latency = {f"{n} objects": latency_ms(usual, n) for n in (5, 10, 30)}
    report: dict[str, Any] = {
        "bundle": bundle.identity,
        "digest": bundle.digest,
        "machine": machine(),
        "versions": {
            "vinfer": vinfer.__version__,
            "onnxruntime": onnxruntime.__version__,
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
        },
        "relate_ms_1_thread": latency,
        "vrd_test": {
            "relation-prior": vrd_quality(network(session), vrd),
            "class prior, P(p | classes, described)": vrd_quality(table(prior.conditional), vrd),
            "class prior, P(p | classes)": vrd_quality(table(prior.joint), vrd),
        },
        "vrd_test_reported": reported_quality(bundle, vrd),
        "coco_open, true boxes": coco_quality(
            relator, manifest, pictures, [picture.objects for picture in pictures], True
        ),
    }
    frames: list[tuple[float, Detections]] = []
    try:
        detector = Detector(Bundle.open(find_bundle(arguments.detector)), SessionOptions())
    except BundleNotFoundError as exc:
        print(f"without detections: {exc}")
    else:
        found = [detector.detect(rgb_picture(coco / "images" / p.file_name)) for p in pictures]
        for least in DETECTION_SCORES:
            sure = [objects.select(objects.scores >= least) for objects in found]
            report[f"coco_open, detections from {least}"] = coco_quality(
                relator, manifest, pictures, sure, False
            )
        if arguments.clip:
            frames = [(t, detector.detect(image)) for t, image in clip_frames(arguments.clip)]
            report["demo clip, person ride bicycle"] = clip_quality(relator, frames)
    if arguments.ablation:
        report["made-up pairs"] = ablation(vrd, frames)
    text = json.dumps(rounded(report), indent=1)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
