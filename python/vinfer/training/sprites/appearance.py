"""Sizes by class; colours and stripes whatever the class."""

from __future__ import annotations

from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.scene import (
    BALL,
    BOWL,
    CAR,
    CRATE,
    HAT,
    PERSON,
    TABLE,
    Colour,
    Sprite,
    Texture,
)

PALETTE: tuple[Colour, ...] = (
    (226, 40, 40),
    (245, 130, 30),
    (250, 215, 40),
    (70, 190, 60),
    (20, 110, 60),
    (40, 200, 200),
    (40, 100, 230),
    (60, 40, 150),
    (150, 60, 200),
    (240, 110, 190),
    (130, 70, 30),
    (245, 245, 245),
)
SLOPES = ((0, 1), (1, 0), (1, 1), (1, -1))


def draw_textures(random: KeyedRandom, count: int) -> list[Texture]:
    """Textures with different first tones, chosen without a look at any class."""
    textures = []
    for first in random.shuffled(PALETTE)[:count]:
        towards = random.choice((0, 255))
        red, green, blue = ((2 * tone + 3 * towards) // 5 for tone in first)
        if abs(sum(first) - red - green - blue) < 150:  # white stays white otherwise
            red, green, blue = ((2 * tone + 3 * (255 - towards)) // 5 for tone in first)
        textures.append(
            Texture(first, (red, green, blue), random.between(3, 6), random.choice(SLOPES))
        )
    return textures


def draw_sprite_of(random: KeyedRandom, label: int, texture: Texture) -> Sprite:
    """A sprite of a class at (0, 0), its size drawn from the class's range."""
    width, height = _size(random, label)
    return Sprite(label, 0, 0, width, height, texture)


def _size(random: KeyedRandom, label: int) -> tuple[int, int]:
    if label == PERSON:
        return random.between(12, 15), random.between(30, 38)
    if label == BALL:
        return (random.between(14, 18),) * 2
    if label == CRATE:
        return (random.between(30, 38),) * 2
    if label == TABLE:
        return random.between(32, 40), random.between(20, 26)
    if label in (HAT, BOWL):
        height = random.between(9, 11)
        return 2 * height, height
    if label == CAR:
        length, breadth = random.between(24, 28), random.between(13, 15)
        return (length, breadth) if random.chance(1, 2) else (breadth, length)
    return random.between(14, 20), random.between(14, 20)
