"""`vinfer export`: what it prints and where the bundle goes; the exports have their own tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vinfer import errors
from vinfer.bundles import Bundle
from vinfer.cli import exit_codes

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]


def test_arguments_are_passed_on_and_the_bundle_is_shown(
    vinfer_command: Command,
    vinfer_json: JsonCommand,
    tiny_bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def fake(
        name: str, output: Path | None, source: Path | None, progress: Callable[[str], None]
    ) -> Path:
        calls.append((name, output, source))
        progress("converting the graph")
        assert output is not None
        return Path(shutil.copy(tiny_bundles / "tiny-detector.vinfer", output))

    monkeypatch.setattr("vinfer.export.export", fake)
    out = tmp_path / "d.vinfer"
    arguments = ("export", "some-name", "-o", out, "--source", tmp_path / "weights")
    code, text, notes = vinfer_command(*arguments)
    assert (code, text) == (0, f"tiny-detector@1.0: {out}\n")
    assert notes.splitlines() == ["converting the graph", f"Look at it with: vinfer inspect {out}"]
    assert vinfer_json(*arguments) == (
        0,
        {"path": str(out), "identity": "tiny-detector@1.0", "digest": Bundle.open(out).digest},
    )
    assert calls == [("some-name", out, tmp_path / "weights")] * 2


def test_a_yolox_model_of_ones_own(
    vinfer_json: JsonCommand, shared_data: Path, tmp_path: Path
) -> None:
    model = shared_data / "weights" / "yolox_nano.onnx"
    out = tmp_path / "mine.vinfer"
    code, document = vinfer_json("export", "mine", "--model", "yolox", "--source", model, "-o", out)
    assert code == 0
    assert document["path"] == str(out)
    assert Bundle.open(out).manifest.name == "mine"


def test_a_training_is_packed(
    vinfer_json: JsonCommand,
    vinfer_command: Command,
    tiny_bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def fake(folder: Path, **options: Any) -> Path:
        calls.append((folder, options.pop("progress") is not None, options))
        return tiny_bundles / "tiny-relations.vinfer"

    monkeypatch.setattr("vinfer.export.trained_relations.export_trained_relations", fake)
    packed = ("export", "mine", "--model", "relations", "--source", tmp_path)
    code, document = vinfer_json(*packed, "--detector", "tiny-detector")
    assert code == 0
    assert document["identity"] == "tiny-relations@1.0"
    options = {"name": "mine", "detector": "tiny-detector", "output": None}
    assert calls == [(tmp_path, True, options)]
    code, _, err = vinfer_command(*packed)
    assert code == exit_codes.USAGE
    assert "add --detector NAME" in err
    code, _, err = vinfer_command("export", "mine", "--model", "relations")
    assert code == exit_codes.USAGE
    assert "add --source FOLDER" in err


def test_what_can_not_be_exported(vinfer_command: Command, tmp_path: Path) -> None:
    code, _, err = vinfer_command("export", "ssd-mobilenet-v3-coco")
    assert code == exit_codes.USAGE
    assert "did you mean ssd-mobilenet-v2-coco?" in err
    code, _, err = vinfer_command("export", "mine", "--model", "yolox")
    assert code == exit_codes.USAGE
    assert "add --source FILE" in err
    code, _, err = vinfer_command(
        "export", "mine", "--model", "yolox", "--source", tmp_path / "none.onnx"
    )
    assert code == errors.BundleError.exit_code
    assert "none.onnx" in err
