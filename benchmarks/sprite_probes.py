"""What is in the synthetic pictures, and how far classes and boxes alone get on them.

    python -m benchmarks.sprite_probes [--train 3000] [--test 1000] [--seeds 3] [--output FILE]

Average precision x 100 of two shortcut probes, over all ordered pairs of the test pictures: (a) the
share of training pairs of these classes, (b) a perceptron on classes, positions and sizes. Passes
if the better one has at most 65 on each predicate that only pixels decide.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions
from vinfer.evaluation.relations import average_precision
from vinfer.training.probes import class_pair_scores, geometry_scores
from vinfer.training.relation_data import pair_table
from vinfer.training.sprites import PREDICATES, TWINNED, make_sprite_data, sprite_statistics
from vinfer.types import Float32Array

CEILING = 65.0
"""Average precision x 100; twins, as many as relations, make about 50 the honest one."""


def measure(train: int, test: int, seed: int) -> dict[str, Any]:
    """One seed: training pictures of seed 2k, test pictures of seed 2k + 1."""
    started = time.perf_counter()
    training, held_out = make_sprite_data(train, 2 * seed), make_sprite_data(test, 2 * seed + 1)
    made = time.perf_counter() - started
    truth = pair_table(held_out).annotated

    def precision(scores: Float32Array) -> dict[str, float | None]:
        values = [average_precision(scores[:, k], truth[:, k]) for k in range(len(PREDICATES))]
        return {
            name: None if value is None else round(100 * value, 1)
            for name, value in zip(PREDICATES, values, strict=True)
        }

    return {
        "seconds_to_compose_a_picture": made / (train + test),
        "training": sprite_statistics(training).to_dict(),
        "test": sprite_statistics(held_out).to_dict(),
        "class_pairs": precision(class_pair_scores(training, held_out)),
        "perceptron": precision(geometry_scores(training, held_out, seed=seed)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    runs = [measure(args.train, args.test, seed) for seed in range(args.seeds)]
    data = make_sprite_data(200, 0)
    assert data.read is not None
    started = time.perf_counter()
    for picture in data.pictures:
        data.read(picture)
    drawing = (time.perf_counter() - started) / len(data.pictures)

    print(f"{'predicate':16}{'test':>8}{'twins':>8}{'(a)':>8}{'(b)':>8}")
    means: dict[str, dict[str, float]] = {}
    for name in PREDICATES:
        means[name] = {
            probe: round(statistics.mean(run[probe][name] or 0.0 for run in runs), 1)
            for probe in ("class_pairs", "perceptron")
        }
        relations, twins = (
            statistics.mean(run["test"][key].get(name, 0) for run in runs)
            for key in ("relations", "twins")
        )
        print(
            f"{name:16}{relations:8.0f}{twins:8.0f}{means[name]['class_pairs']:8.1f}"
            f"{means[name]['perceptron']:8.1f}"
        )
    highest = max(
        run[probe][name] or 0.0
        for run in runs
        for name in TWINNED
        for probe in ("class_pairs", "perceptron")
    )
    unrelated = statistics.mean(run["training"]["unrelated_share"] for run in runs)
    print(f"unrelated pairs: {100 * unrelated:.1f} %; highest where pixels decide: {highest:.1f}")
    print(f"drawing a picture of 128x128: {1000 * drawing:.1f} ms")
    report = {
        "machine": machine(),
        "versions": versions("numpy", "torch"),
        "pictures": {"training": args.train, "test": args.test},
        "ceiling": CEILING,
        "passed": highest <= CEILING,
        "highest_where_pixels_decide": highest,
        "mean_average_precision_by_predicate": means,
        "unrelated_share": round(unrelated, 4),
        "seconds_to_draw_a_picture": drawing,
        "runs": runs,
    }
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    if highest > CEILING:
        raise SystemExit(f"a probe has {highest:.1f}, expected at most {CEILING}")


if __name__ == "__main__":
    main()
