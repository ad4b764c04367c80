"""Write the figures of `benchmarks.relation_real` into the bundle whose model they call the prior.

    python -m benchmarks.relation_real_card benchmarks/results/relation_real.json \
        python/vinfer/bundles/shipped/relation-prior.vinfer

Its card gets a table of it and of the models that it was compared with, its manifest the prior's
own figures under ``quality``. Done again it replaces what it wrote.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vinfer.bundles import Bundle, write_bundle

CASE, MODEL = "true boxes, all pictures", "prior"
HEADING = "**On real pictures**"
COLUMNS = {
    "mAP": "mAP",
    "precision at recall .5": "precision at recall .5, all",
    "false a picture there": "false a picture at recall .5, all",
    "the same of its events": "false a picture at recall .5, events",
}


def section(report: Mapping[str, Any]) -> str:
    """The part of the card, Markdown."""
    figures = report["figures"][CASE]
    lines = [
        f"{HEADING}: {report['pictures']} exhaustively labelled ones, boxes given, intervals of "
        "95 %. No model tried says fewer false things by more than chance, so this one is what "
        "`vinfer run` takes (docs/relation-real.md).",
        "",
        f"| model | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for model, found in figures.items():
        cells = " | ".join(_shown(found[name]) for name in COLUMNS.values())
        lines.append(f"| {'**this one**' if model == MODEL else model} | {cells} |")
    return "\n".join(lines)


def _shown(figure: Mapping[str, Any]) -> str:
    value, interval = figure["value"], figure["interval"]
    if value is None:
        return "not reached"
    low, high = ("-" if end is None else f"{end:.2f}" for end in interval)
    return f"{value:.2f} [{low}, {high}]"


def with_figures(bundle: Bundle, report: Mapping[str, Any], output: Path) -> Path:
    """The same bundle with the figures in its card and manifest."""
    own = {name: report["figures"][CASE][MODEL][key] for name, key in COLUMNS.items()}
    manifest = bundle.manifest.model_copy(
        update={"quality": {**bundle.manifest.quality, "real pictures, boxes given": own}}
    )
    files = {name: bundle.read(name) for name in manifest.files}
    card = bundle.card().split(HEADING)[0].rstrip()
    files["card.md"] = f"{card}\n\n{section(report)}\n".encode()
    return write_bundle(output, manifest, {**files, manifest.graph: bundle.graph()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("bundle", type=Path)
    args = parser.parse_args()
    report = json.loads(args.results.read_text())
    print(with_figures(Bundle.open(args.bundle), report, args.bundle))


if __name__ == "__main__":
    main()
