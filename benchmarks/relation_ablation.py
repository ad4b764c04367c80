"""Mining, positional maps and embeddings: what each adds, on synthetic pictures, over seeds.

    python -m benchmarks.relation_ablation [--pictures 12000] [--epochs 12] [--seeds 3]
        [--work DIR] [--output benchmarks/results/relation_ablation.json]

Trains each variant once a seed, one thread a training, as many side by side as there are cores,
and measures it on pictures that neither training nor the choice of the epoch has seen. Prints the
table in the layout of the paper. A run that is in the work folder already is not repeated; one that
was cut off goes on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions
from vinfer.evaluation.uncertainty import mean_over_runs
from vinfer.threads import usable_threads

# From the paper's table 1, then table 2; then, for comparison, what is known without a picture.
VARIANTS: dict[str, dict[str, Any]] = {
    "GT only": {"sampling": "gt", "coord": True, "embedding": True},
    "Baseline": {"sampling": "mined", "coord": False, "embedding": False},
    "+ CoordConv": {"sampling": "mined", "coord": True, "embedding": False},
    "+ Embedding": {"sampling": "mined", "coord": False, "embedding": True},
    "All": {"sampling": "mined", "coord": True, "embedding": True},
    "Embedding alone": {"sampling": "mined", "visual": False, "coord": False, "embedding": True},
    "No picture": {"sampling": "mined", "visual": False, "coord": True, "embedding": True},
}
# Per cent, mean and standard deviation of three runs (de Moura Estevao Filho et al., ICIP 2020).
PUBLISHED = {
    "GT only": ((34.6, 1.2), (38.8, 1.3), (91.0, 2.1), (96.7, 0.3)),
    "Baseline": ((78.2, 0.3), (80.8, 0.3), (88.8, 1.3), (92.1, 0.1)),
    "+ CoordConv": ((78.1, 2.2), (81.6, 0.8), (90.1, 0.8), (92.7, 0.9)),
    "+ Embedding": ((79.0, 1.4), (83.1, 0.8), (89.5, 2.1), (94.3, 0.3)),
    "All": ((78.2, 0.7), (83.3, 0.5), (88.7, 1.5), (94.4, 0.4)),
}
METRICS = ("mAP", "mAP*", "mAP_FG", "mAP*_FG")
COMPARED = (
    ("All", "GT only"),
    ("+ CoordConv", "Baseline"),
    ("+ Embedding", "Baseline"),
    ("All", "+ Embedding"),
    ("All", "Baseline"),
    ("No picture", "Embedding alone"),
)
# Student's t, two-sided, of two means over so many runs each.
T_95 = {2: 4.303, 3: 2.776, 4: 2.447, 5: 2.306}
TEST_PICTURES, TEST_SEED = 1000, 2001
IGNORED = ("under",)


def settings(variant: str, seed: int, pictures: int, epochs: int) -> dict[str, Any]:
    """The training's configuration, as its YAML file would say it."""
    choice = VARIANTS[variant]
    return {
        "data": {"kind": "sprites", "train_pictures": pictures, "validation_pictures": 300},
        "network": {
            "trunk": "slim",
            "filters": 32,
            "features": 32,
            "embedding_size": 8,
            "visual": choice.get("visual", True),
            "coord": choice["coord"],
            "embedding": choice["embedding"],
        },
        "batches": {
            "pictures": 16,
            "short_side": 128,
            "long_side": 128,
            "sampling": choice["sampling"],
        },
        "epochs": epochs,
        "seed": seed,
        "threads": 1,
    }


def run(variant: str, seed: int, pictures: int, epochs: int, work: Path) -> dict[str, Any]:
    """One training and its figures on the test pictures; AP is None where it is undefined."""
    from vinfer.training.relation_config import parse_training_config
    from vinfer.training.relation_scoring import score_pairs
    from vinfer.training.relation_training import load_network, train_relations
    from vinfer.training.sprites import make_sprite_data

    folder = work / f"{variant.replace(' ', '_')}_{seed}_{pictures}x{epochs}"
    done = folder / "result.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    config = parse_training_config(settings(variant, seed, pictures, epochs))
    result = train_relations(config, folder)
    test = make_sprite_data(TEST_PICTURES, TEST_SEED)
    network = load_network(result.weights, config, test)
    quality = score_pairs(network, test, config.batch_settings()).quality(test.predicates, IGNORED)
    figures = {
        "variant": variant,
        "seed": seed,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "mAP": quality.mean,
        "mAP*": quality.mean_star,
        "mAP_FG": quality.mean_foreground,
        "mAP*_FG": quality.mean_star_foreground,
        "ap": dict(zip(test.predicates, quality.ap, strict=True)),
        "ap_foreground": dict(zip(test.predicates, quality.ap_foreground, strict=True)),
    }
    done.write_text(json.dumps(figures))
    return figures


def summarise(
    runs: list[dict[str, Any]], metrics: Sequence[str] = METRICS
) -> dict[str, dict[str, Any]]:
    """By variant: mean and standard deviation of each metric, and of the AP of each predicate.

    What is undefined in every run is left out.
    """
    summary = {}
    for variant in dict.fromkeys(run["variant"] for run in runs):
        mine = [run for run in runs if run["variant"] == variant]
        columns = {name: [run[name] for run in mine] for name in metrics}
        columns |= {name: [run["ap"][name] for run in mine] for name in mine[0]["ap"]}
        means = {name: mean_over_runs(values) for name, values in columns.items()}
        summary[variant] = {
            name: {"mean": found.mean, "std": found.std}
            for name, found in means.items()
            if found.mean is not None
        }
    return summary


def table(summary: dict[str, dict[str, Any]]) -> str:
    """Per cent, mean (standard deviation), ours and the published ones below each other."""
    lines = [f"| | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    for variant, figures in summary.items():
        ours = " | ".join(shown(figures[name]) for name in METRICS)
        lines.append(f"| {variant} | {ours} |")
        if variant in PUBLISHED:
            theirs = " | ".join(f"{mean:.1f} ({std:.1f})" for mean, std in PUBLISHED[variant])
            lines.append(f"| published | {theirs} |")
    predicates = [name for name in next(iter(summary.values())) if name not in METRICS]
    lines += ["", f"| AP | {' | '.join(predicates)} |", "|---" * (len(predicates) + 1) + "|"]
    for variant, figures in summary.items():
        cells = (shown(figures[name]) if name in figures else "-" for name in predicates)
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(summary: dict[str, dict[str, Any]], seeds: int) -> str:
    """Points that one variant has more than another, and the 95 % interval of that."""
    names = [name for name in next(iter(summary.values())) if name not in METRICS or name == "mAP*"]
    lines = [f"| more | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for more, less in COMPARED:
        cells = []
        for name in names:
            figures = summary[more].get(name), summary[less].get(name)
            cells.append(_difference(*figures, seeds) if all(figures) else "-")
        lines.append(f"| {more} - {less} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(more: Any, less: Any, seeds: int) -> str:
    gap = f"{100 * (more['mean'] - less['mean']):+.1f}"
    if seeds not in T_95:
        return gap
    error = math.sqrt((more["std"] ** 2 + less["std"] ** 2) / seeds)
    return f"{gap} ± {100 * T_95[seeds] * error:.1f}"


def shown(figure: dict[str, float | None]) -> str:
    std = "" if figure["std"] is None else f" ({100 * figure['std']:.1f})"
    return f"{100 * (figure['mean'] or 0):.1f}{std}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=int, default=12000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/relation_ablation"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    jobs = [(variant, seed) for seed in range(args.seeds) for variant in VARIANTS]
    runs = []
    with ProcessPoolExecutor(usable_threads()) as pool:
        waiting = [
            pool.submit(run, variant, seed, args.pictures, args.epochs, args.work)
            for variant, seed in jobs
        ]
        for future in waiting:
            figures = future.result()
            runs.append(figures)
            print(
                f"{figures['variant']:<12} seed {figures['seed']}: mAP* {figures['mAP*']:.3f}, "
                f"mAP*_FG {figures['mAP*_FG']:.3f}, {figures['seconds']:.0f} s",
                flush=True,
            )
    summary = summarise(runs)
    print(table(summary))
    print(differences(summary, args.seeds))
    if args.output:
        report = {
            "machine": machine(),
            "versions": versions("vinfer", "torch", "numpy"),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.monotonic() - began),
            "train_pictures": args.pictures,
            "test_pictures": TEST_PICTURES,
            "epochs": args.epochs,
            "summary": summary,
            "runs": runs,
        }
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
