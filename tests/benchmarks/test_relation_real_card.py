"""The card of the shipped relation prior says what was measured on real pictures."""

import json
from pathlib import Path

from benchmarks.relation_real_card import section, with_figures
from vinfer.bundles import Bundle, find_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_bundle_says_what_was_measured(tmp_path: Path) -> None:
    report = json.loads((ROOT / "benchmarks/results/relation_real.json").read_text())
    shipped = Bundle.open(find_bundle("relation-prior"))
    assert shipped.card().endswith(section(report) + "\n")
    figures = shipped.manifest.quality["real pictures, boxes given"]
    assert figures["mAP"] == report["figures"]["true boxes, all pictures"]["prior"]["mAP"]
    again = with_figures(shipped, report, tmp_path / "again.vinfer")
    assert again.read_bytes() == shipped.path.read_bytes()
