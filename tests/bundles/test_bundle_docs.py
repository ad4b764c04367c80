"""docs/bundles.md shows a manifest that works, and tells the truth about limits and fields."""

import re
from pathlib import Path

import pytest

from vinfer.bundles import Bundle, DetectionManifest, RelationManifest, parse_manifest
from vinfer.bundles import contents as bundle_contents
from vinfer.errors import BundleError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bundles.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_example_by_hand(shared_data: Path, tmp_path: Path) -> None:
    graph = (shared_data / "weights" / "yolox_nano.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(graph)
    (tmp_path / "manifest.json").write_text(block("json"))
    (tmp_path / "card.md").write_text(block("markdown"))
    assert Bundle.open(tmp_path).identity == "yolox-nano@1.0.0"


def test_example_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "yolox-nano"
    folder.mkdir()
    (folder / "manifest.json").write_text(block("json"))
    (folder / "model.onnx").write_bytes(b"g")
    (folder / "card.md").write_bytes(b"c")
    exec(block("python"), {})
    bundle = Bundle.open("yolox-nano.vinfer")
    assert bundle.read("card.md") == b"c"
    example = parse_manifest(block("json"))
    assert isinstance(example, DetectionManifest)
    assert len(example.labels) == 80


@pytest.mark.parametrize("kind", [DetectionManifest, RelationManifest])
def test_every_field_is_explained(kind: type[DetectionManifest] | type[RelationManifest]) -> None:
    fields = {field.alias or name for name, field in kind.model_fields.items()}
    assert not [name for name in fields if f"`{name}`" not in PAGE]


def test_limits_and_errors() -> None:
    assert f"At most {bundle_contents.MAX_FILES} files" in PAGE
    assert f"`.onnx` up to {bundle_contents.MAX_GRAPH_BYTES >> 30} GiB" in PAGE
    assert f"to {bundle_contents.MAX_MANIFEST_BYTES >> 20} MiB" in PAGE
    assert f"others up to {bundle_contents.MAX_FILE_BYTES >> 20} MiB" in PAGE
    kinds: list[type[BundleError]] = [BundleError, *BundleError.__subclasses__()]
    assert not [kind for kind in kinds if f"| `{kind.__name__}` |" not in PAGE]
