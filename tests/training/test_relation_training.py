"""Training of the relation network: it learns, it goes on to the same bits, it refuses nonsense."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

from vinfer.errors import ConfigError, OutputError, TrainingError
from vinfer.training.checkpoints import load_checkpoint, save_checkpoint
from vinfer.training.relation_config import (
    RelationTrainingConfig,
    parse_training_config,
    read_training_config,
)
from vinfer.training.relation_data import RelationData
from vinfer.training.relation_scoring import score_pairs
from vinfer.training.relation_training import (
    CHECKPOINT,
    Progress,
    identity,
    load_network,
    train_relations,
)
from vinfer.training.sprites import make_sprite_data
from vinfer.training.training_folder import load_trained

OPEN_IMAGES = Path(__file__).with_name("open_images")
CONTENT = {
    "data": {"kind": "sprites", "train_pictures": 20, "validation_pictures": 10},
    "network": {"trunk": "slim", "filters": 8, "features": 8, "embedding_size": 4},
    "batches": {"pictures": 8, "short_side": 64, "long_side": 64},
    "epochs": 2,
    "threads": 1,
}


def config(**changes: Any) -> RelationTrainingConfig:
    return parse_training_config({**CONTENT, **changes})


@pytest.fixture(scope="module")
def data() -> tuple[RelationData, RelationData]:
    return config().data.load()


class Killed(Exception):
    """Stands for the end of the process."""


def weights_of(path: Path) -> dict[str, Any]:
    return load_checkpoint(path)


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("after", [2, 3, 4])
def test_after_a_kill_training_goes_on_to_the_same_bits(
    data: tuple[RelationData, RelationData], tmp_path: Path, after: int
) -> None:
    whole = train_relations(config(), tmp_path / "whole", data=data)
    steps = 0

    def kill(progress: Progress) -> None:
        nonlocal steps
        steps += 1
        if steps == after:
            raise Killed

    often = config(checkpoint_minutes=1e-9)
    with pytest.raises(Killed):
        train_relations(often, tmp_path / "killed", data=data, progress=kill)
    resumed = train_relations(config(), tmp_path / "killed", data=data)
    assert_same(weights_of(whole.weights), weights_of(resumed.weights))
    assert (whole.epochs, whole.best_epoch, whole.map_star) == (
        resumed.epochs,
        resumed.best_epoch,
        resumed.map_star,
    )


def test_a_finished_training_is_not_repeated(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    first = train_relations(config(), tmp_path, data=data)
    calls: list[Progress] = []
    again = train_relations(config(), tmp_path, data=data, progress=calls.append)
    assert calls == []
    assert again.map_star == first.map_star


def test_equal_seeds_give_equal_weights_and_others_do_not(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    one, same, other = (
        weights_of(train_relations(config(seed=s, epochs=1), tmp_path / n, data=data).weights)
        for n, s in (("one", 0), ("same", 0), ("other", 1))
    )
    assert_same(one, same)
    assert not torch.equal(one["pair.conv1.weight"], other["pair.conv1.weight"])


def test_it_learns(tmp_path: Path) -> None:
    # `on` and `wears` are plain to see in classes and boxes.
    made = make_sprite_data(120, 7), make_sprite_data(60, 8)
    settings = config(
        network={"trunk": "slim", "visual": False, "filters": 16, "features": 16},
        epochs=12,
        learning_rate=0.01,
    )
    losses: list[float] = []
    result = train_relations(
        settings, tmp_path, data=made, progress=lambda p: losses.append(p.loss)
    )
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    network = load_network(result.weights, settings, made[1])
    scored = score_pairs(network, made[1], settings.batch_settings())
    quality = scored.quality(made[1].predicates, settings.ignored)
    assert quality.mean_star == pytest.approx(result.map_star)
    on = quality.ap[made[1].predicates.index("on")]
    prevalence = scored.labels[:, made[1].predicates.index("on")].mean()
    assert on is not None
    assert on > 10 * prevalence


def test_progress_counts_and_logs_are_written(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    train_relations(config(), tmp_path, data=data, progress=seen.append)
    assert [(p.epoch, p.batch) for p in seen] == [(e, b) for e in (1, 2) for b in (1, 2, 3)]
    assert seen[0].map_star is None
    assert seen[-1].map_star is not None
    assert all(p.seconds_left >= 0 for p in seen)
    (events,) = (tmp_path / "logs").iterdir()
    assert b"training/loss" in events.read_bytes()
    assert b"validation/mAP_star" in events.read_bytes()


def test_training_stops_early(data: tuple[RelationData, RelationData], tmp_path: Path) -> None:
    # With no learning to speak of the first epoch stays the best.
    still = config(epochs=9, patience=2, learning_rate=1e-12)
    result = train_relations(still, tmp_path, data=data)
    assert result.epochs < 9
    assert result.epochs == result.best_epoch + 2


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": {**CONTENT["batches"], "sampling": "gt"}},  # type: ignore[dict-item]
        {"batches": {**CONTENT["batches"], "hard_negatives": 3}},  # type: ignore[dict-item]
        {"network": {**CONTENT["network"], "head": "softmax_bg"}},  # type: ignore[dict-item]
        {"precision": "bfloat16"},
    ],
)
def test_options_train(
    data: tuple[RelationData, RelationData], tmp_path: Path, changes: dict[str, Any]
) -> None:
    result = train_relations(config(epochs=1, **changes), tmp_path, data=data)
    assert 0 <= result.map_star <= 1


def test_a_loss_that_is_no_number_ends_it_and_keeps_the_checkpoint(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    train_relations(config(epochs=1), tmp_path, data=data)
    state = load_checkpoint(tmp_path / CHECKPOINT)
    state["network"]["pair.fc.weight"][:] = float("nan")
    # As a training of two epochs would have left it after its first.
    state["configuration"] = identity(config())
    save_checkpoint(tmp_path / CHECKPOINT, state)
    poisoned = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match=r"epoch 2, batch 0: the loss is nan.*sprites-1-"):
        train_relations(config(), tmp_path, data=data)
    assert (tmp_path / CHECKPOINT).read_bytes() == poisoned


def test_a_checkpoint_of_another_configuration_is_refused(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    train_relations(config(epochs=1), tmp_path, data=data)
    with pytest.raises(TrainingError, match="of another configuration"):
        train_relations(config(epochs=1, seed=5), tmp_path, data=data)


def test_a_damaged_checkpoint_is_refused(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    train_relations(config(epochs=1), tmp_path, data=data)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        train_relations(config(epochs=1), tmp_path, data=data)


def test_a_checkpoint_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"a": 1})

    class Unwritable:
        def __reduce__(self) -> Any:
            raise OSError("disk full")

    with pytest.raises(OutputError, match="disk full"):
        save_checkpoint(path, {"a": Unwritable()})
    assert load_checkpoint(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_validation_without_relations_is_refused(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    bare = dataclasses.replace(
        data[1],
        pictures=tuple(
            dataclasses.replace(p, triplets=np.empty((0, 3), np.int64)) for p in data[1].pictures
        ),
    )
    with pytest.raises(TrainingError, match="validation data: found no relation"):
        train_relations(config(epochs=1), tmp_path, data=(data[0], bare))


def test_open_images_as_downloaded_train(tmp_path: Path) -> None:
    for path in OPEN_IMAGES.iterdir():
        shutil.copy(path, tmp_path)
    for name, shape in (("00a1000000000001", (100, 200, 3)), ("00b2000000000002", (80, 60, 3))):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full(shape, 90, np.uint8))
    relations, boxes = (
        str(tmp_path / f"oidv6-train-annotations-{which}.csv") for which in ("vrd", "bbox")
    )
    both = {"relations": relations, "boxes": boxes, "images": str(tmp_path)}
    source = {
        "kind": "open_images",
        "classes": str(tmp_path / "oidv6-class-descriptions-boxable.csv"),
        **{f"{split}_{k}": v for split in ("train", "validation") for k, v in both.items()},
        "predicates": ["on", "holds", "plays"],
    }
    result = train_relations(config(data=source, epochs=1), tmp_path / "out")
    assert 0 <= result.map_star <= 1
    assert result.skipped["attribute"] > 0
    trained = load_trained(tmp_path / "out")
    assert trained.predicates == ("on", "holds", "plays")
    assert trained.classes == ("Person", "Guitar", "Chair", "Table", "Coffee cup")


def test_vrd_trains(tmp_path: Path) -> None:
    for name in ("street.jpg", "kitchen.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((220, 240, 3), 90, np.uint8))
    annotations = str(Path(__file__).with_name("vrd_sample.json"))
    source = {"kind": "vrd"} | {
        f"{split}_{key}": value
        for split in ("train", "validation")
        for key, value in (("annotations", annotations), ("images", str(tmp_path)))
    }
    mined = {**CONTENT["batches"], "force_mining": True}  # type: ignore[dict-item]
    result = train_relations(config(data=source, epochs=1, batches=mined), tmp_path / "out")
    assert 0 <= result.map_star <= 1


def test_validation_of_other_names_is_refused(
    data: tuple[RelationData, RelationData], tmp_path: Path
) -> None:
    classes = data[1].classes
    swapped = dataclasses.replace(data[1], classes=(classes[1], classes[0], *classes[2:]))
    message = "validation data: found 8 classes, number 0 is .*ball.*expected the 8.*person"
    with pytest.raises(TrainingError, match=message):
        train_relations(config(), tmp_path, data=(data[0], swapped))
    fewer = dataclasses.replace(data[1], predicates=data[1].predicates[:-1])
    with pytest.raises(TrainingError, match="validation data: found 8 predicates, number 8 is"):
        train_relations(config(), tmp_path, data=(data[0], fewer))


def test_fewer_pictures_where_they_are_made() -> None:
    stills = config().data
    assert (stills.fewer(8).train_pictures, stills.fewer(800).train_pictures) == (8, 20)  # type: ignore[union-attr]
    clips = {"kind": "sprite_clips", "train_clips": 50, "train_singles": 9, "train_hard_clips": 9}
    few = config(data=clips).data.fewer(10)
    training, validation = few.model_copy(update={"validation_clips": 2}).load()
    assert len(training.pictures) == 12
    assert len(validation.pictures) == 8


def test_noise_of_clips_is_configured() -> None:
    clips = {
        "kind": "sprite_clips",
        "train_clips": 2,
        "validation_clips": 2,
        "train_seed": 70,
        "validation_seed": 70,
        "drop_percent": 0,
        "jitter": 0,
        "video_colours": True,
    }
    training, validation = config(data=clips).data.load()
    assert sum(len(picture.labels) for picture in training.pictures) > 40
    assert training.read is not None
    assert validation.read is not None
    as_video = 0
    for first, second in zip(training.pictures, validation.pictures, strict=True):
        np.testing.assert_array_equal(first.boxes, second.boxes)
        as_video += bool((training.read(first) != validation.read(second)).any())
    assert 0 < as_video < len(training.pictures)  # validation's colours are as drawn
    message = "drop_percent: found 5, expected 0 with a detector"
    with pytest.raises(ConfigError, match=message):
        config(data={**clips, "drop_percent": 5}, detector="sprites-detector")


def test_configuration_files(tmp_path: Path) -> None:
    path = tmp_path / "relations.yaml"
    path.write_text("data: {kind: sprites, train_pictures: 5}\nepochs: 3\n")
    assert read_training_config(path).epochs == 3
    for text, message in (
        ("epochs: 3\n", "data: Field required"),
        ("data: {kind: sprites}\nepoch: 3\n", "epoch: Extra inputs"),
        ("data: {kind: sprites}\nlearning_rate: -1\n", "learning_rate: Input should be greater"),
        ("data: {kind: videos}\n", "data: Input tag 'videos'"),
        ("data: [", "can't be read as YAML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_training_config(path)
    with pytest.raises(ConfigError, match="can't be read"):
        read_training_config(tmp_path / "absent.yaml")
