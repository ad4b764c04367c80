"""Releases of ONNX Runtime, each in an environment of its own and running in a process there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import real_parts
from numpy.typing import NDArray

# The oldest that the library supports, one in between, the newest; and one that is too old.
NUMPY = {"1.17.3": "numpy<2", "1.20.1": "numpy<2", "1.32.0": "numpy>=2", "1.16.3": "numpy<2"}
SUPPORTED = ("1.17.3", "1.20.1", "1.32.0")
TOO_OLD = "1.16.3"

ENVIRONMENTS = Path(__file__).resolve().parents[2] / "build" / "ort-venvs"
WORKER = Path(__file__).with_name("worker.py")


def python_with(version: str) -> Path:
    """The Python of an environment with that release, made when first asked for."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    packages = [f"onnxruntime=={version}", NUMPY[version]]
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    # Tests that run in several processes ask for the same one.
    with (ENVIRONMENTS / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(folder, packages)
    return python


def _make(folder: Path, packages: list[str]) -> None:
    stamp = folder / "stamp"
    key = hashlib.sha256(repr((sys.version, packages)).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == key:
        return
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--only-binary=:all:"]
    made = subprocess.run([*pip, *packages], check=False, capture_output=True, text=True)
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["no message"])[-1]
        real_parts.missing(f"pip can't install {packages[0]} for this Python: {reason}")
    stamp.write_text(key)


class RuntimeFailed(Exception):
    """ONNX Runtime raised; its text."""


class Runtime:
    """One process with one release; it must outlive every error that it reports."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self._folder = folder
        self._number = 0
        python = python_with(version)
        with (folder / "stderr.txt").open("w") as stderr:
            self._process = subprocess.Popen(
                [python, "-I", "-X", "faulthandler", WORKER],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._answer()["version"] == version

    def load(
        self, model: onnx.ModelProto, library: Path | None, **options: Any
    ) -> tuple[int, list[list[Any]]]:
        """A session's number; name, type and shape of its outputs."""
        path = self._path(".onnx")
        path.write_bytes(model.SerializeToString())
        answer = self._ask("load", model=str(path), library=library and str(library), **options)
        return answer["session"], answer["outputs"]

    def run(self, session: int, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = self._path(".npz")
        self._ask("run", session=session, inputs=self._saved(inputs), outputs=str(outputs))
        with np.load(outputs) as arrays:
            return [arrays[name] for name in arrays.files]

    def same_when_run_at_once(
        self, session: int, inputs: list[dict[str, NDArray[Any]]], callers: int, repeats: int
    ) -> bool:
        files = [self._saved(feed) for feed in inputs]
        answer = self._ask(
            "run_at_once", session=session, inputs=files, callers=callers, repeats=repeats
        )
        return bool(answer["same"])

    def executed(self, session: int) -> list[tuple[str, str]]:
        """Op and provider of every node that ran; the session was loaded with `profile`."""
        return [(op, provider) for op, provider in self._ask("executed", session=session)["nodes"]]

    def resident_bytes(self) -> int:
        return int(self._ask("resident_bytes")["bytes"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=60) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _path(self, suffix: str) -> Path:
        self._number += 1
        return self._folder / f"{self._number}{suffix}"

    def _saved(self, inputs: dict[str, NDArray[Any]]) -> str:
        path = self._path(".npz")
        np.savez(path, **inputs)
        return str(path)

    def _ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"action": action, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeFailed(f"{answer['class']}: {answer['error']}")
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = (self._folder / "stderr.txt").read_text()[-2000:]
            raise AssertionError(f"onnxruntime {self.version} died: {self._process.wait()}\n{tail}")
        return dict(json.loads(line))
