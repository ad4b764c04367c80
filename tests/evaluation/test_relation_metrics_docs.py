"""docs/relation-metrics.md: its example gives what it shows."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from vinfer.cli.main import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "relation-metrics.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def test_the_command_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("truth.json", "predictions.json"), blocks("json"), strict=True):
        Path(name).write_text(text)
    (shown,) = (block for block in blocks("") if block.startswith("$ "))
    line, _, output = shown.partition("\n")
    capfd.readouterr()
    assert main(shlex.split(line)[2:]) == 0
    assert capfd.readouterr().out == output


def test_the_python_example_prints_what_is_shown() -> None:
    (example,) = blocks("python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, {})
    assert f"```python\n{example}```\n```\n{printed.getvalue()}```" in PAGE
