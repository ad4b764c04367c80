"""The relation prior that comes with the package: it loads, is small, and is as good as stated."""

from pathlib import Path

import numpy as np
import pytest

import vinfer.bundles
from vinfer.backends import SessionOptions, load
from vinfer.bundles import Bundle, RelationManifest
from vinfer.evaluation.relation_truth import LEFT_OUT, TRUE, judge, load_relation_truth
from vinfer.evaluation.relations import top_k_accuracy
from vinfer.evaluation.scene_graph import Triplets, ranked_triplets, recall_at_k
from vinfer.stages.relate import Relator
from vinfer.training.vrd import load_vrd
from vinfer.types import Detections

SHIPPED = Path(vinfer.bundles.__file__).parent / "shipped" / "relation-prior.vinfer"
CPU = SessionOptions(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(SHIPPED)


def manifest(bundle: Bundle) -> RelationManifest:
    assert isinstance(bundle.manifest, RelationManifest)
    return bundle.manifest


def best(bundle: Bundle, person: list[float], other: list[float], name: str) -> dict[str, float]:
    """Scores from person to the other object, by predicate."""
    found = Detections.untracked(
        np.array([person, other], np.float32),
        np.ones(2, np.float32),
        np.array([0, 1], np.int32),
        ("person", name),
    )
    with Relator(bundle, CPU, min_score=0.0) as relator:
        relations = relator.relate(found)
    return {
        relations.name(k): float(relations.scores[k])
        for k, pair in enumerate(relations.pairs.tolist())
        if pair == [0, 1]
    }


def test_it_is_small_and_says_what_it_is(bundle: Bundle) -> None:
    assert SHIPPED.stat().st_size < 500_000
    assert bundle.identity == "relation-prior@0.1.0"
    assert manifest(bundle).licence.startswith("Research use only")
    assert "Research use only" in bundle.card()
    assert set(manifest(bundle).events) == {"ride", "on"}


def test_riding_and_walking_past_are_told_apart(bundle: Bundle) -> None:
    on = manifest(bundle).events["ride"].on
    bike = [100.0, 200.0, 300.0, 330.0]
    assert best(bundle, [140, 90, 240, 300], bike, "bicycle")["ride"] > on
    # In front of it: covers it as a rider does, but the feet are lower.
    assert best(bundle, [140, 90, 250, 370], bike, "bicycle")["ride"] < on
    assert best(bundle, [500, 90, 600, 330], bike, "bicycle")["ride"] < 0.1


def test_it_beats_the_class_prior_on_vrd(bundle: Bundle, shared_data: Path) -> None:
    """The published baseline: top-1 .524, top-5 .845; ranked over all pairs, R@50 .616 at best."""
    session = load(bundle.graph(), CPU)
    path = shared_data / "vrd" / "test.json.gz"

    def scores(labels: np.ndarray, boxes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        i, j = pairs.T
        return session.run(
            {
                "subject_labels": labels[i],
                "object_labels": labels[j],
                "subject_boxes": boxes[i],
                "object_boxes": boxes[j],
            }
        )["vrd_scores"]

    annotated = [
        image for image in load_vrd(path, keep_repeats=True).pictures if image.triplets.size
    ]
    every = np.concatenate(
        [scores(image.labels, image.boxes, image.triplets[:, ::2]) for image in annotated]
    )
    named = np.concatenate([image.triplets[:, 1] for image in annotated])
    assert len(named) == 7638
    assert top_k_accuracy(every, named, 1) > 0.56
    assert top_k_accuracy(every, named, 5) > 0.885

    split = load_vrd(path)
    truth, ranked = [], []
    for image in split.pictures:
        s, p, o = image.triplets.T
        truth.append(Triplets(image.labels[s], p, image.labels[o], image.boxes[s], image.boxes[o]))
        pairs = np.argwhere(~np.eye(len(image.labels), dtype=bool)).reshape(-1, 2)
        ranked.append(
            ranked_triplets(
                image.labels,
                image.boxes,
                pairs,
                scores(image.labels, image.boxes, pairs),
                limit=50,
            )
        )
    recall = recall_at_k(truth, ranked, 50, num_predicates=len(split.predicates))
    assert recall.pooled is not None
    assert recall.pooled > 0.73


def test_events_are_precise_on_exhaustively_labelled_pictures(
    bundle: Bundle, shared_data: Path
) -> None:
    folder = shared_data / "coco_open"
    pictures = load_relation_truth(
        folder / "annotations.json",
        folder / "relations.json",
        {"on": "on", "rides": "ride"},
        specific={"ride": "on"},
    )
    right = found = 0
    with Relator(bundle, CPU) as relator:
        for picture in pictures:
            relations = relator.relate(picture.objects)
            verdicts = judge(picture, picture.objects, relations)
            for k in range(len(relations)):
                event = manifest(bundle).events.get(relations.name(k))
                if event and relations.scores[k] >= event.on and verdicts[k] != LEFT_OUT:
                    found += 1
                    right += int(verdicts[k] == TRUE)
    assert found >= 20
    assert right / found > 0.9
