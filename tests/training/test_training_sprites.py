"""Synthetic stills: same bytes everywhere, tight boxes, labels that are exactly what is drawn."""

import collections
import dataclasses
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from vinfer.errors import ConfigError, TrainingError
from vinfer.training.coco_relations import load_coco_relations
from vinfer.training.sprites import (
    CLASSES,
    PREDICATES,
    TWINNED,
    SpriteData,
    example_scene,
    make_sprite_data,
    sprite_statistics,
    write_stills,
)
from vinfer.training.sprites.raster import draw_sprite
from vinfer.training.sprites.scene import HAT, PERSON

PICTURES = {0: "d1e24acedf97b55d", 7: "e6412b69aca55fca", 333: "f866c95bc5c4c852"}


@pytest.fixture(scope="module")
def data() -> SpriteData:
    return make_sprite_data(1000, 0)


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(("number", "expected"), PICTURES.items())
def test_same_bytes_on_every_machine(data: SpriteData, number: int, expected: str) -> None:
    assert data.read is not None
    assert digest(data.read(data.pictures[number])) == expected


def test_a_picture_depends_on_seed_and_number_only(data: SpriteData) -> None:
    few = make_sprite_data(5, 0, keep=True)
    assert data.read is not None
    assert few.read is not None
    for number in (4, 0, 4, 2):
        picture = few.pictures[number]
        np.testing.assert_array_equal(few.read(picture), data.read(data.pictures[number]))
        np.testing.assert_array_equal(picture.boxes, data.pictures[number].boxes)
    other = make_sprite_data(5, 1)
    assert other.read is not None
    assert digest(other.read(other.pictures[0])) != PICTURES[0]


def test_what_is_kept_can_not_be_changed_from_outside() -> None:
    kept = make_sprite_data(1, 0, keep=True)
    assert kept.read is not None
    kept.read(kept.pictures[0])[:] = 0
    assert kept.read(kept.pictures[0]).any()


def test_the_contract_of_relation_data(data: SpriteData) -> None:
    assert (data.classes, data.predicates, data.exhaustive) == (CLASSES, PREDICATES, True)
    assert len({picture.name for picture in data.pictures}) == 1000
    for picture in data.pictures:
        n = len(picture.labels)
        assert 4 <= n <= 7
        assert picture.size == (128, 128)
        assert picture.boxes.dtype == np.float32
        assert picture.labels.dtype == picture.triplets.dtype == np.int64
        assert (picture.boxes[:, :2] >= 0).all()
        assert (picture.boxes[:, 2:] <= 128).all()
        assert (picture.boxes[:, 2:] > picture.boxes[:, :2]).all()
        triplets = [tuple(row) for row in picture.triplets.tolist()]
        assert len(set(triplets)) == len(triplets)
        assert all(s != o and s < n and o < n for s, _, o in triplets)
        image = data.read(picture) if data.read and picture is data.pictures[0] else None
        assert image is None or (image.dtype, image.shape) == (np.uint8, (128, 128, 3))


def test_boxes_are_the_extent_of_what_is_drawn(data: SpriteData) -> None:
    sprites = [sprite for scene in data.scenes[:100] for sprite in scene.sprites]
    assert {sprite.label for sprite in sprites} == set(range(len(CLASSES)))
    for sprite in sprites:
        canvas = np.zeros((128, 128, 3), np.uint8)
        draw_sprite(canvas, sprite)
        y, x = np.nonzero(canvas.any(2))
        assert sprite.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_every_related_pair_was_meant_to_be_and_no_other(data: SpriteData) -> None:
    for picture, scene in zip(data.pictures, data.scenes, strict=True):
        meant = set()
        for pair in scene.pairs:
            if pair.related:
                predicate = PREDICATES.index(pair.kind)
                meant.add((pair.subject, predicate, pair.object))
                if pair.kind == "linked_to":
                    meant.add((pair.object, predicate, pair.subject))
        assert set(map(tuple, picture.triplets.tolist())) == meant


def test_a_picture_has_one_or_two_relations_and_at_most_one_twin(data: SpriteData) -> None:
    for scene in data.scenes:
        related = [pair.related for pair in scene.pairs]
        assert 1 <= sum(related) <= 2
        assert len(related) - sum(related) <= 1


def test_nothing_overlaps_but_what_was_placed_together(data: SpriteData) -> None:
    for scene in data.scenes:
        together = {frozenset((pair.subject, pair.object)) for pair in scene.pairs}
        for (i, a), (j, b) in itertools.combinations(enumerate(scene.sprites), 2):
            (a1, b1, a2, b2), (c1, d1, c2, d2) = a.box, b.box
            apart = max(c1 - a2, a1 - c2, d1 - b2, b1 - d2)
            assert apart >= 3 or frozenset((i, j)) in together


def test_geometry_predicates_hold_where_the_boxes_say_so(data: SpriteData) -> None:
    """`on`, `wears` and `under`, told again from boxes and labels alone, for every ordered pair."""
    for picture in data.pictures:
        expected = set()
        for i, j in itertools.permutations(range(len(picture.labels)), 2):
            (x1, y1, x2, y2), (u1, v1, u2, v2) = picture.boxes[[i, j]].tolist()
            centre, other_centre = (x1 + x2) / 2, (u1 + u2) / 2
            if abs(y2 - v1) <= 1 and u1 <= centre <= u2:
                worn = picture.labels[[i, j]].tolist() == [HAT, PERSON]
                expected.add((j, "wears", i) if worn else (i, "on", j))
            if abs(y1 - v2) <= 1 and u1 <= centre <= u2 and not x1 <= other_centre <= x2:
                expected.add((i, "under", j))
        found = {(s, PREDICATES[p], o) for s, p, o in picture.triplets.tolist()}
        assert {t for t in found if t[1] in ("on", "wears", "under")} == expected


def test_classes_say_nothing_about_colours(data: SpriteData) -> None:
    by_class = collections.defaultdict(list)
    for scene in data.scenes:
        assert len({sprite.texture.first for sprite in scene.sprites}) == len(scene.sprites)
        for sprite in scene.sprites:
            by_class[sprite.label].append(sprite.texture.first)
    for colours in by_class.values():
        counts = collections.Counter(colours)
        assert len(counts) == 12
        # Uniform: 1/12 of some hundreds each; 5 standard deviations.
        expected = len(colours) / 12
        assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5


def test_shares_and_balance(data: SpriteData) -> None:
    statistics = sprite_statistics(data)
    assert 0.88 <= statistics.unrelated_share <= 0.95
    assert statistics.num_pairs == sum(len(p.labels) * (len(p.labels) - 1) for p in data.pictures)
    assert statistics.relations["under"] == 2
    assert statistics.relations["linked_to"] == 2 * statistics.units["linked_to"]
    units, twins = (
        [counts[name] for name in TWINNED] for counts in (statistics.units, statistics.twins)
    )
    # A difference of two binomial counts, 4 standard deviations.
    assert abs(sum(units) - sum(twins)) < 4 * (sum(units) + sum(twins)) ** 0.5
    for name, unit, twin in zip(TWINNED, units, twins, strict=True):
        assert abs(unit - twin) < 4 * (unit + twin) ** 0.5, name
    assert min(statistics.relations[name] for name in PREDICATES if name != "under") > 80
    assert statistics.to_dict()["num_pictures"] == 1000


def test_one_picture_in_500_has_an_under() -> None:
    data = make_sprite_data(1500, 3)
    under = PREDICATES.index("under")
    numbers = [k for k, p in enumerate(data.pictures) if (p.triplets[:, 1] == under).any()]
    assert [k // 500 for k in numbers] == [0, 1, 2]


def test_options_change_pixels_and_no_label() -> None:
    plain = make_sprite_data(30, 2, noise=0)
    changed = {
        "noise": make_sprite_data(30, 2, noise=20),
        "blur": make_sprite_data(30, 2, noise=0, blur=2),
        "occlusion": make_sprite_data(30, 2, noise=0, occlusion=True),
    }
    for name, data in changed.items():
        assert data.read is not None
        assert plain.read is not None
        differences = 0
        for a, b in zip(plain.pictures, data.pictures, strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)
            np.testing.assert_array_equal(a.triplets, b.triplets)
            change = data.read(b).astype(int) - plain.read(a)
            differences += bool(change.any())
            if name == "noise":
                assert np.abs(change).max() <= 20
                assert abs(change.std() - 0.41 * 20) < 1.5  # less where it is clipped
            if name == "occlusion":
                bars = data.scenes[plain.pictures.index(a)].occluders
                for x1, y1, x2, y2 in bars:
                    change[y1:y2, x1:x2] = 0
                assert not change.any()
        assert differences >= (5 if name == "occlusion" else 30)


def test_a_bar_leaves_pairs_in_full_view() -> None:
    data = make_sprite_data(200, 4, occlusion=True)
    bars = 0
    for scene in data.scenes:
        for x1, y1, x2, y2 in scene.occluders:
            bars += 1
            hidden = set()
            for k, sprite in enumerate(scene.sprites):
                a1, b1, a2, b2 = sprite.box
                if x1 < a2 and a1 < x2 and y1 < b2 and b1 < y2:
                    hidden.add(k)
            assert hidden
            assert not hidden & {k for pair in scene.pairs for k in (pair.subject, pair.object)}
    assert bars > 40


def test_larger_pictures() -> None:
    data = make_sprite_data(3, 0, size=(160, 240))
    assert data.read is not None
    assert data.read(data.pictures[0]).shape == (160, 240, 3)
    assert data.pictures[0].size == (160, 240)


def test_written_and_read_again(tmp_path: Path) -> None:
    pytest.importorskip("av")
    data = make_sprite_data(6, 9)
    steps: list[tuple[int, int]] = []
    write_stills(data, tmp_path / "a" / "b", lambda *step: steps.append(step))
    assert steps == [(k, 6) for k in range(1, 7)]
    folder = tmp_path / "a" / "b"
    again = load_coco_relations(
        folder / "annotations.json", folder / "relations.json", images=folder / "images"
    )
    assert (again.classes, again.predicates, again.exhaustive) == (CLASSES, PREDICATES, True)
    assert not again.skipped
    assert data.read is not None
    assert again.read is not None
    for ours, theirs in zip(data.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.triplets, theirs.triplets)
        np.testing.assert_array_equal(data.read(ours), again.read(theirs))


def test_bad_arguments_are_refused() -> None:
    for arguments, message in (
        ({"num_pictures": 0}, "num_pictures: found 0, expected 1 or more"),
        ({"seed": -1}, "seed: found -1, expected 0 or more"),
        ({"size": (127, 128)}, r"size: found \(127, 128\), expected \(height, width\) of 128 to"),
        ({"size": (128, 2000)}, "size: found"),
        ({"noise": 65}, "noise: found 65, expected 0 to 64"),
        ({"blur": -1}, "blur: found -1, expected 0 to 8"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_sprite_data(**{"num_pictures": 1, "seed": 0, **arguments})  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="kind: found 'near', expected one of on, inside_of"):
        example_scene(0, "near", related=True)
    ours, others = make_sprite_data(2, 0), make_sprite_data(2, 1)
    assert ours.read is not None
    with pytest.raises(TrainingError, match=r"no picture 'sprites-1-0' among the 2 of seed 0"):
        ours.read(others.pictures[0])
    with pytest.raises(TrainingError, match="without pictures"):
        write_stills(dataclasses.replace(ours, read=None), "unused")
