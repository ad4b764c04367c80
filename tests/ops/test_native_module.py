"""What all ops share: error classes, memory, the GIL, typing of the module."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vinfer import _native, errors, ops


def test_every_status_code_has_an_error_class() -> None:
    names = _native.error_names()
    assert len(names) >= 4
    for name in names:
        assert issubclass(getattr(errors, name), errors.VinferError)
        assert name != "VinferError", "a status code without a class of its own"


def long_calls() -> dict[str, Callable[[], Any]]:
    """One call an op that takes some milliseconds, its arguments made beforehand."""
    rng = np.random.default_rng(60)
    features = rng.standard_normal((1, 64, 64, 64)).astype(np.float32)
    boxes = np.tile(np.array([[0, 0, 64, 64]], np.float32), (20, 1))
    images = np.zeros(20, np.int64)
    many = np.tile(boxes, (2000, 1))
    picture = rng.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    return {
        "roi_align": lambda: ops.roi_align(features, boxes, images, 14, 1.0, 2),
        "positional_maps": lambda: ops.positional_maps(many, many, 7),
        "weldon_pool": lambda: ops.weldon_pool(features, 16, 16),
        "letterbox": lambda: ops.letterbox(picture, 1000),
    }


@pytest.mark.parametrize("op", ["roi_align", "positional_maps", "weldon_pool", "letterbox"])
def test_other_threads_run_during_a_call(op: str) -> None:
    call = long_calls()[op]
    start = threading.Event()
    progressed = threading.Event()

    def progress() -> None:
        start.wait()
        progressed.set()

    other = threading.Thread(target=progress)
    other.start()
    interval = sys.getswitchinterval()
    # So long that no thread is made to give up the GIL: the other one runs only if the op does.
    sys.setswitchinterval(100.0)
    try:
        start.set()
        assert not progressed.is_set()
        # Called again while a busy machine gives the other thread no core.
        deadline = time.monotonic() + 20.0
        while not progressed.is_set() and time.monotonic() < deadline:
            call()
        assert progressed.is_set(), f"{op} keeps the GIL"
    finally:
        sys.setswitchinterval(interval)
        other.join()


def test_two_threads_get_their_own_results() -> None:
    rng = np.random.default_rng(61)
    pictures = [rng.integers(0, 256, (200, 300, 3), dtype=np.uint8) for _ in range(2)]
    expected = [ops.letterbox(picture, 128)[0] for picture in pictures]
    mismatches: list[int] = []

    def work(i: int) -> None:
        for _ in range(50):
            if not np.array_equal(ops.letterbox(pictures[i], 128)[0], expected[i]):
                mismatches.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mismatches == []


def test_running_out_of_memory_is_an_error_of_ours() -> None:
    """Every result here takes more than the 64 MB that the process may still have."""
    code = (
        "import resource, numpy as np\n"
        "from vinfer import errors, ops\n"
        "image = np.zeros((8, 8, 3), np.uint8)\n"
        "maps = np.zeros((1, 64, 8, 8), np.float32)\n"
        "large = np.zeros((1, 1, 4000, 4000), np.float32)\n"
        "boxes, one = np.ones((64, 4), np.float32), np.zeros(1, np.int64)\n"
        "calls = {\n"
        "    'letterbox': lambda: ops.letterbox(image, 8000),\n"
        "    'roi_align': lambda: ops.roi_align(maps, boxes[:1], one, 1024, 1.0),\n"
        "    'roi_align_backward': lambda: ops.roi_align_backward(\n"
        "        maps, boxes[:1], one, (1, 64, 1024, 1024), 1.0),\n"
        "    'positional_maps': lambda: ops.positional_maps(boxes, boxes, 1024),\n"
        "    'weldon_pool': lambda: ops.weldon_pool(large, 16_000_000, 1, return_indices=True),\n"
        "}\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "for op, call in calls.items():\n"
        "    try:\n"
        "        call()\n"
        "    except errors.InputError as error:\n"
        "        assert f'{op}: not enough memory' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit(f'{op}: it fitted')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow  # half a minute; `make lint` runs the same command
def test_stub_matches_the_module() -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (extra `dev`)")
    command = [sys.executable, "-m", "mypy.stubtest", "vinfer._native"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
