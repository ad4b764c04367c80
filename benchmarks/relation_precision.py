"""The trained relation network in fewer bits: what it loses, and whether it is faster here.

    python -m benchmarks.relation_precision [--variant All] [--seed 0] [--threads 1]
        [--work build/relation_ablation] [--output benchmarks/results/relation_precision.json]

The network is one that `benchmarks.relation_ablation` trained, the pictures are its test pictures;
int8 takes its ranges from pictures of the training. The gate is that of `vinfer eval precision`.
float16 arithmetic is measured besides, to show why vinfer only stores weights so. Then the times
alone of a network with the ResNet-18 trunk at 480x853 with 10 objects, untrained, as the numbers do
not matter to the time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, versions
from benchmarks.relation_ablation import IGNORED, TEST_PICTURES, TEST_SEED, VARIANTS, settings
from benchmarks.relations import feed, make_network
from vinfer.backends import Session
from vinfer.export import export_relation_network, factor_relations
from vinfer.export.precision import GRAPH, Measurement, Variant, gate, relation_variants
from vinfer.export.relation_bundle import scored_graph
from vinfer.export.relation_precision import CALIBRATION_PICTURES, measure_session
from vinfer.training.relation_config import parse_training_config
from vinfer.training.relation_feeds import picture_feeds
from vinfer.training.relation_training import load_network
from vinfer.training.sprites import make_sprite_data

PICTURES, EPOCHS = 12000, 12
SPEED_TRUNK, SPEED_OBJECTS = "resnet18", 10


def float16_arithmetic(model: Any) -> bytes:
    """Every convolution in float16, converted before and after: what it reads and what it gives."""
    from onnx import TensorProto, helper, numpy_helper

    copy = type(model)()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes, halved = [], {}
    for node in list(copy.graph.node):
        if node.op_type != "Conv":
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in weights and name not in halved:
                half = numpy_helper.to_array(weights[name]).astype(np.float16)
                halved[name] = f"{name}.half"
                copy.graph.initializer.append(numpy_helper.from_array(half, halved[name]))
            elif name not in halved:
                halved[name] = f"{name}.half"
                nodes.append(
                    helper.make_node("Cast", [name], [halved[name]], to=TensorProto.FLOAT16)
                )
            node.input[place] = halved[name]
        result, half_result = node.output[0], f"{node.output[0]}.half_result"
        node.output[0] = half_result
        nodes += [node, helper.make_node("Cast", [half_result], [result], to=TensorProto.FLOAT)]
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return bytes(copy.SerializeToString())


def trained(work: Path, variant: str, seed: int, num_pictures: int, threads: int) -> dict[str, Any]:
    """The gate's report on test pictures."""
    path = work / f"{variant.replace(' ', '_')}_{seed}_{PICTURES}x{EPOCHS}" / "network.pt"
    if not path.exists():
        raise SystemExit(f"{path}: not there; run python -m benchmarks.relation_ablation first")
    config = parse_training_config(settings(variant, seed, PICTURES, EPOCHS))
    batches = config.batch_settings()
    test = make_sprite_data(num_pictures, TEST_SEED)
    source = config.data
    assert source.kind == "sprites"
    calibration = make_sprite_data(CALIBRATION_PICTURES, source.train_seed)
    network = load_network(path, config, test)
    straight = export_relation_network(network, classes=test.classes, predicates=test.predicates)
    model = scored_graph(factor_relations(straight), network)
    variants = relation_variants(model, (f.arrays for f in picture_feeds(calibration, batches)))
    variants.append(Variant("float16 arithmetic", GRAPH, float16_arithmetic(model)))

    def measure(session: Session) -> Measurement:
        return measure_session(session, test, batches, ignored=IGNORED)

    sample = max(picture_feeds(test, batches, at_once=1), key=lambda each: sum(each.pairs)).arrays
    report = gate(
        model.SerializeToString(), variants, measure, sample=sample, threads=threads, rounds=30
    )
    return report | {"pictures": num_pictures, "pairs_of_timed_picture": len(sample["pairs"])}


def speed(threads: int) -> dict[str, Any]:
    """Times of the large network; its only figure is how far the logits are."""
    _, graphs = make_network(SPEED_TRUNK)
    inputs = feed(SPEED_OBJECTS)
    variants = relation_variants(graphs["fast"], [inputs])
    variants.append(Variant("float16 arithmetic", GRAPH, float16_arithmetic(graphs["factored"])))
    report = gate(
        graphs["fast"].SerializeToString(),
        variants,
        lambda session: Measurement({"none": 0.0}, session.run(inputs)["logits"]),
        sample=inputs,
        threads=threads,
    )
    times = {f"float32 {backend}": ms for backend, ms in report["float32"]["ms"].items()}
    times |= {f"{v['precision']} {v['backend']}": v["ms"] for v in report["variants"] if "ms" in v}
    return {"trunk": SPEED_TRUNK, "objects": SPEED_OBJECTS, "ms": times}


def table(report: dict[str, Any]) -> str:
    """Markdown: per cent, differences in points."""
    (reference,) = report["float32"]["metrics"].values()
    lines = ["| precision | runs in | mAP\\* | Δ | logits differ by | file | ms | verdict |"]
    lines.append("|---" * 8 + "|")
    size = report["float32"]["bytes"] / 1024
    for backend, ms in report["float32"]["ms"].items():
        lines.append(
            f"| float32 | {backend} | {100 * reference:.2f} | | | {size:.0f} KiB | {ms:.2f} | |"
        )
    for each in report["variants"]:
        where = each["backend"] + (", emulated" if each["how"] == "emulated" else "")
        verdict = "accepted" if each["accepted"] else "refused"
        if each.get("loss") is None:
            lines.append(f"| {each['precision']} | {where} | | | | | | refused |")
            continue
        (value,) = each["metrics"].values()
        lines.append(
            f"| {each['precision']} | {where} | {100 * value:.2f} | {0 - 100 * each['loss']:+.2f} "
            f"| {each['largest_difference']:.2g} | {each['bytes'] / 1024:.0f} KiB "
            f"| {_shown(each.get('ms'))} | {verdict} |"
        )
    return "\n".join(lines)


def _shown(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--variant", choices=VARIANTS, default="All")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/relation_ablation"))
    parser.add_argument("--pictures", type=int, default=TEST_PICTURES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-speed", action="store_true", help="leave the large network out")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("torch", "onnx", "onnxruntime", "openvino"),
        "network": f"{args.variant}, seed {args.seed}, {PICTURES} pictures, {EPOCHS} epochs",
        "gate": trained(args.work, args.variant, args.seed, args.pictures, args.threads),
    }
    print(table(report["gate"]))
    for each in report["gate"]["variants"]:
        print(f"{each['precision']}, {each['backend']}: {each['reason']}")
    if not args.no_speed:
        report["speed"] = speed(args.threads)
        shown = ", ".join(f"{name} {ms:.0f} ms" for name, ms in report["speed"]["ms"].items())
        print(f"{SPEED_TRUNK}, {SPEED_OBJECTS} objects: {shown}")
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
