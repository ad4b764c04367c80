"""One result, to the last bit, whatever the CPU's instruction set and the number of threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer import _native, ops
from vinfer.errors import InputError

RNG = np.random.default_rng(80)
FEATURES = RNG.standard_normal((2, 67, 30, 54)).astype(np.float32)
CORNERS = RNG.uniform((-50, -50), (900, 520), (90, 2, 2)).astype(np.float32)
BOXES = np.concatenate([CORNERS.min(axis=1), CORNERS.max(axis=1)], axis=1)
IMAGES = RNG.integers(0, 2, 90)
PICTURE = RNG.integers(0, 256, (481, 853, 3), dtype=np.uint8)
LUMA = np.ascontiguousarray(PICTURE[..., 0])
CHROMA = np.ascontiguousarray(PICTURE[:241, :427, :2]).reshape(241, 854)
SETTINGS = (False, False, False, False, (10.0, 20.0, 30.0), (2.0, 3.0, 4.0), 114.0, False)
HWC = (False, False, True, *SETTINGS[3:])

NATIVE: dict[str, Callable[[_native.CallOptions], Any]] = {
    "roi_align fixed": lambda how: _native.roi_align(
        FEATURES, BOXES, IMAGES, (7, 7), 1 / 16, 2, True, None, how
    )[0],
    "roi_align adaptive": lambda how: _native.roi_align(
        FEATURES, BOXES, IMAGES, (14, 14), 1 / 16, 0, False, None, how
    )[0],
    "roi_align float16": lambda how: _native.roi_align(
        FEATURES.astype(np.float16), BOXES, IMAGES, (7, 14), 1 / 16, 2, True, None, how
    )[0],
    "roi_align_backward": lambda how: _native.roi_align_backward(
        FEATURES[0, :60].reshape(60, 1, 30, 54)[:, :, :14, :14].copy(),
        BOXES[:60],
        IMAGES[:60],
        (2, 1, 30, 54),
        1 / 16,
        0,
        True,
        None,
        how,
    ),
    "positional_maps": lambda how: _native.positional_maps(
        np.tile(BOXES, (20, 1)), np.tile(BOXES[::-1], (20, 1)), (14, 9), "float32", None, how
    ),
    "weldon_pool": lambda how: _native.weldon_pool(FEATURES, 16, 9, 0.7, False, None, how),
    "weldon_pool, k 64": lambda how: _native.weldon_pool(
        FEATURES.reshape(2, 12, -1)[..., :9000].reshape(2, 12, 90, 100),
        64,
        33,
        0.7,
        False,
        None,
        how,
    ),
    "weldon_pool, k 1": lambda how: _native.weldon_pool(FEATURES, 1, 1, 0.7, False, None, how),
    "weldon_pool float16": lambda how: _native.weldon_pool(
        FEATURES.astype(np.float16), 300, 2, 1.0, True, None, how
    )[1],
    "letterbox": lambda how: _native.letterbox(
        PICTURE, (416, 640), *SETTINGS, "float32", None, how
    )[0],
    "letterbox hwc": lambda how: _native.letterbox(PICTURE, (416, 640), *HWC, "float32", None, how)[
        0
    ],
    "letterbox hwc, same size": lambda how: _native.letterbox(
        PICTURE, (490, 853), *HWC, "float16", None, how
    )[0],
    "letterbox up, float16": lambda how: _native.letterbox(
        PICTURE[:100, :150], (640, 640), *SETTINGS, "float16", None, how
    )[0],
    "letterbox_nv12": lambda how: _native.letterbox_nv12(
        LUMA, CHROMA, 853, 1, False, (320, 320), *SETTINGS, "float32", None, how
    )[0],
}


@pytest.mark.parametrize("case", NATIVE)
def test_levels_and_threads_agree_to_the_bit(case: str) -> None:
    call = NATIVE[case]
    expected = call(_native.CallOptions(1, "baseline", 1)).tobytes()
    for level in _native.cpu_levels():
        for num_threads in (1, 2, 3, 16):
            result = call(_native.CallOptions(num_threads, level, 1))
            assert result.tobytes() == expected, f"{level}, {num_threads} threads"


def test_the_baseline_is_always_there() -> None:
    assert _native.cpu_levels()[0] == "baseline"


@pytest.mark.parametrize("num_threads", [0, -1, 1025, 2.0, True, "2"])
def test_numbers_of_threads_are_checked(num_threads: Any) -> None:
    ops.letterbox(PICTURE, 64, num_threads=1)  # what equals it later is still checked
    ops.letterbox(PICTURE, 64, num_threads=2)
    with pytest.raises(InputError, match="num_threads: found"):
        ops.letterbox(PICTURE, 64, num_threads=num_threads)


def test_calls_from_many_threads_share_the_pool() -> None:
    """Every caller gets its own result; the process has one pool's worth of threads more."""
    expected = ops.letterbox(PICTURE, 640, num_threads=1)[0]
    before = len(list(Path("/proc/self/task").iterdir()))
    wrong: list[int] = []
    peak: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(ops.letterbox(PICTURE, 640, num_threads=3)[0], expected):
                wrong.append(i)
            peak.append(len(list(Path("/proc/self/task").iterdir())))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert max(peak) <= before + len(threads) + 2


def test_a_forked_child_computes_too() -> None:
    """Threads are the parent's alone: a child that waited for them would hang."""
    code = (
        "import os, numpy as np\n"
        "from vinfer import ops\n"
        "image = np.random.default_rng(0).integers(0, 256, (480, 853, 3), dtype=np.uint8)\n"
        "expected = ops.letterbox(image, 640, num_threads=3)[0]\n"
        "child = os.fork()\n"
        "same = np.array_equal(ops.letterbox(image, 640, num_threads=3)[0], expected)\n"
        "if not child:\n"
        "    os._exit(0 if same else 1)\n"
        "assert same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
