"""Reading the files of a bundle that nobody has checked yet, from a folder or a zip.

Nothing is extracted: a file's bytes go to memory, never to a path that the bundle chose. Sizes are
known, and limited, before a byte of content is read.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from vinfer.bundles.find import MANIFEST_NAME
from vinfer.errors import BundleError, BundleIntegrityError, BundleNotFoundError

MAX_FILES = 64
MAX_GRAPH_BYTES = 2 << 30  # an ONNX file is a protobuf message, which ends at 2 GiB
MAX_FILE_BYTES = 64 << 20
MAX_MANIFEST_BYTES = 4 << 20

# Weights hardly compress and text about 20-fold; deflate can do 1000-fold, which only zeros reach.
_MAX_RATIO = 200
_RATIO_FREE_BYTES = 1 << 20


class Contents(Protocol):
    """The files of one opened folder or zip.

    ``sizes`` maps each file's name (``/`` between folders) to its size in bytes as the folder or
    the zip's directory states it.
    """

    sizes: dict[str, int]

    def read(self, name: str) -> bytes:
        """The ``sizes[name]`` bytes of a file.

        Raises:
            BundleIntegrityError: there are more or fewer bytes than stated.
        """
        ...


def size_limit(name: str) -> int:
    """The most bytes that a file of this name may have."""
    if name == MANIFEST_NAME:
        return MAX_MANIFEST_BYTES
    return MAX_GRAPH_BYTES if name.endswith(".onnx") else MAX_FILE_BYTES


def check_limits(sizes: dict[str, int], where: str) -> None:
    """Refuse too many or too large files.

    Raises:
        BundleIntegrityError: a limit is passed; the message names the file.
    """
    if len(sizes) > MAX_FILES:
        raise BundleIntegrityError(
            f"{where}: found {len(sizes)} files, expected at most {MAX_FILES}; "
            "a bundle holds a manifest, graphs and a card only"
        )
    for name, size in sizes.items():
        if size > size_limit(name):
            raise BundleIntegrityError(
                f"{where}: {name!r} has {size} bytes, expected at most {size_limit(name)}"
            )


@contextlib.contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """Open a folder or a zip; sizes are within the limits.

    Raises:
        BundleNotFoundError: there is nothing at the path.
        BundleIntegrityError: not a zip, a damaged one, or its files break a rule (see
            docs/bundles.md).
        BundleError: it can't be read (permission, a failing disk).
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as exc:
        raise BundleNotFoundError(f"no bundle at {str(path)!r}: no such file or folder") from exc
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        if stat.S_ISDIR(mode):
            folder = _Folder(path)
            check_limits(folder.sizes, str(path))
            yield folder
        elif stat.S_ISREG(mode):
            with path.open("rb") as file:
                archive = _Zip(path, file)
                check_limits(archive.sizes, str(path))
                yield archive
        else:
            raise BundleIntegrityError(f"{path} is neither a folder nor a file; give a bundle")
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(f"{path}: can't be read: {error}; check its permissions and disk")


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.sizes: dict[str, int] = {}
        real_root = root.resolve()
        for path in self._paths():
            name = path.relative_to(root).as_posix()
            try:
                real = path.resolve(strict=True)
            except (FileNotFoundError, RuntimeError) as exc:  # RuntimeError: a loop of links
                raise BundleIntegrityError(
                    f"{root}: {name!r} is a link to nothing; put the file there"
                ) from exc
            if not real.is_relative_to(real_root):
                raise BundleIntegrityError(
                    f"{root}: {name!r} is a link out of the bundle, to {real}; put a copy there"
                )
            info = path.stat()
            if not stat.S_ISREG(info.st_mode):
                raise BundleIntegrityError(
                    f"{root}: {name!r} is not a plain file, expected plain files only; remove it"
                )
            self.sizes[name] = info.st_size

    def _paths(self) -> Iterator[Path]:
        count = 0
        for folder, subfolders, names in os.walk(self._root, onerror=_raise):
            # A link to a folder is not walked into, so it must not pass for an empty folder.
            links = [name for name in subfolders if (Path(folder) / name).is_symlink()]
            for name in sorted([*names, *links]):
                count += 1
                if count > 4 * MAX_FILES:  # enough for the error to say; a whole disk is too much
                    return
                yield Path(folder) / name

    def read(self, name: str) -> bytes:
        with (self._root / name).open("rb") as file:
            return _exactly(self.sizes[name], file.read(self.sizes[name] + 1), name)


class _Zip:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        with self._damage_named("the zip directory"):
            self._zip = zipfile.ZipFile(file)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.is_dir() and info.file_size == 0:
                continue
            if info.filename in self._infos:
                raise BundleIntegrityError(
                    f"{path}: {info.filename!r} is in the zip twice, expected each name once"
                )
            self._check_entry(info)
            self._infos[info.filename] = info
        self.sizes = {name: info.file_size for name, info in self._infos.items()}

    def _check_entry(self, info: zipfile.ZipInfo) -> None:
        # bz2 and lzma have no bound on what one read decompresses to.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleIntegrityError(
                f"{self._path}: {info.filename!r} is compressed by method {info.compress_type}, "
                "expected stored (0) or deflated (8); pack it again with zip's defaults"
            )
        if info.flag_bits & 0x1:
            raise BundleIntegrityError(
                f"{self._path}: {info.filename!r} is encrypted, expected plain; pack it again"
            )
        is_large = info.file_size > _RATIO_FREE_BYTES
        if is_large and info.file_size > _MAX_RATIO * info.compress_size:
            raise BundleIntegrityError(
                f"{self._path}: {info.filename!r} grows from {info.compress_size} to "
                f"{info.file_size} bytes, expected at most {_MAX_RATIO} times; if that is "
                "meant, store it uncompressed (zip -0)"
            )

    def read(self, name: str) -> bytes:
        with self._damage_named(repr(name)), self._zip.open(self._infos[name]) as file:
            return _exactly(self.sizes[name], file.read(self.sizes[name]), name)

    @contextlib.contextmanager
    def _damage_named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BundleError, PermissionError):
            raise
        # zipfile lets out struct, zlib, Unicode, NotImplemented and other errors for damaged bytes.
        except Exception as exc:
            raise BundleIntegrityError(
                f"{self._path}: not a sound bundle, {what} can't be read ({exc}); expected a "
                "folder or a .vinfer zip; copy or pack it again"
            ) from exc


def _exactly(size: int, data: bytes, name: str) -> bytes:
    if len(data) != size:
        found = f"more than {size}" if len(data) > size else str(len(data))
        raise BundleIntegrityError(f"{name!r}: found {found} bytes, expected {size}; it changed")
    return data


def _raise(error: OSError) -> None:
    raise error
