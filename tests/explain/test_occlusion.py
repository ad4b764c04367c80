"""Covering a picture patch by patch: the map lights up where the score looks, exactly."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vinfer.errors import ConfigError, ModelOutputError
from vinfer.explain.occlusion import (
    Box,
    Fill,
    OcclusionSettings,
    PixelBox,
    examined_region,
    occlusion_map,
)
from vinfer.types import UInt8Array

GREY = Fill((100, 100, 100), "grey")


def brightness(spot: PixelBox) -> Callable[[UInt8Array], float]:
    x1, y1, x2, y2 = spot
    return lambda image: float(image[y1:y2, x1:x2].mean() / 255)


def white(height: int = 60, width: int = 90) -> UInt8Array:
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("patches", "steps"), [(8, 2), (5, 1), (4, 3), (1, 1)])
@pytest.mark.parametrize("spot", [(30, 20, 42, 31), (0, 0, 5, 5), (85, 50, 90, 60)])
def test_each_pixel_is_the_mean_drop_of_the_patches_over_it(
    patches: int, steps: int, spot: PixelBox, workers: int
) -> None:
    image, region = white(), (0, 0, 90, 60)
    base = brightness(spot)(image)
    found = occlusion_map(
        image,
        region,
        brightness(spot),
        base,
        fill=GREY,
        settings=OcclusionSettings(patches=patches, steps=steps),
        workers=workers,
    )
    # The reference: every position of the patch, summed over the pixels that it covers.
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    area = (spot[2] - spot[0]) * (spot[3] - spot[1])
    offset = found.patch - found.stride
    for top in range(-offset, 60, found.stride):
        for left in range(-offset, 90, found.stride):
            over = np.zeros(image.shape[:2], bool)
            over[max(0, top) : top + found.patch, max(0, left) : left + found.patch] = True
            hidden = over[spot[1] : spot[3], spot[0] : spot[2]].sum() / area
            total[over] += hidden * (255 - 100) / 255
            count[over] += 1
    assert set(count.ravel()) == {steps**2}
    np.testing.assert_allclose(found.values, total / count, atol=1e-6)
    assert found.patch == steps * found.stride


def test_nothing_lights_up_further_than_a_patch_from_the_place() -> None:
    spot = (40, 30, 46, 36)
    found = occlusion_map(white(), (0, 0, 90, 60), brightness(spot), 1.0, fill=GREY)
    y, x = np.nonzero(found.values)
    assert x.min() > spot[0] - found.patch
    assert x.max() < spot[2] + found.patch
    assert y.min() > spot[1] - found.patch
    assert y.max() < spot[3] + found.patch
    best = np.unravel_index(found.values.argmax(), found.values.shape)
    assert spot[1] - found.stride <= best[0] < spot[3] + found.stride
    assert spot[0] - found.stride <= best[1] < spot[2] + found.stride


def test_a_score_that_rises_is_negative_and_the_rest_of_the_picture_is_left_alone() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    region = (10, 10, 30, 30)
    found = occlusion_map(image, region, brightness((18, 18, 22, 22)), 0.0, fill=GREY)
    assert found.values.min() < 0
    assert found.values.max() == 0
    inside = np.zeros((40, 40), bool)
    inside[10:30, 10:30] = True
    assert not found.values[~inside].any()
    assert not image.any()


def test_progress_is_counted_and_a_failing_score_ends_it() -> None:
    seen: list[tuple[int, int]] = []
    found = occlusion_map(
        white(),
        (0, 0, 8, 8),
        lambda image: 0.5,
        0.5,
        fill=GREY,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k + 1, found.drops.size) for k in range(found.drops.size)]

    def damaged(image: UInt8Array) -> float:
        raise ModelOutputError("damaged")

    before = threading.active_count()
    with pytest.raises(ModelOutputError, match="damaged"):
        occlusion_map(white(), (0, 0, 8, 8), damaged, 1.0, fill=GREY, workers=2)
    assert threading.active_count() <= before + 2


@pytest.mark.parametrize(
    ("subject", "object_", "expected"),
    [
        ((10, 10, 20, 20), (20, 20, 30, 30), (0, 0, 40, 40)),
        ((-50, -50, 5, 5), (0, 0, 8, 8), (0, 0, 37, 37)),
        ((10, 10, 10, 10), (10, 10, 10, 10), None),  # no area
        ((200, 10, 220, 20), (210, 10, 230, 20), None),  # right of the picture
        ((-30, 10, -20, 20), (-30, 10, -20, 20), None),
        ((10.2, 10.2, 10.4, 10.4), (10.2, 10.2, 10.4, 10.4), (10, 10, 11, 11)),
    ],
)
def test_region(subject: Box, object_: Box, expected: PixelBox | None) -> None:
    assert examined_region(subject, object_, 0.5, (80, 100)) == expected


@pytest.mark.parametrize("settings", [{"patches": 0}, {"steps": 0}, {"margin": -1}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} is"):
        OcclusionSettings(**settings)
