"""Time the CUDA ops against torchvision, torch.compile and torch's own, on CUDA tensors.

    python -m benchmarks.gpu.ops [--seconds 110] [--output FILE]

Agreement with `vinfer.ops` comes first; who disagrees is named and not timed. The file is written
after every case, so that nothing is lost when the time is over.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import composed
from benchmarks.gpu.timing import Timer, summary
from benchmarks.ops import peers
from benchmarks.ops.contest import Absent
from benchmarks.ops.letterbox import MEAN, PAD_VALUE, STD, Geometry, picture
from benchmarks.ops.roi_align import PICTURE, real_boxes, work
from vinfer import ops

OURS = ("vinfer", "torch.ops.vinfer")
FLOAT_TYPES = {"float32": torch.float32, "float16": torch.float16}
# Positions up to 107 rounded to float16 are off by 0.03, and standard normal features differ by up
# to 8 from one pixel to the next.
FLOAT16_POSITIONS_TOLERANCE = 0.5
LARGE_BYTES = 64 * 2**20  # from here on a case is bound by memory, not by launching


@dataclasses.dataclass
class Case:
    op: str
    name: str
    moved_bytes: int
    tolerance: float
    calls: dict[str, Callable[[], Any]]
    tolerances: dict[str, float] = dataclasses.field(default_factory=dict)  # of single peers
    absent: dict[str, str] = dataclasses.field(default_factory=dict)


def torch_op(name: str) -> Any:
    """`torch.ops.vinfer.<name>`, or None where this build registers none."""
    return getattr(torch.ops.vinfer, name, None)


# (pictures, channels, stride, RoIs in all, samples, bins), small to large.
ROI_ALIGN = (
    (1, 32, 16, 10, 2, 7),
    (1, 256, 16, 100, 2, 7),
    (1, 256, 16, 100, 0, 14),
    (1, 256, 8, 1000, 2, 7),
    (1, 256, 16, 1000, 0, 7),
    (1, 256, 16, 1000, 2, 14),
    (1, 1024, 16, 1000, 2, 7),
    (8, 256, 8, 4000, 2, 7),
    (8, 256, 8, 4000, 0, 7),
    (8, 1024, 16, 2000, 2, 14),
)


def roi_align_cases() -> Iterator[Case]:
    for dtype in FLOAT_TYPES:
        for grid in ROI_ALIGN:
            yield roi_align_case(*grid, dtype)


def roi_align_case(
    pictures: int, channels: int, stride: int, num_rois: int, samples: int, size: int, dtype: str
) -> Case:
    height, width = (-(-side // stride) for side in PICTURE)
    boxes_array = np.resize(real_boxes(), (num_rois, 4))
    if dtype == "float16":
        # For all alike: one peer takes nothing else.
        boxes_array = boxes_array.astype(np.float16).astype(np.float32)
    indices_array = np.arange(num_rois) * pictures // num_rois
    generator = torch.Generator("cuda").manual_seed(0)
    features = torch.randn(
        (pictures, channels, height, width), generator=generator, device="cuda"
    ).to(FLOAT_TYPES[dtype])
    boxes = torch.from_numpy(boxes_array).cuda()
    indices = torch.from_numpy(indices_array).cuda()
    rois = torch.cat([indices[:, None].float(), boxes], dim=1)
    out = torch.empty((num_rois, channels, size, size), dtype=features.dtype, device="cuda")
    scale = 1 / stride
    moved = sum(
        work(boxes_array[indices_array == i], channels, (height, width), scale, samples, size)[0]
        for i in range(pictures)
    )
    case = Case(
        "roi_align",
        f"{dtype} N={pictures} C={channels} stride={stride} R={num_rois} s={samples} {size}x{size}",
        moved * features.element_size() // 4,
        1e-4 if dtype == "float32" else 2e-2,
        {"vinfer": lambda: ops.roi_align(features, boxes, indices, size, scale, samples, out=out)},
    )
    if op := torch_op("roi_align"):
        case.calls["torch.ops.vinfer"] = lambda: op(
            features, boxes, indices, size, size, scale, samples, True
        )
    try:
        torchvision = peers.load("torchvision")
    except Absent as exc:
        case.absent["torchvision"] = str(exc)
    else:
        # Its kernel takes boxes in the features' dtype, and computes positions in it.
        given = rois.to(features.dtype)
        case.calls["torchvision"] = lambda: torchvision.ops.roi_align(
            features, given, size, scale, samples or -1, True
        )
        if dtype == "float16":
            case.tolerances["torchvision"] = FLOAT16_POSITIONS_TOLERANCE
    if samples:
        call = composed.compiled(composed.roi_align, samples=samples, size=size)
        on_the_map = boxes * scale
        case.calls["torch.compile"] = lambda: call(features, on_the_map, indices)
    else:
        case.absent["torch.compile"] = "grids of different sizes have no composed form"
    return case


WELDON_POOL = (
    (1, 256, 7, 7, 16),
    (1, 1024, 14, 14, 16),
    (1, 256, 30, 54, 16),
    (64, 256, 14, 14, 16),
    (16, 256, 30, 54, 100),
    (16, 256, 60, 107, 16),
    (64, 1024, 30, 54, 16),
)


def weldon_pool_cases() -> Iterator[Case]:
    for dtype in FLOAT_TYPES:
        for grid in WELDON_POOL:
            yield weldon_pool_case(*grid, dtype)


def weldon_pool_case(
    pictures: int, channels: int, height: int, width: int, k: int, dtype: str
) -> Case:
    generator = torch.Generator("cuda").manual_seed(0)
    x = torch.randn((pictures, channels, height, width), generator=generator, device="cuda")
    x = x.to(FLOAT_TYPES[dtype])
    out = torch.empty((pictures, channels), dtype=x.dtype, device="cuda")
    alpha = 0.7
    case = Case(
        "weldon_pool",
        f"{dtype} {pictures * channels} maps {height}x{width} k={k}",
        x.element_size() * (x.numel() + out.numel()),
        1e-5 if dtype == "float32" else 2e-2,
        {"vinfer": lambda: ops.weldon_pool(x, k, k, alpha, out=out)},
    )
    if op := torch_op("weldon_pool"):
        case.calls["torch.ops.vinfer"] = lambda: op(x, k, k, alpha)
    case.calls["torch.topk"] = lambda: composed.weldon_pool(x, k, alpha)
    case.calls["torch.sort"] = lambda: composed.weldon_pool_sort(x, k, alpha)
    call = composed.compiled(composed.weldon_pool, k=k, alpha=alpha)
    case.calls["torch.compile"] = lambda: call(x)
    return case


LETTERBOX = (
    ((480, 854), (300, 300), "stretch"),
    ((720, 1280), (640, 640), "pad"),
    ((1080, 1920), (640, 640), "pad"),
    ((2160, 3840), (640, 640), "pad"),
    ((2160, 3840), (1280, 1280), "pad"),
    ((2160, 3840), (2160, 3840), "pad"),
)


def letterbox_cases() -> Iterator[Case]:
    for form in ("RGB", "NV12"):
        for dtype in FLOAT_TYPES:
            for grid in LETTERBOX:
                yield letterbox_case(*grid, form, dtype)


def letterbox_case(
    source: tuple[int, int], target: tuple[int, int], mode: Any, form: str, dtype: Any
) -> Case:
    place = Geometry(source, target, mode)
    out = torch.empty((3, *target), dtype=FLOAT_TYPES[dtype], device="cuda")
    mean = torch.tensor(MEAN, device="cuda").view(3, 1, 1)
    std = torch.tensor(STD, device="cuda").view(3, 1, 1)
    left, top = place.left, place.top
    padding = (left, target[1] - place.width - left, top, target[0] - place.height - top)
    rest = ((place.height, place.width), padding, mean, std, float(PAD_VALUE), out.dtype)
    rgb = torch.from_numpy(picture(*source)).cuda()
    given: Any = rgb
    if form == "NV12":
        # Any bytes are a picture; what matters is that they are no constant.
        y = rgb[..., 0].contiguous()
        uv = rgb[::2, ::2, 1:].reshape(-(-source[0] // 2), -1).contiguous()
        given = ops.Nv12(y, uv, source[1])
        peer: Callable[..., Any] = composed.letterbox_nv12
        arguments: tuple[Any, ...] = (y, uv[:, : 2 * -(-source[1] // 2)], *rest)
    else:
        peer, arguments = composed.letterbox, (rgb, *rest)
    pixels = min(source[0], 2 * place.height) * min(source[1], 2 * place.width)
    case = Case(
        "letterbox",
        f"{form} {dtype} {source[0]}x{source[1]} to {target[0]}x{target[1]} {mode}",
        (pixels * 3 if form == "RGB" else pixels * 3 // 2) + out.numel() * out.element_size(),
        2e-4 if dtype == "float32" else 4e-3,
        {
            "vinfer": lambda: ops.letterbox(
                given, target, mode, MEAN, STD, PAD_VALUE, dtype=dtype, out=out
            )[0]
        },
    )
    case.calls["torch"] = lambda: peer(*arguments)
    call = composed.compiled(peer)
    case.calls["torch.compile"] = lambda: call(*arguments)
    return case


def positional_maps_cases() -> Iterator[Case]:
    for num_boxes, size in ((100, 7), (1000, 14), (100_000, 14)):
        yield positional_maps_case(num_boxes, size)


def positional_maps_case(num_boxes: int, size: int) -> Case:
    boxes = torch.from_numpy(np.resize(real_boxes(), (num_boxes, 4))).cuda()
    other = boxes.roll(1, 0)
    reference = torch.cat(
        [torch.minimum(boxes[:, :2], other[:, :2]), torch.maximum(boxes[:, 2:], other[:, 2:])], 1
    )
    out = torch.empty((num_boxes, 2, size, size), device="cuda")
    case = Case(
        "positional_maps",
        f"R={num_boxes} {size}x{size}",
        4 * (2 * boxes.numel() + out.numel()),
        1e-5,
        {"vinfer": lambda: ops.positional_maps(boxes, reference, size, out=out)},
    )
    case.calls["torch"] = lambda: composed.positional_maps(boxes, reference, size)
    call = composed.compiled(composed.positional_maps, size=size)
    case.calls["torch.compile"] = lambda: call(boxes, reference)
    return case


def run_case(case: Case, timer: Timer, bandwidth: float) -> dict[str, Any]:
    ours = case.calls["vinfer"]().clone().float()
    difference: dict[str, float] = {}
    calls = {"vinfer": case.calls["vinfer"]}
    for name, call in case.calls.items():
        try:
            result = call().float()
        except Exception as exc:  # a peer that fails, in whatever way, is named and left out
            if name == "vinfer":
                raise
            case.absent[name] = f"{type(exc).__name__}: {str(exc).splitlines()[0]}"
            continue
        worst = float((result.reshape(ours.shape) - ours).abs().max())
        difference[name] = worst
        accepted = case.tolerances.get(name, case.tolerance)
        if worst <= accepted:
            calls[name] = call
        else:
            case.absent[name] = f"disagrees: {worst:.3g}, accepted {accepted:.3g}"
    samples = timer.race(calls)
    times = {name: summary(rounds) for name, rounds in samples.items()}
    others = [name for name in times if name not in OURS]
    line: dict[str, Any] = {
        "op": case.op,
        "case": case.name,
        "moved_bytes": case.moved_bytes,
        "times_ms": times,
        "host_us": {name: timer.host_microseconds(call) for name, call in calls.items()},
        "attained": case.moved_bytes / bandwidth / (times["vinfer"]["median"] * 1e-3),
        "difference": difference,
        "tolerance": case.tolerance,
        "tolerances": case.tolerances,
        "absent": case.absent,
    }
    if others:
        fastest = min(others, key=lambda name: times[name]["median"])
        line["fastest_peer"] = fastest
        line["ratio"] = statistics.median(
            statistics.median(theirs) / statistics.median(mine)
            for theirs, mine in zip(samples[fastest], samples["vinfer"], strict=True)
        )
    return line


def summarise(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """A geometric mean an op, and the share of the copy's bandwidth in its large cases."""
    found = {}
    for op in dict.fromkeys(line["op"] for line in lines):
        mine = [line for line in lines if line["op"] == op]
        ratios = [line["ratio"] for line in mine if "ratio" in line]
        large = [line["attained"] for line in mine if line["moved_bytes"] >= LARGE_BYTES]
        found[op] = {
            "cases": len(mine),
            "geometric_mean": statistics.geometric_mean(ratios) if ratios else None,
            "least": min(ratios, default=None),
            "attained_when_large": [round(share, 3) for share in large],
        }
    return found


def markdown(report: dict[str, Any]) -> list[str]:
    rows = [
        "",
        f"Median milliseconds on {report['gpu']['name']}, caches cold; a device copy moves "
        f"{report['copy_gigabytes_per_second']:.0f} GB/s.",
        "",
        "| op | cases | geometric mean against the fastest peer | least | share of copy bandwidth, "
        "large cases |",
        "|---|---|---|---|---|",
    ]
    for op, entry in report["summary"].items():
        mean, least = (
            "-" if entry[key] is None else f"{entry[key]:.2f}x"
            for key in ("geometric_mean", "least")
        )
        shares = ", ".join(f"{share:.0%}" for share in entry["attained_when_large"]) or "-"
        rows.append(f"| `{op}` | {entry['cases']} | {mean} | {least} | {shares} |")
    rows += [
        "",
        "| op | case | vinfer | peers | ratio | of bandwidth |",
        "|---|---|---|---|---|---|",
    ]
    for line in report["cases"]:
        others = ", ".join(
            f"{name} {taken['median']:.4f}"
            for name, taken in line["times_ms"].items()
            if name != "vinfer"
        )
        ratio = f"{line['ratio']:.2f}x" if "ratio" in line else "-"
        rows.append(
            f"| {line['op']} | {line['case']} | {line['times_ms']['vinfer']['median']:.4f} | "
            f"{others} | {ratio} | {line['attained']:.0%} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=110.0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    timer = Timer()
    bandwidth = timer.copy_bandwidth()
    properties = torch.cuda.get_device_properties(0)
    report: dict[str, Any] = {
        "gpu": {
            "name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "memory_gib": round(properties.total_memory / 2**30, 1),
        },
        "copy_gigabytes_per_second": bandwidth / 1e9,
        "cases": [],
        "failed": [],
        "left_out": [],
    }
    # Of the time that is left then; most of it goes into compiling the peers.
    shares = {
        roi_align_cases: 0.5,
        weldon_pool_cases: 0.45,
        letterbox_cases: 0.8,
        positional_maps_cases: 1.0,
    }
    for cases, share in shares.items():
        until = time.monotonic() + share * (end - time.monotonic())
        for case in cases():
            if time.monotonic() > until:
                report["left_out"].append(f"{case.op} {case.name}")
                continue
            try:
                line = run_case(case, timer, bandwidth)
            except Exception as exc:  # one op that fails must not lose the others' figures
                report["failed"].append(f"{case.op} {case.name}: {type(exc).__name__}: {exc}")
                print(report["failed"][-1], flush=True)
                continue
            report["cases"].append(line)
            times = ", ".join(f"{n} {t['median']:.4f}" for n, t in line["times_ms"].items())
            ratio = f"{line['ratio']:.2f}x" if "ratio" in line else "no peer"
            print(
                f"{line['op']} {line['case']}: {ratio}, {line['attained']:.0%} of bandwidth; "
                f"{times}",
                flush=True,
            )
            report["summary"] = summarise(report["cases"])
            report["markdown"] = markdown(report)
            if args.output:
                args.output.write_text(json.dumps(report, indent=1) + "\n")
    if report["failed"]:
        raise SystemExit("\n".join(report["failed"]))


if __name__ == "__main__":
    main()
