"""The committed known values are those of the specification, where it lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import golden
import pytest


@pytest.mark.parametrize(
    ("op", "file", "part"),
    [
        ("roi_align", "relations.json", "roi_align"),
        ("positional_maps", "relations.json", "positional_maps"),
        ("weldon_pool", "embedding.json", "weldon"),
    ],
)
def test_committed_values_match_the_specification(
    shared_data: Path, op: str, file: str, part: str
) -> None:
    path = shared_data.parent / "specs" / "golden" / file
    if not path.is_file():
        pytest.skip("the specification's golden values are not beside the shared data")
    whole = json.loads(path.read_text())
    # All that is specified: one part of the file, or several of which each is named after the op.
    parts = {name: value for name, value in whole.items() if name.startswith(part)}
    assert golden.load(op) == (parts[part] if op == part else parts)
