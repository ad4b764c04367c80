"""Time the CPU ops against the fastest that other libraries have for the same numbers.

    python -m benchmarks.ops [--op roi_align] [--threads 1 2] [--quick] [--output FILE]

For each case everybody's result is compared with that of `vinfer.ops` first; who disagrees is named
and not timed. Then all take turns, round after round, and a ratio is the median of the rounds' own.
The output is JSON; ``python -m benchmarks.ops.table FILE`` makes a table of it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.ops import letterbox, peers, positional_maps, roi_align, roofline, weldon_pool
from benchmarks.ops.contest import run_case
from benchmarks.ops.table import line_text, summarise, summary_text
from vinfer import __version__, _native
from vinfer.threads import usable_threads

OPS: dict[str, Any] = {
    "roi_align": roi_align,
    "weldon_pool": weldon_pool,
    "letterbox": letterbox,
    "positional_maps": positional_maps,
}
CASE_SECONDS, QUICK_CASE_SECONDS = 0.9, 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--op", nargs="+", choices=OPS, default=list(OPS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="a few cases of each op, a minute")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    seconds = QUICK_CASE_SECONDS if args.quick else CASE_SECONDS
    began = time.monotonic()
    limits: dict[str, dict[str, float]] = {}
    lines: list[dict[str, Any]] = []
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": {"vinfer": __version__, **peers.versions()},
        "cpu_level": _native.cpu_levels()[-1],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "quick": args.quick,
        "limits": limits,
        "cases": lines,
    }
    for threads in args.threads:
        if threads > usable_threads():
            print(f"{threads} threads: left out, this process may use {usable_threads()}")
            continue
        peers.set_threads(threads)
        limits[str(threads)] = roofline.measure(threads)
        for op in args.op:
            for parameters in OPS[op].grid(args.quick):
                case = OPS[op].make_case(*parameters, threads)
                line = run_case(case, seconds)
                line["threads"] = threads
                line["attained"] = roofline.attained(
                    case.moved_bytes,
                    case.flops,
                    line["times_ms"]["vinfer"]["median"],
                    limits[str(threads)],
                )
                lines.append(line)
                print(line_text(line), flush=True)
                report["seconds"] = round(time.monotonic() - began)
                report["summary"] = summarise(lines)
                if args.output:  # after every case: a run that is ended keeps what it has
                    args.output.parent.mkdir(parents=True, exist_ok=True)
                    args.output.write_text(json.dumps(report, indent=1) + "\n")
    print()
    print(summary_text(report))


if __name__ == "__main__":
    main()
