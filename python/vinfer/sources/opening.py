"""From what the user typed to an open source."""

from __future__ import annotations

import glob
import math
from fractions import Fraction
from pathlib import Path

from vinfer.errors import (
    ConfigError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    UnsupportedSourceError,
)
from vinfer.sources import address
from vinfer.sources.base import Selection, Source

Seconds = Fraction | float | int


def open_source(
    uri: str | Path,
    *,
    name: str | None = None,
    stride: int = 1,
    start: Seconds | None = None,
    duration: Seconds | None = None,
    rate: Seconds = 1,
    timeout: float = 10.0,
) -> Source:
    """Open a video, images, a network stream or a camera.

    Args:
        uri: a video or image file, a folder or pattern (``"shots/*.png"``) of images, an
            ``http(s)://``, ``rtsp(s)://`` or ``file://`` URL, or a camera (``"camera:0"``, ``"0"``,
            ``"/dev/video0"``). A `Path` is always a file, folder or pattern.
        name: name of the stream; the file's name, or the URL without credentials, if None.
        stride: deliver every ``stride``-th frame.
        start: stream time from which to deliver, seconds. Frames before it are decoded and skipped,
            as their count is needed to number the others.
        duration: how much to deliver from there, seconds; None for all.
        rate: images a second that a folder, pattern or single image stands for.
        timeout: seconds to wait for a network stream or camera, when opening and for each packet.

    Returns:
        The open source; its first frame is already decoded.

    Raises:
        SourceNotFoundError: nothing is there, or nothing answers.
        UnsupportedSourceError: what is there holds no picture that can be decoded.
        SourceError: it can't be read (no permission).
        ConfigError: an option is out of range.
        MissingDependencyError: PyAV is not installed.
    """
    selection = Selection(
        stride,
        Fraction(0) if start is None else _seconds("start", start),
        None if duration is None else _seconds("duration", duration),
    )
    image_rate = _seconds("rate", rate)
    if image_rate <= 0:
        raise ConfigError(f"rate is {rate} images a second, expected more than 0")
    if not (math.isfinite(timeout) and timeout > 0):
        raise ConfigError(f"timeout is {timeout} s, expected more than 0")
    try:
        from vinfer.sources import images, video
    except ImportError as exc:
        raise MissingDependencyError(
            "PyAV, which decodes video and images, is not installed; install it with: "
            "pip install 'vinfer[video]'"
        ) from exc

    if isinstance(uri, str):
        device = address.camera_device(uri)
        if device is not None:
            return video.open_camera(device, name or uri, selection, timeout=timeout)
        scheme = address.url_scheme(uri)
        if scheme == "file":
            uri = address.file_of_url(uri)
        elif scheme is not None:
            if scheme not in address.URL_SCHEMES:
                raise UnsupportedSourceError(
                    f"{address.shown_url(uri)}: URLs of kind {scheme}:// can't be read; "
                    f"expected {', '.join(f'{s}://' for s in address.URL_SCHEMES)} or file://"
                )
            return video.open_url(uri, name, selection, timeout=timeout)
        elif uri == "":
            raise SourceNotFoundError("the source is an empty text; give a file, folder or URL")
    path = Path(uri)
    try:
        paths = _image_paths(path)
    except PermissionError as exc:
        raise SourceError(
            f"{path}: no permission to read it; allow this user to, or run as one who may"
        ) from exc
    except FileNotFoundError as exc:
        raise address.not_found(path) from exc
    shown_name = name or path.name or path.resolve().name
    if paths is None:
        return video.open_file(path, shown_name, selection)
    return images.ImageSource(paths, str(path), shown_name, selection, image_rate)


def _seconds(what: str, value: Seconds) -> Fraction:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{what} is {value}, expected a finite number")
        # By its shortest text: 0.1 means a tenth, not the float nearest to it.
        return Fraction(str(value))
    return Fraction(value)


def _image_paths(where: Path) -> list[Path] | None:
    """The images that a pattern, folder or image file stands for; None for any other file.

    Raises:
        FileNotFoundError, PermissionError: for a path that is not there or can't be read.
        SourceNotFoundError, UnsupportedSourceError: for a pattern or folder without images.
    """
    if address.is_glob(str(where)):
        # glob's, as Path.glob wants the pattern without its folder.
        found = [Path(match) for match in glob.glob(str(where), recursive=True)]  # noqa: PTH207
        if not found:
            raise SourceNotFoundError(f"{where}: nothing matches this pattern")
    elif where.is_dir():
        found = list(where.iterdir())
    else:
        # Asked of the system by opening, as permission bits do not tell the whole truth.
        with where.open("rb"):
            return [where] if _is_image(where) else None
    chosen = sorted(filter(_is_image, found), key=address.natural_key)
    if not chosen:
        raise UnsupportedSourceError(
            f"{where}: no images among {len(found)} files; expected names that end in "
            f"{' '.join(address.IMAGE_SUFFIXES)} (open videos one by one)"
        )
    return chosen


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in address.IMAGE_SUFFIXES
