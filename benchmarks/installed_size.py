"""Installed size of vinfer and of vinfer[video], and what `import vinfer` costs.

    python -m benchmarks.installed_size [--output benchmarks/results/installed_size.json]

Builds a wheel, installs it into two new virtual environments and adds up the files in site-packages
(pip and setuptools left out). The import is timed in nine fresh processes, median, files in cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "import time; t = time.perf_counter(); import vinfer; print(time.perf_counter() - t)"
NOT_OURS = {"pip", "setuptools", "_distutils_hack", "pkg_resources"}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, cwd="/"
    )
    return done.stdout


def size(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def measure(wheel: Path, extra: str, folder: Path) -> dict[str, Any]:
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", f"{wheel}{extra}")
    packages = next(folder.glob("lib/python*/site-packages"))
    sizes = {
        entry.name: size(entry) / 2**20
        for entry in packages.iterdir()
        if entry.is_dir() and entry.name.split("-")[0] not in NOT_OURS
    }
    seconds = [float(run(python, "-c", IMPORT)) for _ in range(9)]
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    return {
        "total_mib": sum(sizes.values()),
        "vinfer_mib": sizes["vinfer"],
        "largest_mib": dict(largest),
        "import_seconds": statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, ROOT),
        )
        wheel = next(folder.glob("*.whl"))
        report = {
            "machine": machine(),
            "versions": versions("onnxruntime", "numpy"),
            "wheel_mib": wheel.stat().st_size / 2**20,
            "vinfer": measure(wheel, "", folder / "core"),
            "vinfer[video]": measure(wheel, "[video]", folder / "video"),
        }
    print(json.dumps(report, indent=1))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
