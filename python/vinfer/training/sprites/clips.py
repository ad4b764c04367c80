"""Clips: the same sprites in motion, with boxes, tracks and events that are exact to the frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vinfer.errors import ConfigError
from vinfer.training.sprites.backgrounds import Canvas
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.rules import relations_of
from vinfer.training.sprites.scene import PREDICATES, Scene, with_inverted_bowls
from vinfer.training.sprites.scenes import make_scene
from vinfer.training.sprites.shots import SHOT, make_shot
from vinfer.training.sprites.stills import check_look, render
from vinfer.types import Float32Array, Int64Array

MOST_FRAMES, SHORTEST_SHOT = 10_000, 20
MOST_UNITS, MOST_DISTRACTORS = 3, 4
CLIP_SIZE = (144, 192)
"""(height, width) of a frame unless another one is asked for."""

NOISE = 8
"""Of the camera, as for `make_sprite_data`, unless another one is asked for."""

TICKS = 1000
"""A second has so many: rates divide it, so that all times are short decimals."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """The objects of one frame and every relation between them.

    Attributes:
        labels: int64 ``[n]``, indices into `CLASSES`.
        boxes: float32 ``[n, 4]``, xyxy in pixels; of the whole object, also where it is hidden.
        track_ids: int64 ``[n]``, from 1; an object of another shot is another track.
        triplets: int64 ``[k, 3]``: subject, predicate, object; indices of objects and into
            `PREDICATES`.
    """

    labels: Int64Array
    boxes: Float32Array
    track_ids: Int64Array
    triplets: Int64Array


@dataclasses.dataclass(frozen=True, slots=True)
class ClipEvent:
    """A relation over the frames on which it is true without a break.

    Attributes:
        subject, object: track ids.
        predicate: its name.
        start_frame, end_frame: the first and the last of these frames.
        start, end: their times in seconds.
    """

    subject: int
    predicate: str
    object: int
    start_frame: int
    end_frame: int
    start: Fraction
    end: Fraction


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SpriteClip:
    """A clip. Frames are drawn when they are asked for.

    Attributes:
        seed: as given.
        size: (height, width) in pixels.
        rate: frames a second.
        frames: what is on each.
        events: in order of start, end, subject, predicate, object.
        cuts: the first frame of each shot but the first.
        scenes: what each frame shows.
        noise, blur: of the camera.
    """

    seed: int
    size: tuple[int, int]
    rate: int
    frames: tuple[ClipFrame, ...]
    events: tuple[ClipEvent, ...]
    cuts: tuple[int, ...]
    scenes: tuple[Scene, ...]
    noise: int
    blur: int

    def __len__(self) -> int:
        return len(self.frames)

    def time(self, frame: int) -> Fraction:
        """Stream time of a frame in seconds; the first is at 0."""
        return Fraction(frame, self.rate)

    def image(self, frame: int) -> Canvas:
        """The picture, uint8 ``[height, width, 3]`` RGB: the same bytes on every platform."""
        shot = sum(cut <= frame for cut in self.cuts)
        return render(
            self.scenes[frame], self.seed, -1 - shot, noise=self.noise, blur=self.blur, frame=frame
        )


def make_clip(
    seed: int,
    *,
    num_frames: int = 60,
    rate: int = 10,
    size: tuple[int, int] = CLIP_SIZE,
    kinds: Sequence[str] | None = None,
    distractors: int = 2,
    num_cuts: int = 0,
    occlusion: bool = False,
    noise: int = NOISE,
    blur: int = 0,
) -> SpriteClip:
    """Make a clip.

    Each unit becomes related and ceases to be once in a shot; everything moves linearly. Bowls are
    drawn upside down, so that a detector can tell them from hats.

    Args:
        seed: 0 or more.
        num_frames: 20 or more in each shot.
        rate: frames a second, a divisor of 1000 up to 100.
        size: (height, width) in pixels, even, 128 to 1024.
        kinds: one to three predicates of a shot, or "bowl" for a bowl on a head; None: two that
            each shot draws.
        distractors: objects of a shot besides, 0 to 4.
        num_cuts: hard cuts, each to another background and other objects.
        occlusion: an upright bar in front of everything, narrower than any object.
        noise, blur: as for `make_sprite_data`.

    Raises:
        ConfigError: an argument is out of range.
        TrainingError: no room was found; the text names the units.
    """
    check_look(seed, size, noise, blur)
    _check(num_frames, rate, size, kinds, distractors, num_cuts)
    ends = _shot_ends(KeyedRandom(SHOT, seed), num_frames, num_cuts)
    scenes: list[Scene] = []
    track_ids: list[Int64Array] = []
    for shot, end in enumerate(ends):
        shot_scenes = make_shot(seed, shot, end - len(scenes), size, kinds, distractors, occlusion)
        known = int(track_ids[-1][-1]) if track_ids else 0
        ids = np.arange(known + 1, known + 1 + len(shot_scenes[0].sprites))
        track_ids += [ids] * len(shot_scenes)
        scenes += map(with_inverted_bowls, shot_scenes)
    frames = tuple(_frame(s, ids) for s, ids in zip(scenes, track_ids, strict=True))
    return SpriteClip(
        seed=seed,
        size=size,
        rate=rate,
        frames=frames,
        events=_events(frames, rate),
        cuts=tuple(ends[:-1]),
        scenes=tuple(scenes),
        noise=noise,
        blur=blur,
    )


def make_single_frame(seed: int) -> SpriteClip:
    """A clip of one frame that is composed as a still: more is related in it than in a moving one.

    Args:
        seed: 0 or more.

    Raises:
        ConfigError: the seed is out of range.
    """
    check_look(seed, CLIP_SIZE, NOISE, 0)
    scene = with_inverted_bowls(make_scene(seed, 0, height=CLIP_SIZE[0], width=CLIP_SIZE[1]))
    frame = _frame(scene, np.arange(1, len(scene.sprites) + 1))
    return SpriteClip(
        seed=seed,
        size=CLIP_SIZE,
        rate=1,
        frames=(frame,),
        events=_events((frame,), 1),
        cuts=(),
        scenes=(scene,),
        noise=NOISE,
        blur=0,
    )


def _check(
    num_frames: int,
    rate: int,
    size: tuple[int, int],
    kinds: Sequence[str] | None,
    distractors: int,
    num_cuts: int,
) -> None:
    if num_cuts < 0:
        raise ConfigError(f"num_cuts: found {num_cuts}, expected 0 or more")
    least = SHORTEST_SHOT * (num_cuts + 1)
    if not least <= num_frames <= MOST_FRAMES:
        raise ConfigError(
            f"num_frames: found {num_frames}, expected {least} to {MOST_FRAMES} with {num_cuts} "
            f"cuts ({SHORTEST_SHOT} in each shot)"
        )
    if not 1 <= rate <= TICKS // 10 or TICKS % rate:
        raise ConfigError(
            f"rate: found {rate}, expected a divisor of {TICKS} from 1 to {TICKS // 10}, so that "
            "all times are exact decimals"
        )
    if size[0] % 2 or size[1] % 2:
        raise ConfigError(f"size: found {size}, expected even numbers, as video needs them")
    if kinds is not None:
        unknown = [kind for kind in kinds if kind not in (*PREDICATES, "bowl")]
        if unknown or not 1 <= len(kinds) <= MOST_UNITS:
            raise ConfigError(
                f"kinds: found {list(kinds)}, expected 1 to {MOST_UNITS} of "
                f"{', '.join(PREDICATES)}, bowl"
            )
    if not 0 <= distractors <= MOST_DISTRACTORS:
        raise ConfigError(f"distractors: found {distractors}, expected 0 to {MOST_DISTRACTORS}")


def _shot_ends(random: KeyedRandom, num_frames: int, num_cuts: int) -> list[int]:
    length = num_frames // (num_cuts + 1)
    return [
        *(length * (k + 1) + random.between(-length // 10, length // 10) for k in range(num_cuts)),
        num_frames,
    ]


def _frame(scene: Scene, track_ids: Int64Array) -> ClipFrame:
    return ClipFrame(
        labels=np.array([sprite.label for sprite in scene.sprites], np.int64),
        boxes=np.array([sprite.box for sprite in scene.sprites], np.float32),
        track_ids=track_ids,
        triplets=np.array(relations_of(scene), np.int64).reshape(-1, 3),
    )


def _events(frames: Sequence[ClipFrame], rate: int) -> tuple[ClipEvent, ...]:
    runs: list[tuple[int, int, int, int, int]] = []
    since: dict[tuple[int, int, int], int] = {}
    for number in range(len(frames) + 1):
        true = set()
        if number < len(frames):
            frame = frames[number]
            ids = frame.track_ids.tolist()
            true = {(ids[s], p, ids[o]) for s, p, o in frame.triplets.tolist()}
        for key in [key for key in since if key not in true]:
            subject, predicate, object_ = key
            runs.append((since.pop(key), number - 1, subject, predicate, object_))
        for key in true - since.keys():
            since[key] = number
    return tuple(
        ClipEvent(s, PREDICATES[p], o, first, last, Fraction(first, rate), Fraction(last, rate))
        for first, last, s, p, o in sorted(runs)
    )
