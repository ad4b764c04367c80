"""The specification's two pictures for R@K and the Open Images score."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.evaluation.scene_graph import Triplets

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_relations.json").read_text())


def triplets(rows: list[Any]) -> Triplets:
    """Rows: subject class, predicate, object class, subject box, object box."""
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    labels = [np.array(column, np.int64) for column in columns[:3]]
    boxes = [np.array(column, np.float32).reshape(-1, 4) for column in columns[3:]]
    return Triplets(labels[0], labels[1], labels[2], boxes[0], boxes[1])


def golden_pictures(constrained: bool) -> tuple[list[Triplets], list[Triplets]]:
    golden = GOLDEN["sgg_recall"]
    predictions = []
    for rows, boxes, classes in zip(
        golden["pred_score_s_o_p"], golden["boxes"], golden["classes"], strict=True
    ):
        seen: set[tuple[int, int]] = set()
        kept = []
        for _, s, o, p in rows:
            if not constrained or (s, o) not in seen:
                kept.append((classes[s], p, classes[o], boxes[s], boxes[o]))
            seen.add((s, o))
        predictions.append(triplets(kept))
    return [triplets(rows) for rows in golden["gt"]], predictions
