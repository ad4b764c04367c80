"""The factored relation graph against the straight one and other libraries, by number of objects.

    python -m benchmarks.relations [--trunk resnet18] [--objects 2 5 10 20 40] [--threads 2]
        [--output benchmarks/results/relations.json]

One picture of 480x853 with all ordered pairs of its objects, untrained weights: the numbers do not
matter to the time. Everybody's logits are compared first, then all take turns. "straight" is the
network as PyTorch exports it, in ONNX Runtime without vinfer's library: every pair computes its own
three RoIs and its own convolution.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vinfer
from benchmarks.machine import machine, versions
from benchmarks.ops import peers
from benchmarks.ops.contest import Case, Contestant, run_case
from vinfer.export import export_relation_network, factor_relations
from vinfer.training.relation_network import NetworkConfig, RelationNetwork

HEIGHT, WIDTH = 480, 853
CLASSES, PREDICATES = 80, 9
TOLERANCE = 1e-4
CASE_SECONDS = 20.0
# Above this the straight graph takes minutes and gigabytes; its time is linear in the pairs.
MOST_STRAIGHT = 10


def feed(objects: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (objects, 2))
    boxes = np.hstack([low, low + rng.uniform(0.05, 0.3, (objects, 2))]) * ([WIDTH, HEIGHT] * 2)
    pairs = [(i, j) for i in range(objects) for j in range(objects) if i != j]
    return {
        "images": rng.standard_normal((1, 3, HEIGHT, WIDTH), np.float32),
        "boxes": boxes.astype(np.float32),
        "box_images": np.zeros(objects, np.int64),
        "labels": rng.integers(0, CLASSES, objects),
        "pairs": np.array(pairs, np.int64),
    }


def in_onnxruntime(
    model: Any, inputs: dict[str, Any], threads: int, library: bool
) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if library:
        options.register_custom_ops_library(str(vinfer.ort_library_path()))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, inputs)[0]


def in_openvino(model: Any, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    from vinfer.backends import SessionOptions, load

    session = load(model.SerializeToString(), SessionOptions(threads=threads, backend="openvino"))
    return lambda: next(iter(session.run(inputs).values()))


def make_case(
    network: RelationNetwork, straight: Any, factored: Any, objects: int, threads: int
) -> Case:
    inputs = feed(objects)
    tensors = [torch.from_numpy(array) for array in inputs.values()]

    def contestant(make: Callable[[], Callable[[], Any]], note: str = "") -> Any:
        return lambda: Contestant({"run": make()}, TOLERANCE, note)

    def eager() -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                return network(*tensors).numpy()

        return call

    make = {
        "vinfer": contestant(lambda: in_onnxruntime(factored, inputs, threads, True)),
        "factored, bodies": contestant(lambda: in_onnxruntime(factored, inputs, threads, False)),
        "factored, openvino": contestant(lambda: in_openvino(factored, inputs, threads)),
        "torch, shared RoIs": contestant(eager, "eager; convolution a pair, RoIs shared"),
    }
    if objects <= MOST_STRAIGHT:
        make["straight"] = contestant(lambda: in_onnxruntime(straight, inputs, threads, False))
    return Case("relations", f"{objects} objects", {"objects": objects}, 0, 0, make)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trunk", default="resnet18")
    parser.add_argument("--objects", nargs="+", type=int, default=[2, 5, 10, 20, 40])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    peers.set_threads(args.threads)
    torch.manual_seed(0)
    network = RelationNetwork(NetworkConfig(CLASSES, PREDICATES, trunk=args.trunk)).eval()
    straight = export_relation_network(
        network,
        classes=[f"class {k}" for k in range(CLASSES)],
        predicates=[f"predicate {k}" for k in range(PREDICATES)],
    )
    factored = factor_relations(straight)
    lines = []
    for objects in args.objects:
        line = run_case(make_case(network, straight, factored, objects, args.threads), CASE_SECONDS)
        times = {name: taken["median"] for name, taken in line["times_ms"].items()}
        line["times_of_vinfer"] = {name: t / times["vinfer"] for name, t in times.items()}
        worst = max(line["difference"].values())
        shown = "  ".join(f"{name} {t:.0f} ms" for name, t in times.items())
        print(f"{line['case']}: {shown}; largest difference {worst:.1e}", flush=True)
        for name, why in line["absent"].items():
            print(f"    {name}: {why}")
        lines.append(line)
    if args.output:
        report = {
            "machine": machine(),
            "versions": versions("vinfer", "torch", "onnxruntime", "openvino"),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "trunk": args.trunk,
            "threads": args.threads,
            "picture": [HEIGHT, WIDTH],
            "cases": lines,
        }
        args.output.write_text(json.dumps(report, indent=1, default=_json) + "\n")


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else str(value)


if __name__ == "__main__":
    main()
