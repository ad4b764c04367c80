"""The lines about machine and versions that every result file carries."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from vinfer.backends import usable_threads


def machine() -> dict[str, str | int]:
    """Processor and cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": usable_threads()}


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, vinfer and the packages named."""
    found = {name: importlib.metadata.version(name) for name in ("vinfer", *packages)}
    return {"python": platform.python_version(), **found}
