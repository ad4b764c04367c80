"""Backends side by side on a detector's graph: the time of one inference, and its ratio.

    python -m benchmarks.backends [--detector NAME] [--rounds 60] [--output FILE.json]

In one process. For 1 thread and for all: OpenVINO's outputs are compared with ONNX Runtime's first
(at most 1e-3 of an output's largest value) and the bits of 1 thread with those of all; then they
take turns (`vinfer.backends.turns`). The third setting is the engine's:
as many inferences at once as there are cores, one thread each, time per inference. Ratios are
medians of the rounds' own: below 1, OpenVINO is faster. Last, what `vinfer`'s backend ``auto``
chooses here, measured anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, versions
from vinfer.backends import Session, SessionOptions, load
from vinfer.backends.agreement import TOLERANCE, difference
from vinfer.backends.turns import take_turns
from vinfer.bundles import Bundle, find_bundle
from vinfer.threads import usable_threads

REFERENCE = SessionOptions(provider="cpu", backend="onnxruntime")
OTHER = SessionOptions(provider="cpu", backend="openvino")


def percentile(values: list[float], q: float) -> float:
    return float(np.percentile(values, q))


def run_at_once(
    session: Session, inputs: dict[str, Any], pool: ThreadPoolExecutor, at_once: int
) -> None:
    for run in [pool.submit(session.run, inputs) for _ in range(at_once)]:
        run.result()


def compare(
    graph: bytes, inputs: dict[str, Any], threads: int, at_once: int, rounds: int
) -> dict[str, Any]:
    sessions = [
        load(graph, dataclasses.replace(options, threads=threads, concurrent_runs=at_once))
        for options in (REFERENCE, OTHER)
    ]
    expected, found = (session.run(inputs) for session in sessions)
    gap = difference(expected, found, TOLERANCE["float32"])
    if gap is not None:
        raise SystemExit(f"openvino computes something else: {gap}")
    with ThreadPoolExecutor(at_once) as pool:
        taken = take_turns(
            [functools.partial(run_at_once, each, inputs, pool, at_once) for each in sessions],
            rounds=rounds,
        )
    # Milliseconds an inference.
    times = [[1e3 * seconds / at_once for seconds in column] for column in zip(*taken, strict=True)]
    result: dict[str, Any] = {
        "threads": threads,
        "at_once": at_once,
        "rounds": rounds,
        "largest_difference": max(
            float(np.abs(expected[name] - found[name]).max()) for name in expected
        ),
    }
    for options, values in zip((REFERENCE, OTHER), times, strict=True):
        result[options.backend] = {
            "median_ms": statistics.median(values),
            "p95_ms": percentile(values, 95),
            "p99_ms": percentile(values, 99),
        }
    result["ratio"] = statistics.median(b / a for a, b in zip(*times, strict=True))
    for session in sessions:
        session.close()
    return result


def same_bits(graph: bytes, inputs: dict[str, Any], cores: int) -> dict[str, bool]:
    """Whether each backend's outputs are the same for 1 thread and for all."""
    found: dict[str, bool] = {}
    for options in (REFERENCE, OTHER):
        bits = set()
        for threads in {1, cores}:
            session = load(graph, dataclasses.replace(options, threads=threads))
            bits |= {b"".join(array.tobytes() for array in session.run(inputs).values())}
            session.close()
        found[options.backend] = len(bits) == 1
    return found


def choice(graph: bytes, inputs: dict[str, Any], cores: int) -> str:
    options = SessionOptions(provider="cpu", backend="auto", threads=1, concurrent_runs=cores)
    with tempfile.TemporaryDirectory() as folder:  # a cache of its own, so that nothing is kept
        os.environ["XDG_CACHE_HOME"] = folder
        session = load(graph, options, sample=inputs)
        session.close()
    return session.describe().notes[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--detector", default="ssd-mobilenet-v2-coco")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    bundle = Bundle.open(find_bundle(args.detector))
    graph = bundle.graph()
    (spec,) = bundle.manifest.inputs
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
    inputs = {spec.name: np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)}
    cores = usable_threads()
    settings = sorted({(1, 1), (cores, 1), (1, cores)})
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("onnxruntime", "openvino"),
        "detector": bundle.identity,
        "input": list(shape),
        "same_bits_for_1_and_all_threads": same_bits(graph, inputs, cores),
        "results": [
            compare(graph, inputs, threads, at_once, args.rounds) for threads, at_once in settings
        ],
        "auto": choice(graph, inputs, cores),
    }
    print(report["machine"], report["versions"])
    print(f"{bundle.identity}, input {list(shape)}, milliseconds per inference")
    print(f"same bits for 1 and {cores} threads: {report['same_bits_for_1_and_all_threads']}")
    print(
        f"{'threads':>7} {'at once':>7} {'onnxruntime p95':>18} {'openvino p95':>18} "
        f"{'openvino/onnxruntime':>21} {'largest difference':>19}"
    )
    for row in report["results"]:
        columns = [
            f"{row[o.backend]['median_ms']:.2f} {row[o.backend]['p95_ms']:.2f}"
            for o in (REFERENCE, OTHER)
        ]
        print(
            f"{row['threads']:>7} {row['at_once']:>7} {columns[0]:>18} {columns[1]:>18} "
            f"{row['ratio']:>21.3f} {row['largest_difference']:>19.1e}"
        )
    print(report["auto"])
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
