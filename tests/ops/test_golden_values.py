"""The committed known values are those of the specification, where it lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import golden
import pytest


@pytest.mark.parametrize(
    ("op", "file", "keys"),
    [
        ("roi_align", "relations.json", ("roi_align",)),
        ("positional_maps", "relations.json", ("positional_maps",)),
        ("weldon_pool", "embedding.json", ()),
    ],
)
def test_committed_values_match_the_specification(
    shared_data: Path, op: str, file: str, keys: tuple[str, ...]
) -> None:
    path = shared_data.parent / "specs" / "golden" / file
    if not path.is_file():
        pytest.skip("the specification's golden values are not beside the shared data")
    specified = json.loads(path.read_text())
    for key in keys:
        specified = specified[key]
    committed = golden.load(op)
    assert committed == {name: specified[name] for name in committed}
