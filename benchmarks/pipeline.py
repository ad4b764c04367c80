"""Whole-pipeline frames a second against the bare detector's `session.run` on the same frames.

    python -m benchmarks.pipeline CLIP... [--repeats 5] [--output benchmarks/results/pipeline.json]

In one process, with the same thread count: (1) every frame is decoded and letterboxed beforehand
and only `session.run` is timed, all threads inside one inference, as ONNX Runtime does by default;
(2) the same with frames side by side, one thread each; (3) `Engine.run` on the file: decode,
letterbox, detect, track, relate, events, `events.jsonl`; (4) the same with every output of
`vinfer run`. The four alternate within a round; medians over rounds are reported, and ratios are
medians of the rounds' own. Before anything is timed, the detections of (3) are compared with those
of (1), frame by frame. Peak memory is that of a fresh process that does only (4).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import vinfer
from benchmarks.machine import machine, versions
from vinfer.backends import SessionOptions
from vinfer.bundles import find_bundle
from vinfer.scheduler import OrderedMap
from vinfer.stages.detect import Detector
from vinfer.types import FrameResult, RunSummary, StreamInfo

DETECTOR = "ssd-mobilenet-v2-coco"
COLUMNS = ("session.run", "side by side", "pipeline", "all outputs")

MEMORY_PROGRAM = """
import sys, tempfile
sys.argv = ["vinfer", "run", sys.argv[1], "--output", tempfile.mkdtemp(), "--json"]
from vinfer.cli.main import main
try:
    main()
except SystemExit:
    pass
status = open("/proc/self/status").read()
print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


class Boxes:
    """A sink that keeps each frame's boxes, for the comparison."""

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []

    def open(self, info: StreamInfo, run: Any) -> None:
        pass

    def frame(self, frame: vinfer.Frame, result: FrameResult) -> None:
        self.boxes.append(result.detections.boxes)

    def event(self, event: vinfer.Event) -> None:
        pass

    def close(self, summary: RunSummary) -> None:
        pass


def all_sinks(folder: Path) -> list[Any]:
    return [
        vinfer.EventsJsonl(folder / "events.jsonl"),
        vinfer.VidvrdJson(folder / "events.vidvrd.json"),
        vinfer.SqlStore(folder / "events.sqlite"),
        vinfer.AnnotatedVideo(folder / "annotated.mp4"),
        vinfer.HtmlReport(folder / "report.html", video="annotated.mp4"),
    ]


def measure(clip: Path, repeats: int, threads: int) -> dict[str, Any]:
    config = vinfer.Config(threads=threads)
    bundle = vinfer.Bundle.open(find_bundle(DETECTOR))
    detector = Detector(bundle, SessionOptions(provider="cpu", threads=threads))
    one_thread = Detector(bundle, SessionOptions(provider="cpu", threads=1))
    detector_threads = detector.describe().threads
    with vinfer.open_source(clip) as source:
        prepared = [detector.prepare(frame.image) for frame in source]
    with vinfer.Engine(config=config) as engine, tempfile.TemporaryDirectory() as name:
        seen = Boxes()
        engine.run(clip, seen)
        if len(seen.boxes) != len(prepared):
            raise SystemExit(f"{clip.name}: {len(seen.boxes)} frames against {len(prepared)}")
        for number, (ready, boxes) in enumerate(zip(prepared, seen.boxes, strict=True)):
            bare = detector.finish(ready, detector.infer(ready)).boxes
            if not np.array_equal(bare, boxes):
                raise SystemExit(f"{clip.name}: detections differ in frame {number}")

        seconds: dict[str, list[float]] = {name: [] for name in COLUMNS}
        for round_number in range(repeats):
            folder = Path(name) / str(round_number)
            folder.mkdir()
            began = time.perf_counter()
            for ready in prepared:
                detector.infer(ready)
            seconds["session.run"].append(time.perf_counter() - began)
            began = time.perf_counter()
            with OrderedMap(one_thread.infer, prepared, workers=detector_threads) as outputs:
                for _ in outputs:
                    pass
            seconds["side by side"].append(time.perf_counter() - began)
            began = time.perf_counter()
            engine.run(clip, vinfer.EventsJsonl(folder / "only.jsonl"))
            seconds["pipeline"].append(time.perf_counter() - began)
            began = time.perf_counter()
            engine.run(clip, *all_sinks(folder))
            seconds["all outputs"].append(time.perf_counter() - began)
        described = engine.describe()
    rates = {name: len(prepared) / statistics.median(times) for name, times in seconds.items()}
    ratios = {
        name: statistics.median(
            bare / whole for bare, whole in zip(seconds["session.run"], times, strict=True)
        )
        for name, times in seconds.items()
    }
    peak = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(clip)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ).stderr.split()[-1]
    return {
        "clip": clip.name,
        "frames": len(prepared),
        "frames_per_second": rates,
        "ratio_to_session_run": ratios,
        "rounds_seconds": seconds,
        "peak_memory_mib": int(peak) / 1024,
        "sessions": described["sessions"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    results = [measure(clip, args.repeats, args.threads) for clip in args.clips]
    report = {
        "machine": machine(),
        "versions": versions("onnxruntime", "av", "trackers"),
        "results": results,
    }
    print(report["machine"], report["versions"])
    print("frames a second (and ratio to session.run)")
    print(
        f"{'clip':<16}{'frames':>7}" + "".join(f"{name:>16}" for name in COLUMNS) + f"{'peak':>11}"
    )
    for row in results:
        rate, ratio = row["frames_per_second"], row["ratio_to_session_run"]
        print(
            f"{row['clip']:<16}{row['frames']:>7}"
            + "".join(f"{rate[name]:>9.1f} ({ratio[name]:.2f})" for name in COLUMNS)
            + f"{row['peak_memory_mib']:>7.0f} MiB"
        )
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
