"""The relation graph against the straight one and other libraries, by number of objects.

    python -m benchmarks.relations [--trunks resnet18 efficientnet_lite0 slim]
        [--objects 2 5 10 20 40] [--compiled 2 5 10 20 40] [--threads 2]
        [--output benchmarks/results/relations.json]

One picture with all ordered pairs of its objects, untrained weights: the numbers do not matter to
the time. Everybody's logits are compared first, then all take turns. "vinfer" is the graph of a
bundle, factored and with Winograd's convolutions, in backend `auto`, measured anew for each case;
others run the factored graph. "straight" is the network as PyTorch exports it, in ONNX Runtime
without vinfer's library: every pair computes its own three RoIs and its own convolution.
`torch.compile` takes a minute or two for each number of objects in --compiled. Last, the trunks
against each other, taking turns, and the stages of each.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from benchmarks.graph_in_torch import GraphInTorch
from benchmarks.machine import machine, versions
from benchmarks.ops import peers
from benchmarks.ops.contest import Absent, Case, Contestant, run_case
from vinfer.backends import Backend, SessionOptions, load
from vinfer.backends.turns import take_turns
from vinfer.export import export_relation_network, factor_relations, use_winograd
from vinfer.export.unused import remove_unused_initializers, remove_unused_nodes
from vinfer.training.relation_network import NetworkConfig, RelationNetwork

CLASSES, PREDICATES = 80, 9
# Height and width of the picture, and the network's sizes. The slim trunk is for small pictures.
PICTURES = {"slim": (128, 128)}
USUAL_PICTURE = (480, 853)
SIZES: dict[str, dict[str, int]] = {"slim": {"filters": 32, "features": 32, "embedding_size": 8}}
TOLERANCE = 1e-4
CASE_SECONDS = 20.0
# Above this the straight graph takes minutes and gigabytes; its time is linear in the pairs.
MOST_STRAIGHT = 10
TRUNK_ROUNDS = 9


def feed(objects: int, picture: tuple[int, int] = USUAL_PICTURE) -> dict[str, Any]:
    height, width = picture
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (objects, 2))
    boxes = np.hstack([low, low + rng.uniform(0.05, 0.3, (objects, 2))]) * ([width, height] * 2)
    pairs = [(i, j) for i in range(objects) for j in range(objects) if i != j]
    return {
        "images": rng.standard_normal((1, 3, height, width), np.float32),
        "boxes": boxes.astype(np.float32),
        "box_images": np.zeros(objects, np.int64),
        "labels": rng.integers(0, CLASSES, objects),
        "pairs": np.array(pairs, np.int64),
    }


def in_plain_onnxruntime(model: Any, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    """Without vinfer's library: its nodes run as the standard operators of their bodies."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, inputs)[0]


def in_backend(
    model: Any, inputs: dict[str, Any], threads: int, backend: Backend, notes: list[str]
) -> Callable[[], Any]:
    options = SessionOptions(provider="cpu", threads=threads, backend=backend)
    with _new_cache():
        session = load(model.SerializeToString(), options, sample=inputs)
    notes += session.describe().notes
    return lambda: session.run(inputs)["logits"]


@contextlib.contextmanager
def _new_cache() -> Iterator[None]:
    """A folder of its own for what backend ``auto`` keeps: it measures, and leaves nothing."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def in_compiled_torch(model: Any, tensors: list[torch.Tensor]) -> Callable[[], Any]:
    import torch._inductor.config

    torch._dynamo.reset()
    network = GraphInTorch(model).eval().compiled()

    def call() -> Any:
        with torch.no_grad():
            return network(*tensors).numpy()

    # Weights become constants, laid out as the convolutions like them; faster than without.
    with torch._inductor.config.patch(freezing=True):
        call()
    return call


def make_case(
    name: str,
    network: RelationNetwork,
    graphs: dict[str, Any],
    inputs: dict[str, Any],
    threads: int,
    is_compiled: bool,
) -> tuple[Case, list[str]]:
    """The case, and what backend `auto` says of its choice once it is set up."""
    objects = len(inputs["boxes"])
    straight, factored, fast = graphs["straight"], graphs["factored"], graphs["fast"]
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    notes: list[str] = []

    def contestant(make: Callable[[], Callable[[], Any]], note: str = "") -> Any:
        return lambda: Contestant({"run": make()}, TOLERANCE, note)

    def eager() -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                return network(*tensors).numpy()

        return call

    def compiled() -> Callable[[], Any]:
        if not is_compiled:
            raise Absent("not asked for (--compiled)")
        return in_compiled_torch(factored, tensors)

    make = {
        "vinfer": contestant(lambda: in_backend(fast, inputs, threads, "auto", notes)),
        "factored, onnxruntime": contestant(
            lambda: in_backend(factored, inputs, threads, "onnxruntime", []),
            "with vinfer's kernels",
        ),
        "factored, bodies": contestant(lambda: in_plain_onnxruntime(factored, inputs, threads)),
        "factored, openvino": contestant(
            lambda: in_backend(factored, inputs, threads, "openvino", [])
        ),
        "factored, torch.compile": contestant(
            compiled, "inductor with freezing, shapes fixed, RoiAlign by vinfer's kernel"
        ),
        "torch, shared RoIs": contestant(eager, "eager; convolution a pair, RoIs shared"),
    }
    if objects <= MOST_STRAIGHT:
        make["straight"] = contestant(lambda: in_plain_onnxruntime(straight, inputs, threads))
    case = Case("relations", f"{name}, {objects} objects", {"objects": objects}, 0, 0, make)
    return case, notes


def make_network(trunk: str) -> tuple[RelationNetwork, dict[str, Any]]:
    """Untrained, with its graphs: as exported, factored, and as a bundle has it."""
    torch.manual_seed(0)
    config = NetworkConfig(CLASSES, PREDICATES, trunk=trunk, **SIZES.get(trunk, {}))  # type: ignore[arg-type]
    network = RelationNetwork(config).eval()
    straight = export_relation_network(
        network,
        classes=[f"class {k}" for k in range(CLASSES)],
        predicates=[f"predicate {k}" for k in range(PREDICATES)],
    )
    factored = factor_relations(straight)
    graphs = {"straight": straight, "factored": factored, "fast": use_winograd(factored)}
    return network, graphs


def run_trunk(
    trunk: str, network: RelationNetwork, graphs: dict[str, Any], args: argparse.Namespace
) -> list[dict[str, Any]]:
    lines = []
    for objects in args.objects:
        inputs = feed(objects, PICTURES.get(trunk, USUAL_PICTURE))
        is_compiled = objects in args.compiled
        case, notes = make_case(trunk, network, graphs, inputs, args.threads, is_compiled)
        line = run_case(case, CASE_SECONDS)
        line["auto"] = notes
        times = {name: taken["median"] for name, taken in line["times_ms"].items()}
        line["times_of_vinfer"] = {name: t / times["vinfer"] for name, t in times.items()}
        worst = max(line["difference"].values())
        shown = "  ".join(f"{name} {t:.1f} ms" for name, t in times.items())
        print(f"{line['case']}: {shown}; largest difference {worst:.1e}", flush=True)
        for text in [*notes, *(f"{name}: {why}" for name, why in line["absent"].items())]:
            print(f"    {text}")
        lines.append(line)
    return lines


def side_by_side(
    graphs: dict[str, dict[str, Any]], objects: int, threads: int
) -> dict[str, dict[str, dict[str, float]]]:
    """By trunk and form of the graph: milliseconds of the whole and of its stages.

    All take turns in backend `auto`. A stage is the difference of two graphs, one that ends with it
    and one that ends before it.
    """
    options = SessionOptions(provider="cpu", threads=threads, backend="auto")
    calls: dict[tuple[str, str, str], Callable[[], object]] = {}
    for trunk, forms in graphs.items():
        inputs = feed(objects, PICTURES.get(trunk, USUAL_PICTURE))
        for form, model in forms.items():
            for stage, value in _stage_ends(model).items():
                part = _until(model, value)
                needed = {each.name: inputs[each.name] for each in part.graph.input}
                with _new_cache():
                    session = load(part.SerializeToString(), options, sample=needed)
                calls[trunk, form, stage] = functools.partial(session.run, needed)
    rounds = take_turns(list(calls.values()), rounds=TRUNK_ROUNDS)
    times = [1e3 * statistics.median(seconds) for seconds in zip(*rounds, strict=True)]
    until = dict(zip(calls, times, strict=True))
    return {
        trunk: {
            form: {
                "picture": until[trunk, form, "picture"],
                "rois": until[trunk, form, "rois"] - until[trunk, form, "picture"],
                "pairs": until[trunk, form, "pairs"] - until[trunk, form, "rois"],
                "whole": until[trunk, form, "pairs"],
            }
            for form in forms
        }
        for trunk, forms in graphs.items()
    }


def _until(model: Any, value: str) -> Any:
    """The part of a graph that a float32 value follows from."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    remove_unused_nodes(part.graph)
    remove_unused_initializers(part.graph)
    read = {name for node in part.graph.node for name in node.input}
    for unread in [each for each in part.graph.input if each.name not in read]:
        part.graph.input.remove(unread)
    return part


def _stage_ends(model: Any) -> dict[str, str]:
    """The value that ends each stage: features of the picture, of the RoIs, logits."""
    (roi_align,) = (node for node in model.graph.node if node.op_type == "RoiAlign")
    producers = {name: node for node in model.graph.node for name in node.output}
    (objects,) = (
        value.name
        for value in model.graph.value_info
        if value.type.tensor_type.shape.dim[0].dim_param == "objects"
    )
    return {
        "picture": roi_align.input[0],
        "rois": producers[objects].input[0],
        "pairs": model.graph.output[0].name,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trunks", nargs="+", default=["resnet18", "efficientnet_lite0", "slim"])
    parser.add_argument("--objects", nargs="+", type=int, default=[2, 5, 10, 20, 40])
    parser.add_argument("--compiled", nargs="*", type=int, default=[2, 5, 10, 20, 40])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    peers.set_threads(args.threads)
    forms, results = {}, {}
    for trunk in args.trunks:
        network, graphs = make_network(trunk)
        forms[trunk] = {form: graphs[form] for form in ("factored", "fast")}
        lines = run_trunk(trunk, network, graphs, args)
        results[trunk] = {"picture": PICTURES.get(trunk, USUAL_PICTURE), "cases": lines}
        for line in lines:
            if line["case"].endswith(" 10 objects") and "straight" in line["times_of_vinfer"]:
                ratio = line["times_of_vinfer"]["straight"]
                results[trunk]["straight_of_vinfer_at_10_objects"] = ratio
                print(f"{trunk}, 10 objects: straight takes {ratio:.2f} times as long as vinfer")
    objects = 10 if 10 in args.objects else args.objects[-1]
    stages = side_by_side(forms, objects, args.threads)
    for trunk, times_of in stages.items():
        for form, times in times_of.items():
            shown = "  ".join(f"{stage} {ms:.1f} ms" for stage, ms in times.items())
            print(f"{objects} objects, {trunk}, {form}: {shown}")
    if args.output:
        report = {
            "machine": machine(),
            "versions": versions("torch", "onnxruntime", "openvino"),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "threads": args.threads,
            "trunks": results,
            "stages_ms": {"objects": objects, **stages},
        }
        args.output.write_text(json.dumps(report, indent=1, default=_json) + "\n")


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else str(value)


if __name__ == "__main__":
    main()
