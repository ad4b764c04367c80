"""`vinfer inspect`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vinfer.errors import BundleIntegrityError

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]


def test_it_shows_what_matters(vinfer_command: Command) -> None:
    code, out, err = vinfer_command("inspect", "tiny-relations")
    assert (code, err) == (0, "")
    for text in ("relations", "ride, near", "tiny-detector", "subject_box", "model.onnx"):
        assert text in out
    assert "ride\t0.6\t0.4\t0\t0.2\t0.3\t0.3" in out
    assert out.endswith("# tiny-relations\n")


def test_json_has_everything(vinfer_json: JsonCommand, tiny_bundles: Path) -> None:
    code, facts = vinfer_json("inspect", tiny_bundles / "tiny-detector.vinfer")
    assert code == 0
    assert facts["identity"] == "tiny-detector@1.0"
    assert facts["manifest"]["labels"] == ["person", "bicycle"]
    assert {file["name"] for file in facts["files"]} == {"model.onnx", "card.md"}


def test_a_damaged_bundle_is_an_error(
    vinfer_command: Command, tiny_bundles: Path, tmp_path: Path
) -> None:
    content = (tiny_bundles / "tiny-detector.vinfer").read_bytes()
    bad = tmp_path / "bad.vinfer"
    bad.write_bytes(content[: len(content) // 2])
    code, out, err = vinfer_command("inspect", bad)
    assert (code, out) == (BundleIntegrityError.exit_code, "")
    assert err.startswith("vinfer: ")
