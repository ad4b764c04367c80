"""Known values, computed in float64 from the specification and committed beside these tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(op: str) -> dict[str, Any]:
    """The known values of one op."""
    path = Path(__file__).with_name(f"golden_{op}.json")
    values: dict[str, Any] = json.loads(path.read_text())
    return values
