"""A folder or pattern of still images as a stream."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from vinfer.errors import UnsupportedSourceError
from vinfer.sources.base import MAX_SIDE, Picture, Selection, Source
from vinfer.sources.upright import RgbConverter, exif_orientation, upright
from vinfer.types import StreamInfo, UInt8Array

# First bytes -> FFmpeg decoder: what a file holds, whatever its suffix says.
_SIGNATURES = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
)


def read_image(path: Path) -> UInt8Array:
    """Decode one image file.

    Returns:
        uint8 ``[H, W, 3]``, RGB, upright (EXIF orientation applied). Grey, palette, 16-bit and
        alpha pictures are converted; alpha is dropped, as detectors are trained on such pictures.

    Raises:
        UnsupportedSourceError: it is no image, is damaged, can't be read or is larger than
            `MAX_SIDE` on a side.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise UnsupportedSourceError(f"{path}: can't be read ({exc.strerror})") from exc
    codec = next((codec for start, codec in _SIGNATURES if data.startswith(start)), None)
    if codec is None:
        raise UnsupportedSourceError(
            f"{path}: found {len(data)} bytes that are no image, expected JPEG, PNG, WebP, BMP, "
            "TIFF, PGM or PPM"
        )
    decoder = cast("VideoCodecContext", av.CodecContext.create(codec, "r"))
    decoder.thread_count = 1
    # Refused by the decoder once the header is read, before it allocates a picture.
    options = {"max_pixels": str(MAX_SIDE**2)}
    if codec == "mjpeg":
        # Else the missing part of a JPEG that is cut short comes out grey, without an error.
        options["err_detect"] = "explode"
    decoder.options = options
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except av.FFmpegError as exc:
        raise UnsupportedSourceError(
            f"{path}: the image is damaged, cut short or larger than {MAX_SIDE} px on a side "
            f"({exc.strerror})"
        ) from exc
    if not frames:
        raise UnsupportedSourceError(f"{path}: the image holds no picture")
    frame = frames[0]
    if max(frame.width, frame.height) > MAX_SIDE:
        raise UnsupportedSourceError(
            f"{path}: the image is {frame.width}x{frame.height} px, expected at most {MAX_SIDE} px "
            "on a side; make it smaller first"
        )
    return upright(RgbConverter(exact=True).convert(frame), exif_orientation(data))


class ImageSource(Source):
    """Images in a given order at a given rate; each keeps its own size.

    An image that can't be read is left out and counted (``unreadable_image``); the others keep the
    time and number that their place gives them, counted from the first readable one.

    Args:
        paths: the files, at least one.
        uri: what the user asked for.
        name: name of the stream.
        selection: which of them to deliver.
        rate: images a second, > 0.

    Raises:
        UnsupportedSourceError: none of them can be read.
    """

    def __init__(
        self, paths: Sequence[Path], uri: str, name: str, selection: Selection, rate: Fraction
    ) -> None:
        super().__init__(selection)
        self._rate = rate
        self._paths = iter(enumerate(paths))
        self._first, self._first_image = self._first_readable(uri, len(paths))
        height, width = self._first_image.shape[:2]
        self.info = StreamInfo(name, uri, width, height, rate, None, len(paths))

    def _first_readable(self, uri: str, count: int) -> tuple[int, UInt8Array]:
        reason: UnsupportedSourceError | None = None
        for position, path in self._paths:
            try:
                return position, read_image(path)
            except UnsupportedSourceError as exc:
                self.dropped["unreadable_image"] += 1
                reason = reason or exc
        if count == 1 and reason is not None:
            raise reason
        raise UnsupportedSourceError(
            f"{uri}: none of the {count} images can be read; the first: {reason}"
        ) from reason

    def _pictures(self) -> Iterator[Picture]:
        yield Picture(0, Fraction(0), lambda: self._first_image)
        for position, path in self._paths:
            index = position - self._first
            yield Picture(index, index / self._rate, functools.partial(self._read, path))

    def _read(self, path: Path) -> UInt8Array | None:
        try:
            return read_image(path)
        except UnsupportedSourceError:
            self.dropped["unreadable_image"] += 1
            return None

    def _release(self) -> None:
        """Nothing stays open between images."""
