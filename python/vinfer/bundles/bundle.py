"""Opening and packing bundles (docs/bundles.md has the format)."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from vinfer.bundles.contents import Contents, check_limits, open_contents
from vinfer.bundles.find import MANIFEST_NAME, how_to_get
from vinfer.bundles.manifest import FileEntry, Manifest, manifest_json, parse_manifest
from vinfer.errors import BundleIntegrityError, BundleSchemaError, OutputError

CARD_NAME = "card.md"

# The earliest time a zip can hold: a real one would make each packing another file.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose every byte has been checked against its manifest.

    It holds all its bytes, so what was hashed is what is used; drop it, and keep the manifest, when
    the graph is loaded.

    Attributes:
        path: the folder or file it was opened from.
        manifest: what the graph is and how to feed it.
        digest: SHA-256 of ``manifest.json``, hexadecimal. As that holds the hash of every other
            file, equal digests mean equal bundles.
    """

    path: Path
    manifest: Manifest
    digest: str
    _files: Mapping[str, bytes] = dataclasses.field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and check a bundle.

        Args:
            path: a folder, or one ``.vinfer`` zip; `find_bundle` turns a name into it.

        Raises:
            BundleNotFoundError: there is nothing at the path.
            BundleIntegrityError: a file is missing, not listed, too large, or not the one that was
                packed; or it is no bundle at all.
            BundleSchemaError: the manifest is invalid or of a newer schema.
            BundleError: it can't be read.
        """
        path = Path(path)
        with open_contents(path) as contents:
            if MANIFEST_NAME not in contents.sizes:
                raise BundleIntegrityError(
                    f"{path}: found no {MANIFEST_NAME}, so it is not a bundle; expected a folder "
                    "or .vinfer zip with the manifest at its top"
                )
            text = contents.read(MANIFEST_NAME)
            try:
                manifest = parse_manifest(text)
            except BundleSchemaError as exc:
                raise BundleSchemaError(f"{path}: {exc}") from exc
            _check_listing(path, contents.sizes, manifest)
            files = {name: _verified(path, contents, manifest, name) for name in manifest.files}
        return cls(path, manifest, hashlib.sha256(text).hexdigest(), files)

    @property
    def identity(self) -> str:
        """``name@version``."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def read(self, name: str) -> bytes:
        """The bytes of one file that the manifest lists.

        Raises:
            BundleIntegrityError: the bundle has no such file.
        """
        if name not in self._files:
            raise BundleIntegrityError(
                f"bundle {self.identity} has no {name!r}; it has: {', '.join(sorted(self._files))}"
            )
        return self._files[name]

    def graph(self) -> bytes:
        """The ONNX graph."""
        return self.read(self.manifest.graph)

    def card(self) -> str:
        """The model card, Markdown; empty where there is none."""
        return self._files.get(CARD_NAME, b"").decode(errors="replace")


def write_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Pack a bundle: the same manifest and files give the same bytes.

    The file appears under its name when it is complete and on disk, never before; what was there is
    kept until then. Missing folders are made.

    Args:
        path: the ``.vinfer`` file.
        manifest: its ``files`` are filled in here.
        files: contents by name; the graph that the manifest names, and a ``card.md``.

    Returns:
        The path.

    Raises:
        BundleSchemaError: a file name is not allowed, or the graph is missing.
        BundleIntegrityError: too many files, or one is too large.
        OutputError: it can't be written.
    """
    path = Path(path)
    entries = {
        name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in sorted(files.items())
    }
    text = manifest_json(manifest.model_copy(update={"files": entries}))
    # Through the reader's own checks: what can't be opened again must not be written.
    _check_names(parse_manifest(text))
    contents = {**files, MANIFEST_NAME: text.encode()}
    check_limits({name: len(data) for name, data in contents.items()}, str(path))
    with _replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.create_system = 3  # Unix, whatever packs it; else the bytes tell the platform
            info.external_attr = 0o100644 << 16
            # Weights hardly shrink; stored, a graph is read at the speed of the disk.
            stored = name.endswith(".onnx")
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, contents[name])
    return path


def _check_names(manifest: Manifest) -> None:
    if manifest.graph not in manifest.files:
        raise BundleSchemaError(
            f"graph: found {manifest.graph!r}, expected one of the files: "
            f"{', '.join(manifest.files) or 'none is listed'}"
        )
    if MANIFEST_NAME in manifest.files:
        raise BundleSchemaError(
            f"files: found {MANIFEST_NAME}, which can't hold its own hash; leave it out"
        )


def _check_listing(path: Path, sizes: Mapping[str, int], manifest: Manifest) -> None:
    _check_names(manifest)
    present = sizes.keys() - {MANIFEST_NAME}
    listed = manifest.files.keys()
    if missing := sorted(listed - present):
        raise BundleIntegrityError(
            f"{path}: {_some(missing)} missing, though {MANIFEST_NAME} lists it; "
            + how_to_get(manifest.name)
        )
    if extra := sorted(present - listed):
        raise BundleIntegrityError(
            f"{path}: {_some(extra)} found, which {MANIFEST_NAME} does not list; "
            "remove it, or pack the bundle again"
        )
    for name, entry in manifest.files.items():
        if sizes[name] != entry.size:
            raise BundleIntegrityError(
                f"{path}: {name} has {sizes[name]} bytes, expected {entry.size}; it is not the "
                f"file that was packed: {how_to_get(manifest.name)}"
            )


def _verified(path: Path, contents: Contents, manifest: Manifest, name: str) -> bytes:
    data = contents.read(name)
    found, expected = hashlib.sha256(data).hexdigest(), manifest.files[name].sha256
    if found != expected:
        raise BundleIntegrityError(
            f"{path}: {name} has SHA-256 {found[:12]}..., expected {expected[:12]}...; it is not "
            f"the file that was packed: {how_to_get(manifest.name)}"
        )
    return data


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name ``path`` when the block ends without an error."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        # Else the new name itself may be lost when the power fails.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise OutputError(f"{path}: can't be written: {_reason(exc, path.parent)}") from exc


def _reason(error: OSError, folder: Path) -> str:
    text = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"{text}; check the folder and its permissions"
    free = shutil.disk_usage(folder).free
    return f"{text}, {free / 2**20:.1f} MiB free; free some space or write elsewhere"
