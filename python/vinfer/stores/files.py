"""Appending to a file so that a reader, a crash or a full disk never sees half a record."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from vinfer.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "free some space or choose another output folder",
    errno.EDQUOT: "your quota on that disk is used up: free some space or choose another folder",
    errno.EFBIG: "this process may not write files that large (ulimit -f): raise that limit",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "that file system is read-only: choose another output folder",
    errno.ENOENT: "its folder does not exist: create it first",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another path",
    errno.EEXIST: "that is a file, expected a folder: choose another path",
    errno.EISDIR: "that is a folder: give a file name",
}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def output_error(path: Path | str, error: OSError) -> OutputError:
    """The error to raise when writing ``path`` failed: what, why, and what to do.

    Args:
        path: what was written.
        error: what the operating system said. For a full disk the text names the free space.
    """
    reason = error.strerror or str(error)
    text = f"can't write {path}: {reason}"
    if error.errno in _NO_ROOM:
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_existing_parent(Path(path))).free
            text += f" ({free / 1e6:.1f} MB free)"
    advice = _ADVICE.get(error.errno or 0)
    return OutputError(f"{text}; {advice}" if advice else text)


def _existing_parent(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))


class RecordFile:
    """A new file that grows by whole records and is valid after each.

    A record goes out in one system call, so it can be read as soon as `append` returns and a
    crash of this process cuts none in half. When only a part of a record fits, the file is put back
    to what it was before it.
    """

    def __init__(self, path: Path, *, tail: bytes = b"") -> None:
        """Create or empty the file.

        Args:
            path: the file.
            tail: what the file must end with to be valid; each record goes in before it.

        Raises:
            OutputError: the file can't be created.
        """
        self.path = path
        self._tail = tail
        self._size = 0  # without the tail
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            raise output_error(path, exc) from exc

    def append(self, record: bytes) -> None:
        """Add a record, or nothing.

        Raises:
            OutputError: the record does not fit or the file can't be written.
        """
        try:
            self._write(record + self._tail)
        except OSError as exc:
            # Only regular files can be put back; on a pipe or a device there is nothing to save.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
                self._write(self._tail if self._size else b"")
            raise output_error(self.path, exc) from exc
        self._size += len(record)

    def _write(self, data: bytes) -> None:
        if self._tail:
            os.lseek(self._fd, self._size, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def close(self) -> None:
        """Close the file; a second call does nothing.

        Raises:
            OutputError: the file system reports a late write error.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError as exc:
            raise output_error(self.path, exc) from exc
