"""What a user may type for a source, and how it is shown: names and messages carry no secrets."""

from __future__ import annotations

import difflib
import glob
import re
import urllib.parse
from pathlib import Path

from vinfer.errors import SourceNotFoundError

URL_SCHEMES = ("http", "https", "rtsp", "rtsps")
IMAGE_SUFFIXES = (
    ".bmp",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_CAMERA = re.compile(r"(?:camera:)?(\d{1,3})|(/dev/video\d{1,3})")


def url_scheme(uri: str) -> str | None:
    """``"rtsp"`` for ``rtsp://...``; None for anything that is no URL."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def camera_device(uri: str) -> str | None:
    """Device file of ``0``, ``camera:0`` or ``/dev/video0``; None for anything else."""
    match = _CAMERA.fullmatch(uri)
    if match is None:
        return None
    return match[2] or f"/dev/video{match[1]}"


def shown_url(url: str) -> str:
    """The URL without user, password, query and fragment, each of which may hold a secret."""
    scheme, _, rest = url.partition("://")
    location, *tail = re.split(r"[?#]", rest, maxsplit=1)
    if "/" not in location and any("@" in part for part in tail):
        # A password with an unescaped ? or #: no part can be shown safely.
        return f"{scheme.lower()}://..."
    # The last @ ends the credentials, as a password may hold an @ or an unescaped /.
    host_and_path = location.rpartition("@")[2]
    return f"{scheme.lower()}://{host_and_path}"


def is_glob(uri: str) -> bool:
    """Whether it is a pattern, and not the name of something that exists."""
    return glob.has_magic(uri) and not Path(uri).exists()


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts ``frame9`` before ``frame10``."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.lower()) for part in parts]


def not_found(path: Path) -> SourceNotFoundError:
    """The error for a path where nothing is, with the nearest name beside it."""
    message = f"{path}: there is no such file or folder"
    if not path.parent.is_dir():
        return SourceNotFoundError(f"{message}; the folder {path.parent} does not exist either")
    neighbours = sorted(entry.name for entry in path.parent.iterdir())
    nearest = difflib.get_close_matches(path.name, neighbours, n=1, cutoff=0.6)
    if nearest:
        return SourceNotFoundError(f"{message}; did you mean {path.parent / nearest[0]}?")
    return SourceNotFoundError(
        f"{message}; give a video file, an image, a folder or quoted pattern of images, "
        f"a URL ({', '.join(f'{s}://' for s in URL_SCHEMES)}) or a camera (camera:0)"
    )


def file_of_url(url: str) -> Path:
    """The path that a ``file://`` URL names."""
    return Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
