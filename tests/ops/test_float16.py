"""float16 adds one rounding, that of the result, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import references

from vinfer import ops

RNG = np.random.default_rng(90)
CORNERS = RNG.uniform(-40, 470, (40, 2, 2)).astype(np.float32)
BOXES = np.concatenate([CORNERS.min(axis=1), CORNERS.max(axis=1)], axis=1)
IMAGES = RNG.integers(0, 2, 40)
PICTURE = RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8)
LUMA = RNG.integers(0, 256, (33, 47), dtype=np.uint8)
CHROMA = RNG.integers(0, 256, (17, 48), dtype=np.uint8)
IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def features(scale: float) -> npt.NDArray[np.float16]:
    """Numbers that float16 has, of either sign and many sizes below `scale`."""
    exponents = RNG.uniform(-12, 0, (2, 19, 17, 30))
    return (RNG.choice([-1, 1], exponents.shape) * scale * np.exp2(exponents)).astype(np.float16)


def assert_rounded(found: Any, in_float32: Any) -> None:
    assert found.dtype == np.float16
    assert in_float32.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, in_float32.astype(np.float16))


# Where results are ordinary, where some are subnormal (below 2^-14), and where some overflow.
SCALES = [1.0, 1e-4, 60000.0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("output_size", [(1, 1), (7, 7), (3, 20)])
def test_roi_align_is_the_float32_result_rounded(
    output_size: tuple[int, int], sampling_ratio: int, scale: float
) -> None:
    x = features(scale)
    settings = (BOXES, IMAGES, output_size, 1 / 16, sampling_ratio)
    assert_rounded(ops.roi_align(x, *settings), ops.roi_align(x.astype(np.float32), *settings))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("k_max", "k_min"), [(1, 1), (16, 9), (500, 0), (510, 510)])
def test_weldon_pool_is_the_float32_result_rounded(k_max: int, k_min: int, scale: float) -> None:
    x = features(scale)
    settings = (k_max, k_min, -0.75)
    wide = ops.weldon_pool(x.astype(np.float32), *settings)
    assert_rounded(ops.weldon_pool(x, *settings), wide)
    with_indices = ops.weldon_pool(x, *settings, return_indices=True)[0]
    assert_rounded(with_indices, wide)


@pytest.mark.parametrize("size", [(7, 7), (1, 3), (14, 20)])
def test_positional_maps_are_the_float32_result_rounded(size: tuple[int, int]) -> None:
    found = ops.positional_maps(BOXES, BOXES[::-1], size, dtype="float16")
    assert_rounded(found, ops.positional_maps(BOXES, BOXES[::-1], size))


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("size", [(20, 31), (70, 90)])
@pytest.mark.parametrize("picture", [PICTURE, ops.Nv12(LUMA, CHROMA)], ids=["rgb", "nv12"])
def test_letterbox_is_the_float32_result_rounded(
    picture: Any, size: tuple[int, int], layout: Any
) -> None:
    for settings in (IMAGENET, {"std": (1e-3, 2.0, 1e6)}):  # overflowing, exact and subnormal
        found = ops.letterbox(picture, size, layout=layout, dtype="float16", **settings)[0]
        assert_rounded(found, ops.letterbox(picture, size, layout=layout, **settings)[0])


def assert_within(found: Any, exact: npt.NDArray[np.float64], bound_in_float32: float) -> None:
    """2^-11 of the result; half of the smallest step, 2^-24, where that is more."""
    rounding = np.maximum(2.0**-11 * (np.abs(exact) + bound_in_float32), 2.0**-25)
    assert (np.abs(found.astype(np.float64) - exact) <= bound_in_float32 + rounding).all()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_against_float64(sampling_ratio: int, aligned: bool) -> None:
    x = features(1.0)[:, :3]
    settings = (BOXES, IMAGES, (3, 2), 1 / 16, sampling_ratio, aligned)
    exact = references.roi_align(x.astype(np.float32), *settings)
    assert_within(ops.roi_align(x, *settings), exact, 1e-5)


def test_weldon_pool_against_float64() -> None:
    x = features(1.0)
    pooled = ops.weldon_pool(x, 20, 30, 0.5)
    for n, c in np.ndindex(*pooled.shape):
        values = x[n, c].astype(np.float64).ravel()
        exact = references.weldon_pool(values.tolist(), 20, 30, 0.5)[0]
        assert_within(pooled[n, c], np.array(exact), 1e-5 * np.abs(values).mean())


def test_positional_maps_against_float64() -> None:
    unions = np.concatenate(
        [np.minimum(BOXES, BOXES[::-1])[:, :2], BOXES.max(0)[None, 2:].repeat(40, axis=0)], axis=1
    )
    maps = ops.positional_maps(BOXES, unions, (7, 5), dtype="float16")
    assert_within(maps, references.positional_maps(BOXES, unions, (7, 5)), 1e-6)


def test_letterbox_against_float64() -> None:
    found = ops.letterbox(PICTURE, (20, 31), "stretch", dtype="float16", **IMAGENET)[0]
    resized = references.resize(PICTURE, 20, 31)
    exact = ((resized - IMAGENET["mean"]) / IMAGENET["std"]).transpose(2, 0, 1)
    assert_within(found, exact, 1e-5)
