"""Weldon pooling: cases and contestants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ops import onnx_graphs, peers
from benchmarks.ops.contest import Case, Contestant
from vinfer import ops

# Maps of pooled RoIs, and of a 480x853 picture at strides 32, 16 and 8.
MAPS = ((7, 7), (14, 14), (15, 27), (30, 54), (60, 107))
NUM_MAPS = (32, 256, 1024, 8192)
KS = (1, 16, 64)
MAX_INPUT_BYTES = 64 * 2**20
TOLERANCE = 1e-5  # of standard normal values; peers sum in float32
ALPHA = 0.75  # exact in float32, which is what attributes of ONNX are


def grid(quick: bool) -> list[tuple[int, int, int, int]]:
    """Height, width, number of maps and k of each case.

    Half of the full grid, as for RoIAlign; k above the size of a map is left out. Quick: every
    sixth.
    """
    chosen = [
        (height, width, num_maps, k)
        for i, (height, width) in enumerate(MAPS)
        for j, num_maps in enumerate(NUM_MAPS)
        for m, k in enumerate(KS)
        if (i + j + m) % 2 == 0
        and k <= height * width
        and num_maps * height * width * 4 <= MAX_INPUT_BYTES
    ]
    return chosen[:: 6 if quick else 1]


def make_case(height: int, width: int, num_maps: int, k: int, threads: int) -> Case:
    x = np.random.default_rng(1).standard_normal((1, num_maps, height, width), np.float32)
    shape = (1, num_maps)

    def ours() -> Contestant:
        out = np.empty(shape, np.float32)
        return Contestant(
            {"out": lambda: ops.weldon_pool(x, k, k, ALPHA, num_threads=threads, out=out)}
        )

    def ours_new_output() -> Contestant:
        return Contestant({"new": lambda: ops.weldon_pool(x, k, k, ALPHA, num_threads=threads)})

    def ours_in_onnxruntime() -> Contestant:
        made = onnx_graphs.model(
            [onnx_graphs.node("vinfer::WeldonPool", ["X"], ["Y"], k_max=k, k_min=k, alpha=ALPHA)],
            {"X": ("float", 4)},
        )
        session = onnx_graphs.our_session(made, threads)
        return Contestant(onnx_graphs.variants(session, {"X": x}, shape))

    def onnxruntime() -> Contestant:
        session = onnx_graphs.session(topk_graph(k, num_maps), threads)
        return Contestant(
            onnx_graphs.variants(session, {"X": x}, shape), TOLERANCE, "composed: two TopK"
        )

    return Case(
        op="weldon_pool",
        name=f"{num_maps} maps {height}x{width} k={k}",
        parameters={"num_maps": num_maps, "height": height, "width": width, "k": k},
        moved_bytes=x.nbytes + 4 * num_maps,
        # Each value is at least compared with both thresholds.
        flops=2 * x.size,
        make={
            "vinfer": ours,
            "vinfer, new output": ours_new_output,
            "vinfer in ONNX Runtime": ours_in_onnxruntime,
            "onnxruntime": onnxruntime,
            "torch": lambda: Contestant(torch_weldon_pool(x, k), TOLERANCE, "two topk"),
            "numpy": lambda: Contestant(
                {"partition": numpy_weldon_pool(x, k)}, TOLERANCE, "one partition, one thread"
            ),
        },
    )


def topk_graph(k: int, num_maps: int) -> bytes:
    from onnx import numpy_helper

    node = onnx_graphs.node
    constants = {
        "flat": np.array([1, num_maps, -1]),
        "k": np.array([k]),
        "last": np.array([-1]),
        "alpha": np.array(ALPHA, np.float32),
    }
    return onnx_graphs.model(
        [
            node("Reshape", ["X", "flat"], ["maps"]),
            node("TopK", ["maps", "k"], ["high", "high_indices"], largest=1, sorted=0),
            node("TopK", ["maps", "k"], ["low", "low_indices"], largest=0, sorted=0),
            node("ReduceMean", ["high"], ["high_mean"], axes=[-1], keepdims=0),
            node("ReduceMean", ["low"], ["low_mean"], axes=[-1], keepdims=0),
            node("Mul", ["low_mean", "alpha"], ["scaled"]),
            node("Add", ["high_mean", "scaled"], ["Y"]),
        ],
        {"X": ("float", 4)},
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def torch_weldon_pool(x: npt.NDArray[np.float32], k: int) -> dict[str, Callable[[], Any]]:
    torch = peers.load("torch")
    maps = torch.from_numpy(x).flatten(2)
    size = maps.shape[2]

    def topk() -> Any:
        with torch.inference_mode():
            high = maps.topk(k, dim=-1, sorted=False).values.mean(dim=-1)
            low = maps.topk(k, dim=-1, largest=False, sorted=False).values.mean(dim=-1)
            return high + ALPHA * low

    def extremes() -> Any:
        with torch.inference_mode():
            low, high = torch.aminmax(maps, dim=-1)
            return high + ALPHA * low

    def sort() -> Any:
        with torch.inference_mode():
            ordered = maps.sort(dim=-1).values
            return ordered[..., size - k :].mean(dim=-1) + ALPHA * ordered[..., :k].mean(dim=-1)

    return {"topk": topk, "sort": sort, **({"aminmax": extremes} if k == 1 else {})}


def numpy_weldon_pool(x: npt.NDArray[np.float32], k: int) -> Callable[[], Any]:
    maps = x.reshape(1, x.shape[1], -1)
    size = maps.shape[2]

    def call() -> Any:
        if k == 1:
            return maps.max(axis=-1) + np.float32(ALPHA) * maps.min(axis=-1)
        ordered = np.partition(maps, (k - 1, size - k), axis=-1)
        high = ordered[..., size - k :].mean(axis=-1)
        low = ordered[..., :k].mean(axis=-1)
        return high + np.float32(ALPHA) * low

    return call
