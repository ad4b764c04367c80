"""Tables of a result file of `benchmarks.ops`, in Markdown for the docs.

python -m benchmarks.ops.table FILE [--cases]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.ops.contest import OURS

TOO_SLOW = 0.95


def summarise(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry an op and number of threads: the geometric mean against the fastest peer."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["op"], line["threads"]), []).append(line)
    entries = []
    for (op, threads), group in groups.items():
        entry: dict[str, Any] = {"op": op, "threads": threads, "cases": len(group)}
        for name in OURS:
            ratios = {
                line["case"]: line["ratio"][name] for line in group if name in line.get("ratio", {})
            }
            if ratios:
                entry[name] = {
                    "geometric_mean": statistics.geometric_mean(ratios.values()),
                    "least": min(ratios.values()),
                    "slower": {case: r for case, r in ratios.items() if r < TOO_SLOW},
                }
        entry["fastest_peers"] = dict(
            Counter(line["fastest_peer"] for line in group if "fastest_peer" in line)
        )
        entries.append(entry)
    return entries


def line_text(line: dict[str, Any]) -> str:
    """A case as a line of plain text; times in milliseconds."""
    times = "  ".join(
        f"{name} {milliseconds(taken['median'])}" for name, taken in line["times_ms"].items()
    )
    ratio = f"{line['ratio']['vinfer']:5.2f}x" if "ratio" in line else "no peer"
    refused = "".join(
        f"\n    {name}: {why}" for name, why in line["absent"].items() if "disagrees" in why
    )
    return (
        f"{line['op']} {line['threads']}t {line['case']:<44}{ratio}  "
        f"{line['attained']:5.0%} of bound  {times}{refused}"
    )


def summary_text(report: dict[str, Any]) -> str:
    texts = [f"{report['machine']} {report['versions']} {report['seconds']} s"]
    for threads, limit in report["limits"].items():
        texts.append(
            f"{threads} threads: {limit['gigabytes_per_second']:.1f} GB/s copied, "
            f"{limit['gigaflops']:.0f} GFLOP/s in a matrix product"
        )
    absent: dict[str, str] = {}
    for line in report["cases"]:
        absent |= {n: w for n, w in line["absent"].items() if "disagrees" not in w}
    texts += [f"not there: {name}: {why}" for name, why in absent.items()]
    for entry in report["summary"]:
        for name in OURS:
            if name not in entry:
                continue
            figures = entry[name]
            texts.append(
                f"{entry['op']}, {entry['threads']} threads, {entry['cases']} cases, {name}: "
                f"{figures['geometric_mean']:.2f}x the fastest peer, least "
                f"{figures['least']:.2f}x, {len(figures['slower'])} below {TOO_SLOW}x"
            )
            texts += [
                f"    {ratio:.2f}x  {case}" for case, ratio in sorted(figures["slower"].items())
            ]
    return "\n".join(texts)


def milliseconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3g}"


def markdown(report: dict[str, Any], with_cases: bool) -> str:
    machine, versions = report["machine"], report["versions"]
    used = ", ".join(f"{k} {v}" for k, v in versions.items() if not v.startswith("absent"))
    rows = [
        f"{machine['cpu']}, {machine['cores']} cores, level {report['cpu_level']}; {used}; "
        f"{report['date']}.",
        "",
        "| op | threads | cases | geometric mean | least | below 0.95 | in ONNX Runtime "
        "| fastest peers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in report["summary"]:
        peers = ", ".join(f"{name} {n}" for name, n in entry["fastest_peers"].items())
        inside = entry.get("vinfer in ONNX Runtime")
        ours = entry.get("vinfer")
        rows.append(
            f"| `{entry['op']}` | {entry['threads']} | {entry['cases']} | "
            + (
                f"{ours['geometric_mean']:.2f}x | {ours['least']:.2f}x | {len(ours['slower'])} | "
                if ours
                else "- | - | - | "
            )
            + (f"{inside['geometric_mean']:.2f}x" if inside else "-")
            + f" | {peers} |"
        )
    if with_cases:
        for op in dict.fromkeys(line["op"] for line in report["cases"]):
            rows += ["", *_case_rows([line for line in report["cases"] if line["op"] == op])]
    return "\n".join(rows)


def _case_rows(lines: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for line in lines for name in line["times_ms"]))
    rows = [
        f"Milliseconds, `{lines[0]['op']}`:",
        "",
        "| case | threads | " + " | ".join(names) + " | ratio | of bound |",
        "|---" * (len(names) + 4) + "|",
    ]
    for line in lines:
        times = [
            milliseconds(line["times_ms"][name]["median"]) if name in line["times_ms"] else "-"
            for name in names
        ]
        ratio = f"{line['ratio']['vinfer']:.2f}x" if "ratio" in line else "-"
        rows.append(
            f"| {line['case']} | {line['threads']} | {' | '.join(times)} | {ratio} | "
            f"{line['attained']:.0%} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--cases", action="store_true", help="also a line a case")
    args = parser.parse_args()
    print(markdown(json.loads(args.report.read_text()), args.cases))


if __name__ == "__main__":
    main()
