"""The lines about machine and versions that every result file carries."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from vinfer.threads import usable_threads

# What the native code and its peers choose their kernels by.
FLAGS = ("sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")


def machine() -> dict[str, Any]:
    """Processor, the instruction sets that matter and the cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {name.strip(): text.strip() for name, _, text in (x.partition(":") for x in lines)}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "cpu": fields.get("model name", platform.machine()),
        "cores": usable_threads(),
        "flags": [flag for flag in (*FLAGS, "asimd") if flag in flags],
    }


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, vinfer and the packages named."""
    found = {name: importlib.metadata.version(name) for name in ("vinfer", *packages)}
    return {"python": platform.python_version(), **found}
