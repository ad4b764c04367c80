"""The pictures of a data set on disk, read as the engine reads a stream's."""

from __future__ import annotations

import collections
import dataclasses
import struct
from pathlib import Path

from vinfer.errors import MissingDependencyError, TrainingError, UnsupportedSourceError
from vinfer.training.relation_data import RelationPicture, UInt8Image

HEADER_BYTES = 2**18
"""Enough for the headers of nearly every JPEG; a file with longer ones is decoded."""

# Start of frame, that is every coding of JPEG: C4, C8 and CC are other segments.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SIDEWAYS = 5  # EXIF orientations from here on exchange width and height


@dataclasses.dataclass(frozen=True, slots=True)
class PictureFolder:
    """Pictures that are found by the name of a `RelationPicture`.

    Attributes:
        folder: that holds them.
        suffix: what to add to a name, such as ``.jpg``.
    """

    folder: Path
    suffix: str = ""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise TrainingError(f"{self.folder}: no such folder; expected the pictures there")

    def size(self, name: str, skipped: collections.Counter[str]) -> tuple[int, int] | None:
        """(height, width) of a picture, upright.

        Args:
            name: of the picture.
            skipped: counts ``missing_image`` and ``unreadable_image``.

        Returns:
            None where the picture is missing or no image.
        """
        path = self._path(name)
        if not path.is_file():
            skipped["missing_image"] += 1
            return None
        try:
            return picture_size(path)
        except TrainingError:
            skipped["unreadable_image"] += 1
            return None

    def __call__(self, picture: RelationPicture) -> UInt8Image:
        """uint8 ``[H, W, 3]`` RGB, upright.

        Raises:
            TrainingError: the file is missing, damaged, or of another size than the annotations.
        """
        path = self._path(picture.name)
        image = _decoded(path)
        if picture.size is not None and image.shape[:2] != picture.size:
            raise TrainingError(
                f"{path}: found {image.shape[1]}x{image.shape[0]} px, but its annotations are for "
                f"{picture.size[1]}x{picture.size[0]} px; get the pictures that belong to them"
            )
        return image

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{self.suffix}"


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, upright; of JPEG and PNG without decoding it.

    Raises:
        TrainingError: it can't be read or is no image.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as exc:
        raise TrainingError(f"{path}: can't be read ({exc.strerror})") from exc
    stored = _stored_size(head)
    if stored is None:
        image = _decoded(path)
        return int(image.shape[0]), int(image.shape[1])
    height, width = stored
    return (width, height) if _exif_orientation(head) >= _SIDEWAYS else (height, width)


def _stored_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) before turning it upright, by ITU-T T.81 annex B or PNG section 11.2.2."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        return height, width
    position = 2
    while head.startswith(b"\xff\xd8") and position + 9 <= len(head):
        if head[position] != 0xFF:
            return None
        marker = head[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", head, position + 5)
            # Height 0: it follows the picture's first scan.
            return (height, width) if height and width else None
        else:
            position += 2 + struct.unpack_from(">H", head, position + 2)[0]
    return None


def _decoded(path: Path) -> UInt8Image:
    try:
        from vinfer.sources.images import read_image
    except ImportError as exc:
        raise _no_pyav() from exc
    try:
        return read_image(path)
    except UnsupportedSourceError as exc:
        raise TrainingError(str(exc)) from exc


def _exif_orientation(head: bytes) -> int:
    try:
        from vinfer.sources.upright import exif_orientation
    except ImportError as exc:
        raise _no_pyav() from exc
    return exif_orientation(head)


def _no_pyav() -> MissingDependencyError:
    return MissingDependencyError(
        "PyAV is not installed, and reading pictures needs it; "
        "install it with: pip install 'vinfer[video]'"
    )
