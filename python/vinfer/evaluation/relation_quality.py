"""Every relation metric of a file of predictions against a file of true relations."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vinfer.errors import InputError
from vinfer.evaluation.open_images import OpenImagesScore, open_images_score
from vinfer.evaluation.relations import MeanAveragePrecision, ap_voc, mean_average_precision
from vinfer.evaluation.scene_graph import Recall, recall_at_k
from vinfer.evaluation.scene_graph_file import load_predicted_scene_graphs, load_true_scene_graphs
from vinfer.evaluation.scene_graph_pairing import all_pairs, pair_pictures

RECALL_AT = (20, 50, 100)


@dataclasses.dataclass(frozen=True, slots=True)
class RelationQuality:
    """What `evaluate_relations` found.

    Attributes:
        pictures, relations: how many the truth has.
        predicates: the vocabulary.
        average_precision: the mAP family; None where the predictions are about boxes of their own.
        voc: by predicate the average precision by the VOC 2010 envelope, else as above.
        recall: by name, such as ``R@50`` (with graph constraint), ``ngR@50`` (without), ``phrase
            R@50``, ``phrase ngR@50``.
        open_images: the challenge's figures.
    """

    pictures: int
    relations: int
    predicates: tuple[str, ...]
    average_precision: MeanAveragePrecision | None
    voc: tuple[float | None, ...] | None
    recall: dict[str, Recall]
    open_images: OpenImagesScore

    def figures(self) -> dict[str, float | None]:
        """Every figure by its usual name."""
        ap, challenge = self.average_precision, self.open_images
        named: dict[str, float | None] = {}
        if ap is not None:
            named |= {"mAP*": ap.mean_star, "mAP": ap.mean}
            named |= {"mAP*_FG": ap.mean_star_foreground, "mAP_FG": ap.mean_foreground}
        named |= {name: recall.image_mean for name, recall in self.recall.items()}
        for name, recall in self.recall.items():
            if not name.startswith("phrase"):
                mean = name.replace("R@", "-mR@" if name.startswith("ng") else "mR@")
                named[mean] = recall.predicate_mean
                named[f"{mean} present"] = recall.predicate_mean_present
        named["Open Images mAP_rel"] = challenge.relation.mean_ap
        named["Open Images mAP_phrase"] = challenge.phrase.mean_ap
        named["Open Images Recall@50"] = challenge.relation.recall
        named["Open Images score"] = challenge.score
        return named

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record: the figures, figures by predicate, and every variant of recall."""
        ap, challenge = self.average_precision, self.open_images
        by_predicate = {
            name: {
                "ap": None if ap is None else ap.ap[k],
                "ap_foreground": None if ap is None else ap.ap_foreground[k],
                "ap_voc": None if self.voc is None else self.voc[k],
                "open_images_ap": challenge.relation.ap[k],
                "open_images_ap_phrase": challenge.phrase.ap[k],
            }
            for k, name in enumerate(self.predicates)
        }
        return {
            "pictures": self.pictures,
            "relations": self.relations,
            "figures": self.figures(),
            "by_predicate": by_predicate,
            "recall": {name: dataclasses.asdict(recall) for name, recall in self.recall.items()},
        }


def evaluate_relations(
    truth: Path | str, predicted: Path | str, *, ignored: Collection[str] = ()
) -> RelationQuality:
    """Compare predicted with true relations (docs/relation-metrics.md).

    Args:
        truth, predicted: files of schema ``vinfer-scene-graphs/1``.
        ignored: predicates that mAP* and mAP*_FG leave out.

    Raises:
        SourceNotFoundError: a file can't be opened.
        InputError: a file is not valid, the two do not fit together, or ``ignored`` names another
            predicate.
    """
    true, found = load_true_scene_graphs(truth), load_predicted_scene_graphs(predicted)
    predicates = true.predicates
    strange = sorted(set(ignored) - set(predicates))
    if strange:
        raise InputError(f"ignored: found {strange}, expected predicates of {list(predicates)}")
    pictures = pair_pictures(true, found)
    ap, voc = None, None
    if not found.has_objects:
        scores, labels = all_pairs(pictures, len(predicates))
        ap = mean_average_precision(
            scores, labels, ignored=[predicates.index(name) for name in ignored]
        )
        voc = tuple(
            ap_voc(scores[:, k], labels[:, k], int(labels[:, k].sum()))
            for k in range(len(predicates))
        )
    triplets = [picture.true_triplets() for picture in pictures]
    ranked = [picture.ranked(graph_constraint=False) for picture in pictures]
    best = [picture.ranked(graph_constraint=True) for picture in pictures]
    recall = {
        f"{'phrase ' if phrase else ''}{name}@{k}": recall_at_k(
            triplets,
            [these for these, _ in predictions],
            k,
            num_predicates=len(predicates),
            phrase=phrase,
        )
        for phrase in (False, True)
        for name, predictions in (("R", best), ("ngR", ranked))
        for k in RECALL_AT
    }
    return RelationQuality(
        pictures=len(pictures),
        relations=sum(map(len, triplets)),
        predicates=predicates,
        average_precision=ap,
        voc=voc,
        recall=recall,
        open_images=open_images_score(
            triplets,
            [these for these, _ in ranked],
            [scores for _, scores in ranked],
            num_predicates=len(predicates),
            verified=[picture.verified for picture in pictures],
        ),
    )
