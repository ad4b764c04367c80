"""Training from a tiny made-up set in VRD's format: what comes out, and what stops it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)

import torch

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, RelationManifest
from vinfer.errors import MissingDependencyError, TrainingError
from vinfer.stages.relate import Relator
from vinfer.training import relation_fit, relation_prior
from vinfer.training.relation_prior import train
from vinfer.types import Detections

CLASSES = ["person", "bike", "table", "cup", "shirt"]
VRD_PREDICATES = ["on", "wear", "ride", "next to", "behind"]
RIDER, BIKE = [40, 10, 90, 140], [20, 80, 120, 170]


def write_set(folder: Path, num_images: int = 400, **changes: Any) -> Path:
    """Half the pictures: a rider on a bike and a cup on a table. The others: the same, apart."""
    generator = np.random.default_rng(0)
    images = []
    for k in range(num_images):
        shift, scale = generator.uniform(0, 200, 2), generator.uniform(0.5, 2)
        boxes = [RIDER, BIKE, [200, 100, 400, 200], [250, 70, 280, 110], [45, 40, 85, 90]]
        related = k % 2 == 0
        if not related:
            boxes[1] = [v + (300 if i % 2 == 0 else 10) for i, v in enumerate(BIKE)]
            boxes[3] = [20, 300, 50, 340]
        boxes = [[round(v * scale + shift[i % 2], 1) for i, v in enumerate(box)] for box in boxes]
        relations = [[0, 2, 1], [3, 0, 2], [0, 1, 4]] if related else [[0, 3, 2], [0, 1, 4]]
        images.append(
            {
                "image": f"{k}.jpg",
                "objects": [
                    [CLASSES.index(name), *box]
                    for name, box in zip(
                        ["person", "bike", "table", "cup", "shirt"], boxes, strict=True
                    )
                ],
                "relations": relations,
            }
        )
    data = {"classes": CLASSES, "predicates": VRD_PREDICATES, "images": images, **changes}
    folder.mkdir(exist_ok=True)
    (folder / "train.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("vrd"))


@pytest.fixture(scope="module")
def bundle_path(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "prior.vinfer"
    train(data, path)
    return path


def scores_of(path: Path, bike: list[int]) -> dict[str, float]:
    """Scores of person and bicycle, by predicate."""
    names = ("bicycle", "person")
    found = Detections.untracked(
        np.array([bike, RIDER], np.float32),
        np.ones(2, np.float32),
        np.array([0, 1], np.int32),
        names,
    )
    options = SessionOptions(provider="cpu", threads=1)
    with Relator(Bundle.open(path), options, min_score=0.0) as relator:
        relations = relator.relate(found)
    return {
        relations.name(k): float(relations.scores[k])
        for k, pair in enumerate(relations.pairs.tolist())
        if pair == [1, 0]
    }


def test_classes_and_geometry_decide(bundle_path: Path) -> None:
    riding = scores_of(bundle_path, BIKE)
    assert riding["ride"] > 0.7
    assert riding["ride"] == max(riding.values())
    away = scores_of(bundle_path, [320, 90, 420, 180])
    assert away["ride"] < 0.2


def test_bundle_says_what_it_is(bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)
    assert bundle.identity == "relation-prior@0.1.0"
    assert manifest.labels == tuple(CLASSES)
    assert manifest.aliases == {"bicycle": "bike", "dining table": "table", "wine glass": "cup"}
    assert manifest.events["ride"].on >= 0.5
    assert manifest.detector == "ssd-mobilenet-v2-coco"
    assert manifest.licence.startswith("Research use only")
    assert "VRD" in manifest.provenance.trained_on
    card = bundle.card()
    assert "Research use only" in card
    assert "**Limits.**" in card
    assert f"| `ride` | {manifest.events['ride'].on:.2f} |" in card


def test_same_seed_same_bytes_another_seed_another(
    data: Path, bundle_path: Path, tmp_path: Path
) -> None:
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    report = train(data, tmp_path / "again.vinfer")
    assert report.bundle.read_bytes() == bundle_path.read_bytes()
    other = train(data, tmp_path / "other.vinfer", seed=1)
    assert other.bundle.read_bytes() != bundle_path.read_bytes()
    # The caller's torch is as it was.
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_progress_and_report(data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    report = train(data, tmp_path / "b.vinfer", progress=lambda *update: seen.append(update))
    assert [done for done, _, _ in seen] == list(range(1, report.epochs + 1))
    assert report.held_out_loss == min(loss for _, _, loss in seen)
    assert report.num_pairs + report.num_held_out == 400 * 5 * 4
    assert json.loads(json.dumps(report.to_dict()))["bundle"] == str(tmp_path / "b.vinfer")


def test_a_loss_that_is_not_finite_leaves_the_old_bundle(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation_fit, "LEARNING_RATE", 1e30)
    output = tmp_path / "prior.vinfer"
    output.write_text("old")
    with pytest.raises(TrainingError, match=r"the loss became .* in epoch 1, .* nothing was"):
        train(data, output)
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["prior.vinfer"]


def test_data_that_can_not_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"found neither train\.json\.gz nor train\.json"):
        train(tmp_path, tmp_path / "b.vinfer")
    with pytest.raises(TrainingError, match="found 1 pictures, too few"):
        train(write_set(tmp_path / "one", 1), tmp_path / "b.vinfer")
    names = ["a", "b", "c", "d", "e"]
    with pytest.raises(TrainingError, match="expected VRD's names"):
        train(write_set(tmp_path / "other", predicates=names), tmp_path / "b.vinfer")
    with pytest.raises(TrainingError, match="seed: found -1"):
        train(tmp_path, tmp_path / "b.vinfer", seed=-1)
    assert not (tmp_path / "b.vinfer").exists()


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_missing_package_says_how_to_get_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        relation_prior.importlib.util,
        "find_spec",
        lambda name: None if name == missing else find(name),
    )
    with pytest.raises(MissingDependencyError, match=rf"{missing} is not installed.*vinfer\[train"):
        train(data, tmp_path / "b.vinfer")


def test_it_stops_when_held_out_pictures_get_worse_and_keeps_the_best_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation_fit, "LEARNING_RATE", 0.1)
    monkeypatch.setattr(relation_fit, "PATIENCE", 1)
    losses: list[float] = []
    report = train(data, tmp_path / "b.vinfer", progress=lambda *update: losses.append(update[2]))
    assert report.epochs == len(losses) < relation_fit.EPOCHS
    assert losses[-1] >= report.held_out_loss == min(losses)
