from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vinfer.sources import open_source
from vinfer.stages.shots import ShotDetector
from vinfer.types import UInt8Array


def scene(seed: int, *, height: int = 180, width: int = 320) -> UInt8Array:
    """A picture of large smooth patches, as rooms and streets are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3))
    for _ in range(12):
        centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
        size = rng.uniform(0.08, 0.3) * width
        weight = np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * size**2))
        image += weight[..., None] * rng.uniform(-120, 120, 3)
    return np.clip(image + 128, 0, 255).astype(np.uint8)


def cuts_in(pictures: Iterable[UInt8Array], rate: int = 25) -> list[int]:
    detector = ShotDetector()
    return [i for i, image in enumerate(pictures) if detector.is_cut(image, Fraction(i, rate))]


def with_noise(image: UInt8Array, seed: int, level: float = 6) -> UInt8Array:
    noise = np.random.default_rng(seed).normal(0, level, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_known_cuts_are_found_at_their_frame() -> None:
    shots = [(0, 20), (1, 7), (2, 30), (3, 2), (4, 10)]
    pictures = [with_noise(scene(seed), i) for seed, n in shots for i in range(n)]
    assert cuts_in(pictures) == [20, 27, 57, 59]


def test_the_first_frame_is_no_cut() -> None:
    assert cuts_in([scene(0)]) == []


def test_a_still_and_noisy_picture_has_no_cut() -> None:
    assert cuts_in(with_noise(scene(0), i, level=25) for i in range(60)) == []


def test_a_person_who_crosses_is_no_cut() -> None:
    background = scene(5)

    def at(i: int) -> UInt8Array:
        picture = background.copy()
        left = 12 * i - 80
        picture[30:180, max(left, 0) : max(left + 80, 0)] = (20, 30, 90)
        return picture

    assert cuts_in(at(i) for i in range(40)) == []


def test_a_fast_pan_is_no_cut() -> None:
    wide = scene(6, width=1600)
    lefts = np.cumsum(np.minimum(np.arange(50) * 2, 24))  # it gathers speed, as a camera does
    assert lefts[-1] + 320 < 1600
    assert cuts_in(wide[:, left : left + 320] for left in lefts) == []


def test_thin_lines_that_drift_before_a_plain_wall_are_no_cut() -> None:
    def at(x: int, y: int) -> UInt8Array:
        picture = np.full((144, 192, 3), 110, np.uint8)
        for left in range(20, 160, 30):
            picture[40 + y : 80 + y, left + x : left + x + 24] = 0
            picture[41 + y : 79 + y, left + x + 1 : left + x + 23] = (240, 220, 60)
            picture[44 + y : 76 + y, left + x + 4 : left + x + 20] = 110
        return picture

    # A pixel at a time, with rests: the rests leave no recent motion that would excuse it.
    drifting = [at(i // 10, i // 10) for i in range(100)]
    assert cuts_in((with_noise(picture, i, 4) for i, picture in enumerate(drifting)), rate=10) == []


def test_a_light_that_is_switched_is_no_cut() -> None:
    dark = (scene(7) * 0.3).astype(np.uint8)
    assert cuts_in([*[dark] * 15, *[scene(7)] * 15, *[dark] * 15]) == []


@pytest.mark.parametrize("length", [1, 3])
def test_a_flash_is_no_cut(length: int) -> None:
    calm = scene(8)
    flash = np.clip(calm * 0.6 + 110, 0, 255).astype(np.uint8)
    white = np.full_like(calm, 255)
    assert cuts_in([*[calm] * 15, *[flash] * length, *[calm] * 15]) == []
    assert cuts_in([*[calm] * 15, *[white] * length, *[calm] * 15]) == []


def test_a_fade_through_black_into_the_same_scene_is_no_cut() -> None:
    levels = [*np.linspace(1, 0, 20), *np.linspace(0, 1, 20)]
    assert cuts_in((scene(9) * level).astype(np.uint8) for level in levels) == []


def test_black_between_two_scenes_is_one_cut_when_the_second_appears() -> None:
    black = np.zeros((180, 320, 3), np.uint8)
    assert cuts_in([*[scene(10)] * 15, *[black] * 5, *[scene(11)] * 15]) == [20]


def test_a_dissolve_is_not_reported() -> None:
    mixes = np.concatenate([np.zeros(15), np.linspace(0, 1, 25), np.ones(15)])
    a, b = scene(12).astype(float), scene(13).astype(float)
    assert cuts_in(((1 - m) * a + m * b).astype(np.uint8) for m in mixes) == []


def test_unrelated_images_at_one_a_second_are_all_cuts() -> None:
    assert cuts_in((scene(seed) for seed in range(20, 26)), rate=1) == [1, 2, 3, 4, 5]


def test_later_frames_do_not_change_earlier_answers() -> None:
    pictures = [scene(seed) for seed in (0, 1, 2) for _ in range(10)]
    for end in range(1, len(pictures)):
        assert cuts_in(pictures[:end]) == [cut for cut in (10, 20) if cut < end]


@pytest.mark.parametrize(("height", "width"), [(2, 3), (17, 1), (4320, 7680)])
def test_any_size(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = 200
    assert cuts_in([image, image, image[::-1], image[::-1]]) == [2]


def test_a_single_pixel_shows_no_scene() -> None:
    assert cuts_in(np.full((1, 1, 3), level, np.uint8) for level in (0, 255, 0)) == []


def test_the_image_is_left_alone() -> None:
    image = scene(0)
    before = image.copy()
    image.setflags(write=False)
    assert cuts_in([image, image]) == []
    np.testing.assert_array_equal(image, before)


def cuts_of_clip(path: Path, stride: int = 1) -> list[int]:
    detector = ShotDetector()
    with open_source(path, stride=stride) as source:
        return [frame.index for frame in source if detector.is_cut(frame.image, frame.time)]


def test_bikes_has_exactly_its_five_cuts(bikes: Path, shared_data: Path) -> None:
    truth = json.loads((shared_data / "events" / "bikes.json").read_text())
    assert cuts_of_clip(bikes) == truth["cut_frames"]


@pytest.mark.parametrize("stride", [2, 3])
def test_bikes_at_a_lower_rate(bikes: Path, shared_data: Path, stride: int) -> None:
    truth = json.loads((shared_data / "events" / "bikes.json").read_text())
    delivered = [-(-cut // stride) * stride for cut in truth["cut_frames"]]
    assert cuts_of_clip(bikes, stride) == delivered


@pytest.mark.parametrize(
    "name", ["vtest.avi", "bottle-detection.mp4", "one-by-one-person-detection.mp4"]
)
def test_clips_of_one_shot_have_no_cut(shared_data: Path, name: str) -> None:
    assert cuts_of_clip(shared_data / "videos" / name) == []
