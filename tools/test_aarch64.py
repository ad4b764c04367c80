#!/usr/bin/env python3
"""Cross-compile the native tests for AArch64 and run them under qemu: `make test-aarch64`.

Needs Debian's g++-aarch64-linux-gnu and qemu-user-static, which it installs where it may; elsewhere
it says what is missing and ends without an error (with one in CI). Also checked: that every kernel
file was compiled to NEON, by its disassembly.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "aarch64"
BIN = ROOT / ".venv" / "bin"
NEEDED = {
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "aarch64-linux-gnu-objdump": "g++-aarch64-linux-gnu",
    "qemu-aarch64-static": "qemu-user-static",
}
# Arithmetic and comparisons on whole vectors; loads and stores alone would prove nothing.
NEON = re.compile(r"\b([su]?f?(?:mul|add|sub|div|cm[a-z]+|max|min|cvt[a-z]*))\s+v\d+\.(4s|8h|16b)")


class TestError(Exception):
    """The tests failed; the text says which step, and shows its output."""


def missing_packages() -> list[str]:
    return sorted({package for tool, package in NEEDED.items() if shutil.which(tool) is None})


def install(packages: list[str]) -> None:
    """Try to; what is still missing afterwards is reported by the caller."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ("-y", "-q", "--no-install-recommends")
    for command in (("apt-get", "update", "-q"), ("apt-get", "install", *options, *packages)):
        subprocess.run(command, env=environment, check=False, capture_output=True)


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise TestError(f"{done.stdout[-6000:]}\n{command[0]} ended with {done.returncode}")
    return done.stdout


def tool(name: str) -> str:
    """Of the environment that `make test` made, or the system's."""
    return str(BIN / name) if (BIN / name).exists() else name


def build() -> None:
    run(
        *(tool("cmake"), "-S", ROOT, "-B", BUILD, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={shutil.which(tool('ninja'))}",
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'cmake' / 'aarch64.cmake'}",
        *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O2"),
        *("-DVINFER_TESTS=ON", "-DVINFER_CUDA=OFF"),
    )
    run(tool("cmake"), "--build", BUILD, "--target", "native_tests")


def check_neon() -> str:
    """How many vector instructions each kernel file has."""
    texts = []
    for file in sorted(BUILD.rglob("*_cpu_kernels.cpp.o")):
        listing = run("aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", file)
        found = Counter(f"{name}.{lanes}" for name, lanes in NEON.findall(listing))
        name = file.name.removesuffix("_cpu_kernels.cpp.o")
        if not found:
            raise TestError(f"{name}: no NEON arithmetic in {file}")
        listed = ", ".join(f"{count} {what}" for what, count in found.most_common(3))
        texts.append(f"  {name}: {found.total()} ({listed})")
    return "\n".join(texts)


def main() -> int:
    began = time.monotonic()
    if missing_packages():
        install(missing_packages())
    if missing := missing_packages():
        sys.stdout.write(
            f"AArch64 tests skipped: {' and '.join(missing)} not installed; on Debian: apt-get "
            f"install {' '.join(missing)}\n"
        )
        return 1 if os.environ.get("CI") else 0
    try:
        build()
        sys.stdout.write(f"NEON instructions of the kernels:\n{check_neon()}\n")
        said = run("qemu-aarch64-static", BUILD / "tests" / "native" / "native_tests")
    except TestError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write(f"AArch64: {said.strip()} ({time.monotonic() - began:.0f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
