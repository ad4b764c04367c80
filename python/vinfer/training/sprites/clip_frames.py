"""Frames of clips as training pictures, with boxes as a detector would give them."""

from __future__ import annotations

import collections
import itertools

import numpy as np

from vinfer.errors import ConfigError, TrainingError
from vinfer.training.relation_data import RelationData, RelationPicture
from vinfer.training.sprites.backgrounds import Canvas
from vinfer.training.sprites.clips import ClipFrame, SpriteClip, make_clip, make_single_frame
from vinfer.training.sprites.detector_noise import noisy_detections
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.scene import CLASSES, PREDICATES
from vinfer.training.sprites.video_colours import with_video_colours
from vinfer.types import Detections

CLIP_FRAME = 7
"""What the choice of frames is for, as part of its key."""

HARD_KINDS = ("moving_towards", "passing", "linked_to")
"""What is not related may look most alike here: an angle or a distance a little too large, a rope
that begins behind the object and not at it."""


def make_clip_frames(
    num_clips: int,
    seed: int,
    *,
    num_singles: int = 0,
    num_hard_clips: int = 0,
    frames_per_clip: int = 4,
    jitter: int = 1,
    drop_percent: int = 5,
    video_colours: bool = False,
) -> RelationData:
    """Frames of clips, and single frames that are composed as stills.

    Args:
        num_clips: 1 or more; clip k has the seed ``seed + k``.
        num_singles: 0 or more; single frame k has the seed ``seed + k``, too. They have more
            relations to learn from and are made ten times as fast; clips have what comes before
            and after a relation.
        num_hard_clips: 0 or more; hard clip k has the seed ``seed + k``, too. Its units are those
            of `HARD_KINDS`, which take more examples than the others.
        seed: 0 or more; the seeds of training and test must not meet.
        frames_per_clip: 1 to 20, each drawn from a stretch of its own.
        jitter, drop_percent: as for `noisy_detections`; an object that is missed takes part in no
            relation of the picture.
        video_colours: half of the pictures have the colours that video would have
            (`with_video_colours`), so that a network learns both.

    Returns:
        The data; what was drawn is kept, 81 KiB a picture.

    Raises:
        ConfigError: an argument is out of range.
    """
    if num_clips < 1:
        raise ConfigError(f"num_clips: found {num_clips}, expected 1 or more")
    for option, count in (("num_singles", num_singles), ("num_hard_clips", num_hard_clips)):
        if count < 0:
            raise ConfigError(f"{option}: found {count}, expected 0 or more")
    if not 1 <= frames_per_clip <= 20:
        raise ConfigError(f"frames_per_clip: found {frames_per_clip}, expected 1 to 20")
    pictures = []
    drawn: dict[str, Canvas] = {}
    clips = map(make_clip, range(seed, seed + num_clips))
    singles = map(make_single_frame, range(seed, seed + num_singles))
    hard_clips = (make_clip(seed + k, kinds=HARD_KINDS) for k in range(num_hard_clips))
    named = itertools.chain(
        (("clip", clip) for clip in clips),
        (("single", clip) for clip in singles),
        (("hard", clip) for clip in hard_clips),
    )
    for kind, clip in named:
        found = noisy_detections(
            clip, clip.seed, jitter=jitter, drop_percent=drop_percent, switch_percent=0
        )
        for number in [0] if len(clip) == 1 else _chosen(clip, frames_per_clip):
            if not len(found[number]):
                continue
            name = f"{kind}-{clip.seed}" + ("" if len(clip) == 1 else f"-{number}")
            pictures.append(_picture(name, clip.size, clip.frames[number], found[number]))
            image = clip.image(number)
            if video_colours and KeyedRandom(CLIP_FRAME, clip.seed, number).chance(1, 2):
                image = with_video_colours(image)
            drawn[name] = image

    def read(picture: RelationPicture) -> Canvas:
        if picture.name not in drawn:
            raise TrainingError(
                f"found no picture {picture.name!r} among the {len(drawn)} of seed {seed}; read "
                "pictures of this data set only"
            )
        return drawn[picture.name].copy()

    return RelationData(
        classes=CLASSES,
        predicates=PREDICATES,
        pictures=tuple(pictures),
        exhaustive=True,
        skipped=collections.Counter(),
        read=read,
    )


def _chosen(clip: SpriteClip, count: int) -> list[int]:
    random = KeyedRandom(CLIP_FRAME, clip.seed)
    ends = [len(clip) * k // count for k in range(count + 1)]
    return [random.between(ends[k], ends[k + 1] - 1) for k in range(count)]


def _picture(
    name: str, size: tuple[int, int], frame: ClipFrame, found: Detections
) -> RelationPicture:
    assert found.track_ids is not None
    place = {track: k for k, track in enumerate(found.track_ids.tolist())}
    tracks = frame.track_ids.tolist()
    triplets = [
        (place[tracks[s]], p, place[tracks[o]])
        for s, p, o in frame.triplets.tolist()
        if tracks[s] in place and tracks[o] in place
    ]
    return RelationPicture(
        name=name,
        size=size,
        labels=found.labels.astype(np.int64),
        boxes=found.boxes,
        triplets=np.array(triplets, np.int64).reshape(-1, 3),
    )
