"""Positional maps: cases and contestants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ops import onnx_graphs, peers
from benchmarks.ops.contest import Case, Contestant
from benchmarks.ops.roi_align import real_boxes
from vinfer import ops

NUM_BOXES = (1, 10, 100, 1000)
SIZES = (7, 14)
TOLERANCE = 1e-5


def grid(quick: bool) -> list[tuple[int, int]]:
    """Number of boxes and size of each case; quick: 100 boxes only."""
    return [
        (num_boxes, size)
        for num_boxes in NUM_BOXES
        for size in SIZES
        if not quick or num_boxes == 100
    ]


def make_case(num_boxes: int, size: int, threads: int) -> Case:
    boxes = np.ascontiguousarray(real_boxes()[:num_boxes])
    # The union of a box with the next one, as for a pair of objects.
    other = np.roll(real_boxes(), 1, axis=0)[:num_boxes]
    reference = np.concatenate(
        [np.minimum(boxes[:, :2], other[:, :2]), np.maximum(boxes[:, 2:], other[:, 2:])], axis=1
    )
    shape = (num_boxes, 2, size, size)

    def ours() -> Contestant:
        out = np.empty(shape, np.float32)
        return Contestant(
            {
                "out": lambda: ops.positional_maps(
                    boxes, reference, size, num_threads=threads, out=out
                )
            }
        )

    def ours_new_output() -> Contestant:
        return Contestant(
            {"new": lambda: ops.positional_maps(boxes, reference, size, num_threads=threads)}
        )

    def ours_in_onnxruntime() -> Contestant:
        made = onnx_graphs.model(
            [
                onnx_graphs.node(
                    "vinfer::PositionalMaps",
                    ["boxes", "reference"],
                    ["Y"],
                    height=size,
                    width=size,
                )
            ],
            {"boxes": ("float", 2), "reference": ("float", 2)},
        )
        session = onnx_graphs.our_session(made, threads)
        return Contestant(
            onnx_graphs.variants(session, {"boxes": boxes, "reference": reference}, shape)
        )

    return Case(
        op="positional_maps",
        name=f"R={num_boxes} {size}x{size}",
        parameters={"num_boxes": num_boxes, "size": size},
        moved_bytes=boxes.nbytes + reference.nbytes + 4 * num_boxes * 2 * size * size,
        flops=num_boxes * (12 + 4 * size),
        make={
            "vinfer": ours,
            "vinfer, new output": ours_new_output,
            "vinfer in ONNX Runtime": ours_in_onnxruntime,
            "torch": lambda: Contestant(
                {"broadcast": torch_positional_maps(boxes, reference, size)}, TOLERANCE
            ),
            "numpy": lambda: Contestant(
                {"broadcast": numpy_positional_maps(boxes, reference, size)},
                TOLERANCE,
                "one thread",
            ),
        },
    )


def numpy_positional_maps(
    boxes: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], size: int
) -> Callable[[], Any]:
    out = np.empty((len(boxes), 2, size, size), np.float32)
    t = ((np.arange(size) + 0.5) / size).astype(np.float32)

    def call() -> Any:
        scale = 2 / (reference[:, 2:] - reference[:, :2])
        alpha = (boxes[:, :2] - reference[:, :2]) * scale - 1
        lines = alpha[:, :, None] + ((boxes[:, 2:] - boxes[:, :2]) * scale)[:, :, None] * t
        out[:, 0] = lines[:, 0, None, :]
        out[:, 1] = lines[:, 1, :, None]
        return out

    return call


def torch_positional_maps(
    boxes: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], size: int
) -> Callable[[], Any]:
    torch = peers.load("torch")
    low, high = torch.from_numpy(boxes).split(2, dim=1)
    reference_low, reference_high = torch.from_numpy(reference).split(2, dim=1)
    out = torch.empty((len(boxes), 2, size, size))
    t = (torch.arange(size) + 0.5) / size

    def call() -> Any:
        with torch.inference_mode():
            scale = 2 / (reference_high - reference_low)
            alpha = (low - reference_low) * scale - 1
            lines = alpha[:, :, None] + ((high - low) * scale)[:, :, None] * t
            out[:, 0] = lines[:, 0, None, :]
            out[:, 1] = lines[:, 1, :, None]
            return out

    return call
