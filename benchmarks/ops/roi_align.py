"""RoIAlign: cases and contestants."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ops import onnx_graphs, peers
from benchmarks.ops.contest import Absent, Case, Contestant
from vinfer import ops

PICTURE = (480, 853)
CHANNELS = (32, 256, 1024)
STRIDES = (8, 16, 32)
NUM_ROIS = (1, 10, 100, 1000)
SAMPLING_RATIOS = (0, 2)
SIZES = (7, 14)
# Larger results are left out: they measure the machine's allocator more than any kernel.
MAX_OUTPUT_BYTES = 256 * 2**20
# Features are standard normal, at most about 5.5: 2e-5 of that, since peers place samples in
# float32, and a position near 107 then is off by up to 1e-5 pixels.
TOLERANCE = 1e-4


@functools.cache
def real_boxes() -> npt.NDArray[np.float32]:
    boxes = json.loads(Path(__file__).with_name("boxes.json").read_text())["boxes"]
    return np.array(boxes, dtype=np.float32)


def grid(quick: bool) -> list[tuple[int, int, int, int, int]]:
    """Channels, stride, number of RoIs, sampling ratio and size of each case.

    Half of the full grid: the indices of the five levels add up to an even number.

    Any two levels of any two factors still meet. Quick: no map of stride 8, no 1000 RoIs, and of
    what is left every fifth case.
    """
    factors = (CHANNELS, STRIDES, NUM_ROIS, SAMPLING_RATIOS, SIZES)
    chosen = []
    for indices in itertools.product(*(range(len(levels)) for levels in factors)):
        channels, stride, num_rois, ratio, size = (
            levels[index] for levels, index in zip(factors, indices, strict=True)
        )
        if sum(indices) % 2 or num_rois * channels * size**2 * 4 > MAX_OUTPUT_BYTES:
            continue
        if quick and (stride == 8 or num_rois == 1000):
            continue
        chosen.append((channels, stride, num_rois, ratio, size))
    return chosen[:: 5 if quick else 1]


def make_case(
    channels: int, stride: int, num_rois: int, sampling_ratio: int, size: int, threads: int
) -> Case:
    height, width = (-(-side // stride) for side in PICTURE)
    generator = np.random.default_rng(0)
    features = generator.standard_normal((1, channels, height, width), np.float32)
    boxes = real_boxes()[:num_rois]
    indices = np.zeros(num_rois, np.int64)
    shape = (num_rois, channels, size, size)
    scale = 1.0 / stride
    moved_bytes, flops = work(boxes, channels, (height, width), scale, sampling_ratio, size)

    def ours() -> Contestant:
        out = np.empty(shape, np.float32)
        return Contestant(
            {
                "out": lambda: ops.roi_align(
                    features,
                    boxes,
                    indices,
                    size,
                    scale,
                    sampling_ratio,
                    num_threads=threads,
                    out=out,
                )
            }
        )

    def ours_new_output() -> Contestant:
        return Contestant(
            {
                "new": lambda: ops.roi_align(
                    features, boxes, indices, size, scale, sampling_ratio, num_threads=threads
                )
            }
        )

    def graph(op: str) -> bytes:
        attributes = {} if op.startswith("vinfer") else {"mode": "avg"}
        return onnx_graphs.model(
            [
                onnx_graphs.node(
                    op,
                    ["X", "rois", "batch_indices"],
                    ["Y"],
                    output_height=size,
                    output_width=size,
                    sampling_ratio=sampling_ratio,
                    spatial_scale=scale,
                    coordinate_transformation_mode="half_pixel",
                    **attributes,
                )
            ],
            {"X": ("float", 4), "rois": ("float", 2), "batch_indices": ("int64", 1)},
        )

    feed = {"X": features, "rois": boxes, "batch_indices": indices}

    def ours_in_onnxruntime() -> Contestant:
        session = onnx_graphs.our_session(graph("vinfer::RoiAlign"), threads)
        return Contestant(onnx_graphs.variants(session, feed, shape))

    def onnxruntime() -> Contestant:
        session = onnx_graphs.session(graph("RoiAlign"), threads)
        return Contestant(onnx_graphs.variants(session, feed, shape), TOLERANCE)

    def openvino() -> Contestant:
        call = openvino_roi_align(features, boxes, scale, sampling_ratio, size, threads)
        return Contestant({"infer": call}, TOLERANCE)

    def torch() -> Contestant:
        call = torch_roi_align(features, boxes, scale, sampling_ratio, size)
        return Contestant(
            {"grid_sample": call}, TOLERANCE, "composed: one grid_sample a grid size, then a mean"
        )

    def torchvision() -> Contestant:
        return Contestant(
            {"roi_align": torchvision_roi_align(features, boxes, scale, sampling_ratio, size)},
            TOLERANCE,
        )

    return Case(
        op="roi_align",
        name=f"C={channels} stride={stride} R={num_rois} s={sampling_ratio} {size}x{size}",
        parameters={
            "channels": channels,
            "stride": stride,
            "num_rois": num_rois,
            "sampling_ratio": sampling_ratio,
            "size": size,
        },
        moved_bytes=moved_bytes,
        flops=flops,
        make={
            "vinfer": ours,
            "vinfer, new output": ours_new_output,
            "vinfer in ONNX Runtime": ours_in_onnxruntime,
            "onnxruntime": onnxruntime,
            "openvino": openvino,
            "torch": torch,
            "torchvision": torchvision,
        },
    )


def work(
    boxes: npt.NDArray[np.float32],
    channels: int,
    extents: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    size: int,
) -> tuple[int, int]:
    """Bytes and operations of out[c] = A_y f[c] A_x^T with two sparse matrices a RoI.

    Bytes: the part of the map that any RoI touches, once, and the result. Operations: a
    multiplication and an addition a non-zero weight, rows first, weights made once a RoI for free.
    """
    touched = np.zeros(extents, dtype=bool)
    flops = 0
    for x1, y1, x2, y2 in boxes.astype(np.float64) * scale - 0.5:
        columns = _touched(x1, x2, extents[1])
        rows = _touched(y1, y2, extents[0])
        touched[rows, columns] = True
        num_columns = columns.stop - columns.start
        flops += 2 * size * _weights_a_bin(y1, y2, sampling_ratio, size) * num_columns
        flops += 2 * size * size * _weights_a_bin(x1, x2, sampling_ratio, size)
    moved = int(touched.sum()) + len(boxes) * size * size
    return 4 * channels * moved, channels * flops


def _touched(low: float, high: float, extent: int) -> slice:
    return slice(max(0, int(np.floor(low))), min(extent, int(np.floor(high)) + 2))


def _weights_a_bin(low: float, high: float, sampling_ratio: int, bins: int) -> int:
    """Non-zero weights of a bin on one axis, at most: near samples share neighbours."""
    bin_size = (high - low) / bins
    samples = sampling_ratio or max(1, int(np.ceil(bin_size)))
    return int(min(2 * samples, np.floor(bin_size) + 2))


def openvino_roi_align(
    features: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    scale: float,
    sampling_ratio: int,
    size: int,
    threads: int,
) -> Callable[[], Any]:
    openvino = peers.load("openvino")
    opset = peers.load("openvino.opset15")
    indices = np.zeros(len(boxes), np.int32)
    parameters = [
        opset.parameter(list(array.shape), dtype, name)
        for array, dtype, name in (
            (features, np.float32, "X"),
            (boxes, np.float32, "rois"),
            (indices, np.int32, "batch_indices"),
        )
    ]
    # Its "half_pixel" is (x + 0.5) * scale - 0.5; ours, and ONNX's of that name, is this one.
    node = opset.roi_align(
        *parameters, size, size, sampling_ratio, scale, "avg", aligned_mode="half_pixel_for_nn"
    )
    model = openvino.Model([node], parameters)
    call: Callable[[], Any] = peers.openvino_call(model, [features, boxes, indices], threads)
    return call


def torch_roi_align(
    features: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    scale: float,
    sampling_ratio: int,
    size: int,
) -> Callable[[], Any]:
    """One `grid_sample` for all RoIs of one grid size.

    What only general boxes need is left out to its advantage: samples are clamped at the border
    (the boxes lie inside the picture, so none is zero), and all RoIs are of one picture.
    """
    torch = peers.load("torch")
    map_ = torch.from_numpy(features)
    channels, height, width = map_.shape[1:]
    rois = torch.from_numpy(boxes)
    extents = torch.tensor([width, height], dtype=torch.float32)

    def pool(chosen: Any, samples_x: int, samples_y: int) -> Any:
        start = chosen[:, :2] * scale - 0.5
        extent = (chosen[:, 2:] - chosen[:, :2]) * scale
        steps_x = (torch.arange(size * samples_x) + 0.5) / (size * samples_x)
        steps_y = (torch.arange(size * samples_y) + 0.5) / (size * samples_y)
        x = (start[:, :1] + extent[:, :1] * steps_x) / (extents[0] - 1) * 2 - 1
        y = (start[:, 1:] + extent[:, 1:] * steps_y) / (extents[1] - 1) * 2 - 1
        count = len(chosen)
        grid = torch.stack(
            [
                x[:, None, :].expand(count, len(steps_y), len(steps_x)),
                y[:, :, None].expand(count, len(steps_y), len(steps_x)),
            ],
            dim=-1,
        ).reshape(1, count * len(steps_y), len(steps_x), 2)
        sampled = torch.nn.functional.grid_sample(
            map_, grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        bins = sampled.reshape(channels, count, size, samples_y, size, samples_x)
        return bins.mean(dim=(3, 5)).transpose(0, 1)

    def call() -> Any:
        with torch.inference_mode():
            if sampling_ratio:
                return pool(rois, sampling_ratio, sampling_ratio).contiguous()
            extent = (rois[:, 2:] * scale - 0.5) - (rois[:, :2] * scale - 0.5)
            grids = torch.ceil(extent / size).int()
            pooled = torch.empty((len(rois), channels, size, size))
            for samples_x, samples_y in torch.unique(grids, dim=0).tolist():
                same = (grids == torch.tensor([samples_x, samples_y])).all(dim=1)
                pooled[same] = pool(rois[same], samples_x, samples_y)
            return pooled

    return call


def torchvision_roi_align(
    features: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    scale: float,
    sampling_ratio: int,
    size: int,
) -> Callable[[], Any]:
    torch = peers.load("torch")
    torchvision = peers.load("torchvision")
    rois = torch.from_numpy(np.concatenate([np.zeros_like(boxes[:, :1]), boxes], axis=1))
    map_ = torch.from_numpy(features)

    def call() -> Any:
        with torch.inference_mode():
            return torchvision.ops.roi_align(map_, rois, size, scale, sampling_ratio or -1, True)

    try:
        call()
    except (NotImplementedError, RuntimeError) as exc:
        raise Absent(f"torchvision's operator does not run: {str(exc).splitlines()[0]}") from exc
    return call
