"""Packing a bundle: same bytes each time, all or nothing on disk."""

import os
import resource
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vinfer.bundles import Bundle, DetectionManifest, write_bundle
from vinfer.errors import BundleIntegrityError, BundleSchemaError, OutputError


def test_byte_identical(
    tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    first = write_bundle(tmp_path / "a.vinfer", manifest, files)
    os.utime(first, (0, 0))
    backwards = dict(reversed(files.items()))
    second = write_bundle(tmp_path / "b.vinfer", manifest, backwards)
    again = Bundle.open(first)  # packing what was opened gives the same file once more
    third = write_bundle(
        tmp_path / "c.vinfer", again.manifest, {n: again.read(n) for n in again.manifest.files}
    )
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_no_clock_in_the_bytes(
    tmp_path: Path,
    manifest: DetectionManifest,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = write_bundle(tmp_path / "a.vinfer", manifest, files).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2033, *[1] * 8)))
    assert write_bundle(tmp_path / "b.vinfer", manifest, files).read_bytes() == first


def test_layout(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == ["card.md", "manifest.json", "model.onnx"]
    assert [info.compress_type for info in infos] == [8, 8, 0]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_replaces_and_leaves_nothing_behind(
    tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    path = tmp_path / "new" / "folders" / "a.vinfer"
    write_bundle(path, manifest, files)
    assert write_bundle(path, manifest, {**files, "card.md": b"other"}) == path
    assert Bundle.open(path).card() == "other"
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_full_disk_keeps_what_was_there(
    packed: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    """A limit on the size of files stands in for the full disk: the same failing write."""
    before = packed.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"dot-detector\.vinfer: can't be written"):
            write_bundle(packed, manifest, {**files, "model.onnx": bytes(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


def test_full_disk_says_how_much_is_free(
    tmp_path: Path,
    manifest: DetectionManifest,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device, [\d.]+ MiB free; free some"):
        write_bundle(tmp_path / "a.vinfer", manifest, files)
    assert not list(tmp_path.iterdir())


def test_folder_in_the_way(
    tmp_path: Path, manifest: DetectionManifest, files: dict[str, bytes]
) -> None:
    (tmp_path / "a.vinfer").mkdir()
    with pytest.raises(OutputError, match="directory"):
        write_bundle(tmp_path / "a.vinfer", manifest, files)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't be written"):
        write_bundle(tmp_path / "file" / "a.vinfer", manifest, files)


def test_what_could_not_be_opened_is_not_written(
    tmp_path: Path,
    manifest: DetectionManifest,
    files: dict[str, bytes],
    fields: Callable[..., dict[str, Any]],
) -> None:
    target = tmp_path / "a.vinfer"
    with pytest.raises(BundleSchemaError, match=r"graph: found 'model\.onnx', expected one of"):
        write_bundle(target, manifest, {"card.md": b""})
    with pytest.raises(BundleSchemaError, match="files"):
        write_bundle(target, manifest, {**files, "../evil": b""})
    with pytest.raises(BundleSchemaError, match="its own hash"):
        write_bundle(target, manifest, {**files, "manifest.json": b"{}"})
    with pytest.raises(BundleIntegrityError, match="found 73 files"):
        write_bundle(target, manifest, {**files, **{f"f{i}": b"" for i in range(70)}})
    bad = DetectionManifest.model_validate(fields(quality={"AP": float("nan")}))
    with pytest.raises(BundleSchemaError, match="quality"):
        write_bundle(target, bad, files)
    assert not target.exists()
