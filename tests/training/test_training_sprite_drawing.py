"""What is drawn for each predicate and its twin, and what it does not change."""

import dataclasses
import itertools

import numpy as np
import pytest

from vinfer.training.sprites import (
    CLASSES,
    PREDICATES,
    TWINNED,
    example_scene,
    make_sprite_data,
    render,
)
from vinfer.training.sprites.raster import draw_scene, draw_sprite
from vinfer.training.sprites.rules import relations_of
from vinfer.training.sprites.scene import BOWL, CRATE, HAT, PERSON, Scene, Sprite, Texture
from vinfer.training.sprites.shapes import shape_of


def drawn(scene: Scene) -> np.ndarray:
    """On a plain background, without noise."""
    canvas = np.full((scene.height, scene.width, 3), 128, np.uint8)
    draw_scene(canvas, scene)
    return canvas


def test_a_relation_and_its_twin_share_boxes_and_classes() -> None:
    for kind, seed in itertools.product(TWINNED, range(20)):
        scenes = [example_scene(seed, kind, related=related) for related in (True, False)]
        assert scenes[0].sprites == scenes[1].sprites
        assert [pair.related for scene in scenes for pair in scene.pairs] == [True, False]
        different = (drawn(scenes[0]) != drawn(scenes[1])).any(2).sum()
        assert different >= 12, (kind, seed, different)


def test_hat_and_bowl_look_the_same() -> None:
    for seed in range(10):
        hat, bowl = (example_scene(seed, "wears", related=related) for related in (True, False))
        np.testing.assert_array_equal(drawn(hat), drawn(bowl))
        assert [[s.label for s in scene.sprites] for scene in (hat, bowl)] == [
            [PERSON, HAT],
            [CLASSES.index("bowl"), PERSON],
        ]


def test_the_rim_is_over_what_is_inside_and_under_what_is_in_front() -> None:
    for seed in range(20):
        inside, in_front = (
            example_scene(seed, "inside_of", related=related) for related in (True, False)
        )
        item, crate = inside.sprites
        assert crate.label == CRATE
        for scene, uppermost in ((inside, crate), (in_front, item)):
            alone = dataclasses.replace(scene, sprites=(uppermost,), order=(0,), marks=())
            body, _ = shape_of(uppermost.label, uppermost.width, uppermost.height)
            x1, y1, x2, y2 = uppermost.box
            np.testing.assert_array_equal(
                drawn(scene)[y1:y2, x1:x2][body], drawn(alone)[y1:y2, x1:x2][body]
            )


@pytest.mark.parametrize("kind", ["moving_towards", "passing", "holds", "linked_to", "hits"])
def test_marks_do_not_change_the_objects(kind: str) -> None:
    """The bodies look the same, but for a burst, which is drawn over them."""
    for seed in range(10):
        scene = example_scene(seed, kind, related=True, size=160)
        bare = dataclasses.replace(scene, marks=())
        changed = (drawn(scene) != drawn(bare)).any(2)
        assert changed.any()
        if kind != "hits":
            for sprite in scene.sprites:
                body, _ = shape_of(sprite.label, sprite.width, sprite.height)
                x1, y1, x2, y2 = sprite.box
                assert not changed[y1:y2, x1:x2][body].any()


@pytest.mark.parametrize("kind", PREDICATES)
def test_examples_show_their_predicate(kind: str) -> None:
    for seed in range(400):
        scene = example_scene(seed, kind, related=True)
        assert {PREDICATES[p] for _, p, _ in relations_of(scene)} == {kind}, seed
        if kind in (*TWINNED, "wears"):
            twin = relations_of(example_scene(seed, kind, related=False))
            expected = {"on"} if kind == "wears" else set()
            assert {PREDICATES[p] for _, p, _ in twin} == expected, seed
    assert render(scene, 0, 0).shape == (128, 128, 3)


def test_an_inverted_sprite_is_the_same_one_upside_down() -> None:
    texture = Texture((255, 0, 0), (0, 255, 0), 3, (1, 1))
    for y in (4, -6):
        upright, inverted = np.zeros((2, 32, 32, 3), np.uint8)
        draw_sprite(upright, Sprite(BOWL, 6, y, 20, 10, texture))
        draw_sprite(inverted, Sprite(BOWL, 6, 22 - y, 20, 10, texture, inverted=True))
        assert upright.any()
        np.testing.assert_array_equal(inverted, upright[::-1])


@pytest.mark.parametrize("inverted", [False, True])
def test_bowls_look_like_hats_in_stills_unless_they_are_inverted(inverted: bool) -> None:
    usual = make_sprite_data(12, 4)
    data = make_sprite_data(12, 4, inverted_bowls=inverted)
    assert data.read is not None
    assert usual.read is not None
    for picture, as_usual in zip(data.pictures, usual.pictures, strict=True):
        np.testing.assert_array_equal(picture.boxes, as_usual.boxes)
        np.testing.assert_array_equal(picture.triplets, as_usual.triplets)
        changed = (data.read(picture) != usual.read(as_usual)).any(2)
        assert changed.any() == (inverted and BOWL in picture.labels)
        for x1, y1, x2, y2 in picture.boxes[picture.labels == BOWL].astype(int):
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


def test_a_sprite_may_leave_the_canvas() -> None:
    texture = Texture((255, 0, 0), (0, 255, 0), 3, (0, 1))
    for x, y in ((-5, -5), (10, 10), (-40, 0), (0, 40), (20, -12)):
        canvas = np.zeros((16, 16, 3), np.uint8)
        large = np.zeros((96, 96, 3), np.uint8)
        draw_sprite(canvas, Sprite(PERSON, x, y, 12, 30, texture))
        draw_sprite(large, Sprite(PERSON, x + 40, y + 40, 12, 30, texture))
        np.testing.assert_array_equal(canvas, large[40:56, 40:56])
