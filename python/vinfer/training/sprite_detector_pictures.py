"""What a detector of sprites is trained on: stills, and frames of clips after H.264.

Everything is on the canvas that the detector takes: a clip's size, so that its frames are not
resized at all; a smaller still is enlarged as the detector's own pre-processing does it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.bundles import Preprocess
from vinfer.errors import TrainingError
from vinfer.sources import open_source
from vinfer.stages.preprocess import preprocess
from vinfer.training.relation_data import UInt8Image
from vinfer.training.sprites import (
    CLIP_SIZE,
    STILL_SIZE,
    SpriteClip,
    make_clip,
    make_sprite_data,
    write_clip,
)
from vinfer.types import Float32Array, Int64Array

SIZE = CLIP_SIZE
"""(height, width) in pixels of the detector's input, and of a clip."""

FIRST_SEED = 1_000_000
"""Seeds from here on are for training the detector; with smaller ones it can be tested."""

FRAMES_OF_A_CLIP = 4
"""Taken from each clip for training: neighbours hardly differ."""

BATCH_OF_STILLS = 100
"""Stills that share a look."""

STILL_LOOKS: tuple[Mapping[str, Any], ...] = (
    {"size": SIZE},
    {"size": SIZE, "occlusion": True, "noise": 14},
    {"size": SIZE, "blur": 1},
    {"size": STILL_SIZE},
)
CLIP_LOOKS: tuple[Mapping[str, Any], ...] = (
    {},
    {"occlusion": True},
    {"noise": 14},
    {"occlusion": True, "blur": 1},
    # What a crate hides in part is the hardest to name.
    {"kinds": ("inside_of", "inside_of")},
)

Progress = Callable[[int, int], None]
"""Takes the number of pictures made and of all."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LabelledPicture:
    """A picture and the objects in it.

    Attributes:
        image: uint8 ``[height, width, 3]``, RGB.
        labels: int64 ``[n]``, indices into `CLASSES`.
        boxes: float32 ``[n, 4]``, xyxy in pixels.
    """

    image: npt.NDArray[np.uint8]
    labels: Int64Array
    boxes: Float32Array


def training_pictures(
    num_pictures: int, seed: int, progress: Progress | None = None
) -> list[LabelledPicture]:
    """Half stills, half frames of clips after H.264; looks take turns.

    Args:
        num_pictures: 1 or more.
        seed: of the set, 0 or more; no two sets share a scene.
        progress: called after each picture.

    Raises:
        MissingDependencyError: PyAV is not installed, or its FFmpeg has no x264.
    """
    first = FIRST_SEED * (seed + 1)
    num_stills = num_pictures // 2
    pictures: list[LabelledPicture] = []
    for source, end in ((_stills(first), num_stills), (_clip_frames(first), num_pictures)):
        while len(pictures) < end:
            pictures.append(next(source))
            if progress is not None:
                progress(len(pictures), num_pictures)
    return pictures


def _stills(seed: int) -> Iterator[LabelledPicture]:
    number = 0
    while True:
        look = STILL_LOOKS[number % len(STILL_LOOKS)]
        data = make_sprite_data(BATCH_OF_STILLS, seed + number, inverted_bowls=True, **look)
        assert data.read is not None
        for picture in data.pictures:
            yield on_canvas(data.read(picture), picture.labels, picture.boxes)
        number += 1


def _clip_frames(seed: int) -> Iterator[LabelledPicture]:
    number = 0
    while True:
        look = CLIP_LOOKS[number % len(CLIP_LOOKS)]
        try:
            clip = make_clip(seed + number, size=SIZE, **look)
        except TrainingError:  # no room for what this seed asks for: the next one
            number += 1
            continue
        step = len(clip) // FRAMES_OF_A_CLIP
        yield from coded_frames(every_nth(clip, step))
        number += 1


def every_nth(clip: SpriteClip, step: int) -> SpriteClip:
    """A clip without cuts and events of every n-th frame of one without cuts."""
    return dataclasses.replace(
        clip, frames=clip.frames[::step], scenes=clip.scenes[::step], events=()
    )


def coded_frames(clip: SpriteClip) -> list[LabelledPicture]:
    """The frames of a clip as they come out of its H.264 file.

    Raises:
        MissingDependencyError: PyAV is not installed, or its FFmpeg has no x264.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(clip, path)
        with open_source(path) as source:
            images = [frame.image for frame in source]
    return [
        LabelledPicture(image, frame.labels, frame.boxes)
        for image, frame in zip(images, clip.frames, strict=True)
    ]


def on_canvas(image: UInt8Image, labels: Int64Array, boxes: Float32Array) -> LabelledPicture:
    """The picture as the detector's input has it, before it is normalised, and its boxes there.

    Args:
        image: uint8 ``[H, W, 3]``, RGB.
        labels: int64 ``[n]``.
        boxes: float32 ``[n, 4]``, xyxy in its pixels.
    """
    if image.shape[:2] == SIZE:
        return LabelledPicture(image, labels, boxes)
    pixels, transform = preprocess(image, Preprocess(size=SIZE, mode="pad"))
    canvas = np.rint(pixels.transpose(1, 2, 0)).astype(np.uint8)
    return LabelledPicture(canvas, labels, transform.to_network(boxes))
