"""What this machine can do at most, measured with the number of threads that the cases use."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.ops import onnx_graphs

COPY_BYTES = 256 * 2**20  # of one side; several times any last-level cache of a machine this size
GEMM_SIDE = 1024
REPEATS = 10


def memory_bandwidth(threads: int) -> float:
    """Bytes a second, reads and writes added up, of the best of a few copies."""
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    pieces = np.array_split(np.arange(len(source)), threads)
    ranges = [slice(int(piece[0]), int(piece[-1]) + 1) for piece in pieces]
    del pieces

    def copy(part: slice) -> None:
        np.copyto(target[part], source[part])

    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(REPEATS):
            began = time.perf_counter()
            list(pool.map(copy, ranges))
            best = min(best, time.perf_counter() - began)
    return 2 * COPY_BYTES / best


def peak_flops(threads: int) -> float:
    """Additions and multiplications a second of a large float32 matrix product in ONNX Runtime."""
    a = np.random.default_rng(0).standard_normal((GEMM_SIDE, GEMM_SIDE), np.float32)
    session = onnx_graphs.session(onnx_graphs.matmul(), threads)
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        session.run(None, {"A": a, "B": a})
        best = min(best, time.perf_counter() - began)
    return 2 * GEMM_SIDE**3 / best


def measure(threads: int) -> dict[str, float]:
    return {
        "gigabytes_per_second": memory_bandwidth(threads) / 1e9,
        "gigaflops": peak_flops(threads) / 1e9,
    }


def attained(moved_bytes: int, flops: int, milliseconds: float, limits: dict[str, float]) -> float:
    """Share of the roofline's bound; above 1 where the data lie in a cache, not in memory."""
    seconds = max(
        moved_bytes / (limits["gigabytes_per_second"] * 1e9), flops / (limits["gigaflops"] * 1e9)
    )
    return seconds / (milliseconds * 1e-3)
