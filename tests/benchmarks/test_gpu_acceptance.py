"""The GPU acceptance script where there is no GPU: it says so, and that is no error."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import acceptance


def test_without_gpu_and_compiler_everything_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(acceptance, "WORK", tmp_path / "work")
    monkeypatch.setattr(sys, "argv", ["acceptance", str(tmp_path / "result")])
    assert acceptance.main() == 0
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["outcome"] == "skipped"
    assert "nvidia-smi" in report["no_gpu"]
    assert {step["outcome"] for step in report["steps"]} == {"skipped"}
    assert "nvcc is not on PATH" in (tmp_path / "result.md").read_text()


def test_a_step_that_takes_too_long_is_stopped_with_its_children() -> None:
    status, output = acceptance.command("sh", "-c", "echo begun; sleep 60 & wait", limit=0.5)
    assert status == acceptance.OUT_OF_TIME
    assert "begun" in output
    assert "stopped after" in output


def test_the_gpu_tests_are_found() -> None:
    assert "tests/gpu/test_gpu_ops.py" in acceptance.gpu_test_files()
