"""Composing the scenes of one shot: units and distractors on their courses, with room for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vinfer.errors import TrainingError
from vinfer.training.sprites.appearance import draw_sprite_of, draw_textures
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.motion import Course, drifting, make_course, swept
from vinfer.training.sprites.placing import BAR, room_for
from vinfer.training.sprites.rules import relations_of
from vinfer.training.sprites.scene import CLASSES, PREDICATES, Rect, Scene, Sprite
from vinfer.training.sprites.scenes import assemble

SHOT = 5
"""What its stream of random numbers is for, as part of its key."""

KINDS = (*(name for name in PREDICATES if name != "under"), "bowl")
"""What units are drawn from; "bowl" is a bowl on a head, that is `on`. `under` is rare in stills,
so it is in a clip only when asked for."""

TRIES, PROPOSALS = 120, 60


def make_shot(
    seed: int,
    shot: int,
    num_frames: int,
    size: tuple[int, int],
    kinds: Sequence[str] | None,
    distractors: int,
    occlusion: bool,
) -> list[Scene]:
    """The scenes of one shot, frame by frame.

    Args:
        seed: of the clip.
        shot: number of the shot.
        num_frames: of the shot.
        size: (height, width) in pixels.
        kinds: of the units; None: two that are drawn.
        distractors: single sprites besides.
        occlusion: whether a bar stands in front of everything.

    Raises:
        TrainingError: no room was found.
    """
    chosen = list(kinds or KeyedRandom(SHOT, seed, shot).shuffled(KINDS)[:2])
    for attempt in range(TRIES):
        random = KeyedRandom(SHOT, seed, shot, attempt)
        scenes = _attempt(random, num_frames, size, chosen, distractors)
        if scenes is None or not all(map(_is_as_meant, scenes)):
            continue
        if occlusion:
            x = random.between(size[1] // 4, 3 * size[1] // 4 - BAR)
            bar = (x, 0, x + BAR, size[0])
            scenes = [dataclasses.replace(scene, occluders=(bar,)) for scene in scenes]
        return scenes
    raise TrainingError(
        f"clip of seed {seed}: no room for {', '.join(chosen)} and {distractors} distractors in "
        f"{size[1]}x{size[0]} pixels; give a larger size, fewer kinds or another seed"
    )


def _attempt(
    random: KeyedRandom,
    num_frames: int,
    size: tuple[int, int],
    kinds: Sequence[str],
    distractors: int,
) -> list[Scene] | None:
    height, width = size
    count = 2 * len(kinds) + distractors
    textures = draw_textures(random, count)
    taken: list[Rect] = []

    def place_of(clear: Sequence[Rect]) -> tuple[int, int] | None:
        for _ in range(PROPOSALS):
            if (place := room_for(random, clear, taken, height, width)) is not None:
                dx, dy = place
                taken.extend((x1 + dx, y1 + dy, x2 + dx, y2 + dy) for x1, y1, x2, y2 in clear)
                return place
        return None

    courses: list[Course] = []
    for number, kind in enumerate(kinds):
        course = make_course(random, kind, textures[2 * number : 2 * number + 2], num_frames)
        if (place := place_of(course.clear)) is None:
            return None
        courses.append(course.moved(*place))
    singles: list[list[Sprite]] = []
    for texture in textures[2 * len(kinds) :]:
        sprite = draw_sprite_of(random, random.below(len(CLASSES)), texture)
        drift = drifting(random, num_frames)
        if (place := place_of([swept(sprite, drift)])) is None:
            return None
        singles.append([sprite.moved(*place).moved(*step) for step in drift])
    places = random.shuffled(range(count))
    return [
        assemble(
            [course.units[t] for course in courses],
            [course.states[t] for course in courses],
            [positions[t] for positions in singles],
            places,
            height,
            width,
        )
        for t in range(num_frames)
    ]


def _is_as_meant(scene: Scene) -> bool:
    """Whether nothing is related but what was placed together."""
    together = {frozenset((pair.subject, pair.object)) for pair in scene.pairs}
    return all(frozenset((s, o)) in together for s, _, o in relations_of(scene))
