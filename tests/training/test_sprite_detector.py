"""The detector of sprites: what it is taught, that it learns, and that its bundle finds objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vinfer.bundles
from vinfer import errors
from vinfer.backends import SessionOptions, load
from vinfer.bundles import Bundle, DetectionManifest, Nms, find_bundle
from vinfer.stages.detect import Detector
from vinfer.training.sprite_detector_pictures import (
    SIZE,
    LabelledPicture,
    on_canvas,
    training_pictures,
)
from vinfer.training.sprite_detector_quality import matches, measure
from vinfer.training.sprite_detector_targets import (
    STRIDE,
    boxes_of,
    cell_targets,
)
from vinfer.training.sprites import CLASSES, example_scene, make_clip, make_sprite_data, render
from vinfer.types import Detections

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("av")

from vinfer.export.sprite_detector import (  # noqa: E402
    make_sprite_detector,
    sprite_detector_graph,
)
from vinfer.training.picture_tensors import mirrored_boxes  # noqa: E402
from vinfer.training.sprite_detector import collated, fit  # noqa: E402
from vinfer.training.sprite_detector_network import SpriteDetectorNetwork  # noqa: E402

SHIPPED = Path(vinfer.bundles.__file__).parent / "shipped" / "sprites-detector.vinfer"
CPU = SessionOptions(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def pictures() -> list[LabelledPicture]:
    """Four small ones of two objects each."""
    scenes = [example_scene(seed, "wears", related=True, size=80) for seed in range(4)]
    return [
        LabelledPicture(
            render(scene, 0, number),
            np.array([sprite.label for sprite in scene.sprites]),
            np.array([sprite.box for sprite in scene.sprites], np.float32),
        )
        for number, scene in enumerate(scenes)
    ]


def test_targets_decode_to_the_very_boxes() -> None:
    """At the cell of its centre every object is certain, and its box comes back exactly."""
    data = make_sprite_data(60, 3, size=SIZE)
    columns = SIZE[1] // STRIDE
    for picture in data.pictures:
        targets = cell_targets(picture.labels, picture.boxes, SIZE)
        decoded = boxes_of(targets.distances)
        assert (targets.heat == 1).sum() == len(picture.labels)
        for label, box in zip(picture.labels.tolist(), picture.boxes, strict=True):
            x, y = (box[:2] + box[2:]) / 2
            row, column = int(y // STRIDE), int(x // STRIDE)
            assert targets.heat[label, row, column] == 1
            assert targets.owned[row, column] == 1
            np.testing.assert_array_equal(decoded[row * columns + column], box)


def test_targets_of_known_boxes() -> None:
    """A crate of 32x32 at (8, 8), its centre at (24, 24) in cell (6, 6); a block inside of it."""
    boxes = np.array([[8, 8, 40, 40], [16, 23, 32, 39]], np.float32)
    labels = np.array([CLASSES.index("crate"), CLASSES.index("block")])
    targets = cell_targets(labels, boxes, (64, 64))
    np.testing.assert_array_equal(targets.distances[:, 6, 6], [18, 18, 14, 14])
    # The block's centre is (24, 31), in cell (7, 6); the one above stays the crate's.
    np.testing.assert_array_equal(targets.distances[:, 7, 6], [10, 7, 6, 9])
    assert targets.owned.sum() == 4 * 3
    crate = targets.heat[labels[0]]
    assert crate[6, 6] == 1
    assert crate[6, 7] == pytest.approx(np.exp(-1 / 0.98))
    assert targets.heat[[0, 1, 3, 4, 5, 6]].max() == 0


def test_a_picture_without_objects_has_empty_targets() -> None:
    targets = cell_targets(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), SIZE)
    assert targets.heat.sum() == targets.owned.sum() == targets.distances.sum() == 0


def test_mirrored_pictures_have_mirrored_targets(pictures: list[LabelledPicture]) -> None:
    picture = pictures[0]
    width = picture.image.shape[1]
    boxes = mirrored_boxes(picture.boxes, width)
    np.testing.assert_array_equal(mirrored_boxes(boxes, width), picture.boxes)
    plain, flipped = (collated([picture], [flip]) for flip in (False, True))
    torch.testing.assert_close(flipped[0], plain[0].flip(3))
    assert flipped[1].eq(1).sum() == plain[1].eq(1).sum() == len(picture.labels)


def test_a_small_still_is_enlarged_with_its_boxes() -> None:
    picture = on_canvas(
        np.full((128, 128, 3), 9, np.uint8), np.array([0]), np.array([[0, 0, 64, 128]], np.float32)
    )
    assert picture.image.shape == (*SIZE, 3)
    np.testing.assert_array_equal(picture.boxes, [[24, 0, 96, 144]])
    assert (picture.image[:, 24:168] == 9).all()
    assert (picture.image[:, :24] == 114).all()


def test_training_pictures_are_half_stills_half_frames_and_the_same_again() -> None:
    first, again = training_pictures(9, 1), training_pictures(9, 1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    # The last five are of two clips; what is coded is near to what was drawn, and not equal.
    drawn = make_clip(2_000_000, size=SIZE).image(15)
    off = np.abs(first[5].image.astype(int) - drawn)
    assert 0 < off.mean() < 6
    other_seed = training_pictures(9, 2)
    assert not np.array_equal(first[0].image, other_seed[0].image)


def test_it_learns_and_the_same_seed_gives_the_same_bits(pictures: list[LabelledPicture]) -> None:
    threads = torch.get_num_threads()
    first, again, other = (fit(pictures, epochs=8, seed=seed) for seed in (0, 0, 1))
    assert torch.get_num_threads() == threads
    assert first.losses[-1] < first.losses[0] / 2
    assert first.losses == again.losses != other.losses
    graphs = [sprite_detector_graph(fitted.network) for fitted in (first, again, other)]
    assert graphs[0] == graphs[1] != graphs[2]


def test_the_graph_is_the_network_and_its_decode() -> None:
    torch.manual_seed(3)
    network = SpriteDetectorNetwork()
    images = collated(training_pictures(2, 0), [False, False])[0]
    network.train()
    network(images)  # batch norms that are not the identity
    network.eval()
    session = load(sprite_detector_graph(network), CPU)
    found = session.run({"images": np.ascontiguousarray(images.numpy())})
    with torch.no_grad():
        logits, distances = network(images)
    for k in range(2):
        np.testing.assert_allclose(
            found["boxes"][k], boxes_of(distances[k].numpy()), rtol=0, atol=2e-4
        )
        scores = torch.sigmoid(logits[k]).flatten(1).T.numpy()
        np.testing.assert_allclose(found["scores"][k], scores, rtol=0, atol=1e-5)
    session.close()


@pytest.mark.parametrize(("epochs", "count"), [(0, 4), (-1, 4), (1, 0)])
def test_nothing_to_train_on_is_refused(
    pictures: list[LabelledPicture], epochs: int, count: int
) -> None:
    with pytest.raises(errors.ConfigError, match="expected"):
        fit(pictures[:count], epochs=epochs, seed=0)


def test_a_loss_that_is_no_number_ends_the_training(
    pictures: list[LabelledPicture], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vinfer.training import sprite_detector

    monkeypatch.setattr(sprite_detector, "DISTANCE_WEIGHT", float("nan"))
    with pytest.raises(errors.TrainingError, match="epoch 1: the loss is nan"):
        fit(pictures, epochs=1, seed=0)


def detections(*rows: tuple[str, float, list[float]]) -> Detections:
    return Detections.untracked(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([CLASSES.index(name) for name, _, _ in rows], np.int32),
        CLASSES,
    )


def test_matching_counts_each_object_once_and_only_under_its_name() -> None:
    labels = np.array([CLASSES.index("bowl"), CLASSES.index("ball")])
    boxes = np.array([[0, 0, 20, 10], [50, 50, 66, 66]], np.float32)
    found = detections(
        ("hat", 0.95, [0, 0, 20, 10]),
        ("bowl", 0.9, [0, 0, 20, 11]),
        ("bowl", 0.8, [0, 0, 20, 10]),
        ("block", 0.7, [50, 50, 66, 66]),
        ("ball", 0.6, [50, 50, 66, 74]),
        ("ball", 0.5, [80, 80, 96, 96]),
    )
    assert matches(found, labels, boxes).tolist() == [-1, 0, -1, -1, 1, -1]
    assert matches(found, labels[:0], boxes[:0]).tolist() == [-1] * 6
    assert matches(detections(), labels, boxes).tolist() == []


def test_a_tiny_training_gives_a_bundle_that_runs_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    made = [
        make_sprite_detector(tmp_path / name, num_pictures=6, epochs=1, seed=2, num_held_out=1)
        for name in ("a.vinfer", "b.vinfer")
    ]
    # Step by step, so that a failure tells where they part.
    for picture, again in zip(*(training_pictures(6, 2) for _ in made), strict=True):
        np.testing.assert_array_equal(picture.image, again.image)
    assert made[0].loss == made[1].loss
    assert made[0].quality == made[1].quality
    assert made[0].bundle.read_bytes() == made[1].bundle.read_bytes()
    bundle = Bundle.open(made[0].bundle)
    assert isinstance(bundle.manifest, DetectionManifest)
    assert bundle.manifest.labels == CLASSES
    assert bundle.manifest.quality["held-out clips after H.264"]["num_pictures"] == 6
    with Detector(bundle, CPU, score_threshold=0.0) as detector:
        assert len(detector.detect(np.zeros((90, 120, 3), np.uint8))) > 0


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.open(SHIPPED)


def test_the_shipped_bundle_is_small_and_says_what_it_is(
    shipped: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert SHIPPED.stat().st_size < 2_000_000
    assert isinstance(shipped.manifest, DetectionManifest)
    assert shipped.manifest.labels == CLASSES
    assert shipped.manifest.licence == "Apache-2.0"
    assert shipped.manifest.nms == Nms(
        score_threshold=0.3, iou_threshold=0.5, max_detections=50, class_agnostic=True
    )
    assert "bowls are upside down" in shipped.card()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("VINFER_BUNDLES", raising=False)
    assert find_bundle("sprites-detector") == SHIPPED


@pytest.mark.parametrize("size", [SIZE, (128, 128)])
def test_the_shipped_bundle_finds_what_is_in_unseen_stills(
    shipped: Bundle, size: tuple[int, int]
) -> None:
    data = make_sprite_data(100, 77, size=size, inverted_bowls=True)
    assert data.read is not None
    read = data.read
    with Detector(shipped, CPU) as detector:
        quality = measure(
            detector, (LabelledPicture(read(p), p.labels, p.boxes) for p in data.pictures)
        )
    assert min(quality.recall.values()) > 0.85
    assert quality.false_per_picture < 0.2
    assert quality.error_median < 1
