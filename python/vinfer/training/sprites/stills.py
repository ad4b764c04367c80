"""Still pictures with exhaustively annotated relations, drawn when they are read."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from vinfer.errors import ConfigError, TrainingError
from vinfer.training.relation_data import RelationData, RelationPicture
from vinfer.training.sprites.backgrounds import (
    BACKGROUNDS,
    Canvas,
    blurred,
    draw_background,
    with_camera_noise,
)
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.placing import bar_in_front
from vinfer.training.sprites.raster import draw_scene
from vinfer.training.sprites.rules import relations_of
from vinfer.training.sprites.scene import (
    CLASSES,
    PREDICATES,
    Scene,
    with_inverted_bowls,
)
from vinfer.training.sprites.scenes import make_scene

LOOK, BAR, NOISE = 2, 3, 4
"""What streams of random numbers are for, as part of their keys; `scenes.SCENE` is another."""

STILL_SIZE = (128, 128)
"""(height, width) of a picture unless another one is asked for."""

SMALLEST, LARGEST = 128, 1024
"""Sides of a picture in pixels."""

MOST_NOISE, MOST_BLUR = 64, 8


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SpriteData(RelationData):
    """Synthetic pictures.

    Attributes:
        scenes: what each picture shows, in the order of `pictures`.
    """

    scenes: tuple[Scene, ...] = ()


def make_sprite_data(
    num_pictures: int,
    seed: int,
    *,
    size: tuple[int, int] = STILL_SIZE,
    noise: int = 8,
    blur: int = 0,
    occlusion: bool = False,
    inverted_bowls: bool = False,
    keep: bool = False,
) -> SpriteData:
    """Make a split. A picture depends on the seed and its number only.

    Args:
        num_pictures: 1 or more. About 1.5 ms each, and 2 ms when it is read.
        seed: 0 or more; take different ones for training and test.
        size: (height, width) in pixels, 128 to 1024; the sprites keep their size.
        noise: amplitude of the camera's noise, in [0, 64] of 255.
        blur: passes of a 1-2-1 filter, in [0, 8].
        occlusion: put a bar in front of a sprite where one fits that hides no mark or contact.
        inverted_bowls: draw bowls upside down, as in clips; otherwise nothing but their label tells
            them from hats.
        keep: keep what was drawn, 48 KiB a picture of 128x128, for training in several epochs.

    Returns:
        The data; `read` draws a picture, the same bytes on every platform.

    Raises:
        ConfigError: an argument is out of range.
    """
    check_look(seed, size, noise, blur)
    if num_pictures < 1:
        raise ConfigError(f"num_pictures: found {num_pictures}, expected 1 or more")
    height, width = size
    scenes = [make_scene(seed, k, height=height, width=width) for k in range(num_pictures)]
    if inverted_bowls:
        scenes = [with_inverted_bowls(scene) for scene in scenes]
    if occlusion:
        scenes = [bar_in_front(KeyedRandom(BAR, seed, k), scene) for k, scene in enumerate(scenes)]
    pictures = tuple(_picture(f"sprites-{seed}-{k}", s) for k, s in enumerate(scenes))
    numbers: Mapping[str, int] = {picture.name: k for k, picture in enumerate(pictures)}

    drawn: dict[int, Canvas] = {}

    def read(picture: RelationPicture) -> Canvas:
        number = numbers.get(picture.name)
        if number is None:
            raise TrainingError(
                f"found no picture {picture.name!r} among the {num_pictures} of seed {seed}; "
                "read pictures of this data set only"
            )
        if number in drawn:
            return drawn[number].copy()
        canvas = render(scenes[number], seed, number, noise=noise, blur=blur)
        if keep:
            drawn[number] = canvas.copy()
        return canvas

    return SpriteData(
        classes=CLASSES,
        predicates=PREDICATES,
        pictures=pictures,
        exhaustive=True,
        skipped=collections.Counter(),
        read=read,
        scenes=tuple(scenes),
    )


def check_look(seed: int, size: tuple[int, int], noise: int, blur: int) -> None:
    """Refuse what can't be drawn.

    Raises:
        ConfigError: an argument is out of range.
    """
    if seed < 0:
        raise ConfigError(f"seed: found {seed}, expected 0 or more")
    if len(size) != 2 or not all(SMALLEST <= side <= LARGEST for side in size):
        raise ConfigError(
            f"size: found {size}, expected (height, width) of {SMALLEST} to {LARGEST} pixels"
        )
    for name, value, most in (("noise", noise, MOST_NOISE), ("blur", blur, MOST_BLUR)):
        if not 0 <= value <= most:
            raise ConfigError(f"{name}: found {value}, expected 0 to {most}")


def render(
    scene: Scene, seed: int, number: int, *, noise: int = 8, blur: int = 0, frame: int = 0
) -> Canvas:
    """Draw a scene.

    Args:
        scene: what to draw.
        seed, number: decide the background.
        noise, blur: as for `make_sprite_data`.
        frame: changes the noise, and nothing else.

    Returns:
        uint8 ``[height, width, 3]``, RGB.
    """
    random = KeyedRandom(LOOK, seed, number)
    canvas = draw_background(random.choice(BACKGROUNDS), scene.height, scene.width, random)
    draw_scene(canvas, scene)
    if blur:
        canvas = blurred(canvas, blur)
    if noise:
        canvas = with_camera_noise(canvas, noise, NOISE, seed, number, frame)
    return canvas


def _picture(name: str, scene: Scene) -> RelationPicture:
    return RelationPicture(
        name=name,
        size=(scene.height, scene.width),
        labels=np.array([sprite.label for sprite in scene.sprites], np.int64),
        boxes=np.array([sprite.box for sprite in scene.sprites], np.float32),
        triplets=np.array(relations_of(scene), np.int64).reshape(-1, 3),
    )
