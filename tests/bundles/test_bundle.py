"""Opening a bundle: whole ones come back, anything else is refused in words."""

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from vinfer.bundles import Bundle, DetectionManifest, write_bundle
from vinfer.bundles import contents as bundle_contents
from vinfer.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
)


def repack(source: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """Copy a zip with some files replaced, added or (None) left out; the manifest stays."""
    with zipfile.ZipFile(source) as archive:
        content: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (content | changes).items():
            if data is not None:
                archive.writestr(name, data)
    return target


def zip_with(path: Path, entries: list[tuple[str, bytes]], compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def with_listed(packed: Path, **files: dict[str, Any]) -> bytes:
    """The manifest of a zip with other entries in ``files``."""
    with zipfile.ZipFile(packed) as archive:
        fields = json.loads(archive.read("manifest.json"))
    fields["files"] |= files
    return json.dumps(fields).encode()


@pytest.mark.parametrize("kind", ["packed", "folder"])
def test_round_trip(
    kind: str,
    manifest: DetectionManifest,
    files: dict[str, bytes],
    request: pytest.FixtureRequest,
) -> None:
    path = request.getfixturevalue(kind)
    bundle = Bundle.open(path)

    assert bundle.path == path
    assert bundle.identity == "dot-detector@1.2.0"
    assert bundle.graph() == files["model.onnx"]
    assert bundle.card() == files["card.md"].decode()
    assert {name: bundle.read(name) for name in bundle.manifest.files} == files
    assert bundle.manifest.model_copy(update={"files": {}}) == manifest
    assert bundle.manifest.files["card.md"].size == len(files["card.md"])


def test_zip_and_folder_are_the_same_bundle(packed: Path, folder: Path) -> None:
    text = (folder / "manifest.json").read_bytes()
    assert Bundle.open(packed).digest == Bundle.open(folder).digest
    assert Bundle.open(packed).digest == hashlib.sha256(text).hexdigest()


def test_str_path_and_files_in_subfolders(
    tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    path = write_bundle(str(tmp_path / "a.vinfer"), manifest, {**files, "plots/pr.csv": b"1,2\n"})
    assert Bundle.open(str(path)).read("plots/pr.csv") == b"1,2\n"
    # Zip tools put entries for the folders in; they carry nothing.
    repacked = repack(path, tmp_path / "b.vinfer", {"plots/": b""})
    assert Bundle.open(repacked).read("plots/pr.csv") == b"1,2\n"


def test_bundle_without_card(tmp_path: Path, manifest: DetectionManifest) -> None:
    path = write_bundle(tmp_path / "a.vinfer", manifest, {"model.onnx": b"graph"})
    assert Bundle.open(path).card() == ""


def test_unknown_file_names_those_there_are(packed: Path) -> None:
    with pytest.raises(BundleIntegrityError, match=r"no 'labels.txt'; it has: card.md, model.onnx"):
        Bundle.open(packed).read("labels.txt")


def test_nothing_there(tmp_path: Path, packed: Path) -> None:
    for path in (tmp_path / "none.vinfer", packed / "inside-a-file", "nul\0byte"):
        with pytest.raises(BundleNotFoundError, match="no such file or folder"):
            Bundle.open(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.vinfer"
    path.write_bytes(content)
    with pytest.raises(BundleIntegrityError, match=r"expected a folder or a \.vinfer zip"):
        Bundle.open(path)


def test_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleIntegrityError, match="neither a folder nor a file"):
        Bundle.open(tmp_path / "pipe")


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleIntegrityError, match=r"found no manifest\.json"):
        Bundle.open(tmp_path)


def test_wrong_hash_says_file_hashes_and_cure(
    packed: Path, tmp_path: Path, files: dict[str, bytes]
) -> None:
    changed = b"\xff" + files["model.onnx"][1:]
    found = hashlib.sha256(changed).hexdigest()[:12]
    expected = hashlib.sha256(files["model.onnx"]).hexdigest()[:12]
    path = repack(packed, tmp_path / "bad.vinfer", {"model.onnx": changed})
    with pytest.raises(BundleIntegrityError) as caught:
        Bundle.open(path)
    for part in ("model.onnx", found, expected, "copy it again"):
        assert part in str(caught.value)


def test_exportable_bundle_with_wrong_hash_names_the_command(
    tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    named = manifest.model_copy(update={"name": "ssd-mobilenet-v2-coco"})
    path = write_bundle(tmp_path / "ssd.vinfer", named, files)
    changed = repack(path, tmp_path / "bad.vinfer", {"card.md": b"#" * len(files["card.md"])})
    with pytest.raises(BundleIntegrityError, match="vinfer export ssd-mobilenet-v2-coco"):
        Bundle.open(changed)


def test_wrong_size_missing_and_unlisted_files_are_named(packed: Path, tmp_path: Path) -> None:
    def opened(**changes: bytes | None) -> None:
        names = {name.replace("_", "."): data for name, data in changes.items()}
        Bundle.open(repack(packed, tmp_path / "bad.vinfer", names))

    with pytest.raises(BundleIntegrityError, match=r"card\.md has 3 bytes, expected 28"):
        opened(card_md=b"abc")
    with pytest.raises(BundleIntegrityError, match=r"'card\.md' missing"):
        opened(card_md=None)
    with pytest.raises(BundleIntegrityError, match=r"'extra\.bin' found, which .* does not list"):
        opened(extra_bin=b"abc")
    with pytest.raises(BundleIntegrityError, match=r"found no manifest\.json"):
        opened(manifest_json=None)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a//b", "./a", ".hidden", "a\\b", "C:x", "a b", "é"]
)
def test_names_that_leave_the_bundle_or_are_not_portable(
    name: str, packed: Path, tmp_path: Path
) -> None:
    unlisted = repack(packed, tmp_path / "unlisted.vinfer", {name: b"x"})
    with pytest.raises(BundleIntegrityError, match=r"which .* does not list"):
        Bundle.open(unlisted)

    entry = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    text = with_listed(packed, **{name: entry})
    listed = repack(packed, tmp_path / "listed.vinfer", {name: b"x", "manifest.json": text})
    with pytest.raises(BundleSchemaError, match="files"):
        Bundle.open(listed)


def test_the_manifest_can_not_list_itself(packed: Path, tmp_path: Path) -> None:
    text = with_listed(packed, **{"manifest.json": {"sha256": "0" * 64, "size": 1}})
    with pytest.raises(BundleSchemaError, match="its own hash"):
        Bundle.open(repack(packed, tmp_path / "bad.vinfer", {"manifest.json": text}))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_duplicate_name(packed: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(packed) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    path = zip_with(tmp_path / "bad.vinfer", [*entries, ("model.onnx", files["model.onnx"])])
    with pytest.raises(BundleIntegrityError, match=r"'model\.onnx' is in the zip twice"):
        Bundle.open(path)


def test_too_many_files(packed: Path, tmp_path: Path, folder: Path) -> None:
    many: dict[str, bytes | None] = {f"f{i}.txt": b"" for i in range(70)}
    with pytest.raises(BundleIntegrityError, match="found 73 files, expected at most 64"):
        Bundle.open(repack(packed, tmp_path / "bad.vinfer", many))
    for i in range(400):
        (folder / f"f{i}.txt").touch()
    with pytest.raises(BundleIntegrityError, match="expected at most 64"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("name", "limit"), [("manifest.json", 4 << 20), ("card.md", 64 << 20), ("model.onnx", 2 << 30)]
)
def test_size_limits_are_checked_before_reading(
    name: str, limit: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(limit + 1)  # a hole: no disk is used

    def refuse(*_: object) -> bytes:
        raise AssertionError("was read")

    monkeypatch.setattr(bundle_contents, "_exactly", refuse)
    with pytest.raises(BundleIntegrityError, match=rf"'{name}' has {limit + 1} bytes, expected"):
        Bundle.open(folder)


def test_zip_bomb(packed: Path, tmp_path: Path) -> None:
    zeros = bytes(30 << 20)
    entry = {"sha256": hashlib.sha256(zeros).hexdigest(), "size": len(zeros)}
    entries = [
        ("manifest.json", with_listed(packed, **{"zeros.bin": entry})),
        ("zeros.bin", zeros),
    ]
    path = zip_with(tmp_path / "bomb.vinfer", entries, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BundleIntegrityError, match=r"'zeros\.bin' grows from \d+ to 31457280"):
        Bundle.open(path)


def test_declared_size_smaller_than_what_comes_out(
    tmp_path: Path, packed: Path, files: dict[str, bytes]
) -> None:
    """The zip and the manifest both lie; not a byte more than declared may be taken."""
    short = {"sha256": hashlib.sha256(files["card.md"][:5]).hexdigest(), "size": 5}
    changes: dict[str, bytes | None] = {"manifest.json": with_listed(packed, **{"card.md": short})}
    path = repack(packed, tmp_path / "bad.vinfer", changes)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"card.md"))
    assert int.from_bytes(data[at + 24 : at + 28], "little") == len(files["card.md"])
    data[at + 24 : at + 28] = (5).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(BundleIntegrityError, match=r"'card\.md' can't be read"):
        Bundle.open(path)


def test_only_compression_with_bounded_output(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    path = zip_with(tmp_path / "bad.vinfer", entries, zipfile.ZIP_BZIP2)
    with pytest.raises(BundleIntegrityError, match="method 12, expected stored"):
        Bundle.open(path)


def test_encrypted_entry(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    packed.write_bytes(data)
    with pytest.raises(BundleIntegrityError, match="is encrypted, expected plain"):
        Bundle.open(packed)


def test_links(folder: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    card = folder / "card.md"
    outside = tmp_path / "outside.md"
    card.rename(outside)

    card.symlink_to(outside)
    with pytest.raises(BundleIntegrityError, match=r"'card\.md' is a link out of the bundle"):
        Bundle.open(folder)
    card.unlink()
    card.symlink_to(tmp_path / "absent")
    with pytest.raises(BundleIntegrityError, match="is a link to nothing"):
        Bundle.open(folder)
    card.unlink()
    card.symlink_to(card)
    with pytest.raises(BundleIntegrityError, match="is a link to nothing"):
        Bundle.open(folder)
    card.unlink()
    outside.rename(card)
    (folder / "loop").symlink_to(folder)
    with pytest.raises(BundleIntegrityError, match="'loop' is not a plain file"):
        Bundle.open(folder)
    (folder / "loop").unlink()

    linked = tmp_path / "linked"  # the bundle itself may be a link
    linked.symlink_to(folder)
    assert Bundle.open(linked).read("card.md") == files["card.md"]


def test_special_file_in_folder(folder: Path) -> None:
    (folder / "card.md").unlink()
    os.mkfifo(folder / "card.md")
    with pytest.raises(BundleIntegrityError, match=r"'card\.md' is not a plain file"):
        Bundle.open(folder)


def test_unreadable_disk(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(BundleError, match=r"can't be read: .*Input/output error"):
        Bundle.open(packed)


def test_nothing_is_parsed_before_it_is_hashed(
    packed: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    """`open` never touches the graph's content but to hash it, and reads each file once."""
    reads: list[str] = []
    read = zipfile.ZipFile.open

    def counted(self: zipfile.ZipFile, name: Any, *args: Any, **more: Any) -> Any:
        reads.append(name.filename)
        return read(self, name, *args, **more)

    monkeypatch.setattr(zipfile.ZipFile, "open", counted)
    bundle = Bundle.open(packed)
    assert sorted(reads) == ["card.md", "manifest.json", "model.onnx"]
    assert bundle.graph() is bundle.graph()
    assert len(reads) == 3


def test_errors_name_the_bundle(packed: Path, tmp_path: Path) -> None:
    path = repack(packed, tmp_path / "bad.vinfer", {"card.md": None})
    with pytest.raises(BundleIntegrityError, match=re.escape(str(path))):
        Bundle.open(path)
