"""Boxes, links and captions on RGB pictures, sized so that they read the same at any resolution."""

from __future__ import annotations

import colorsys
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vinfer.errors import MissingDependencyError
from vinfer.types import UNTRACKED, UInt8Array

if TYPE_CHECKING:
    from types import ModuleType

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]

WHITE: Color = (255, 255, 255)
INK: Color = (17, 20, 24)
_UNTRACKED_COLOR: Color = (150, 156, 164)
_MIN_LUMA = 150  # of track colours, so that dark text is readable on them
_CAPTION_DIMMING = 0.3  # what is left of the picture under the caption
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def opencv() -> ModuleType:
    """OpenCV.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import cv2
    except ImportError as exc:
        raise MissingDependencyError.of("OpenCV", "video", exc) from exc
    module: ModuleType = cv2
    return module


def track_color(track_id: int) -> Color:
    """RGB colour of a track: the same in every run, far from its neighbours', grey if untracked."""
    if track_id == UNTRACKED:
        return _UNTRACKED_COLOR
    # Steps of the golden ratio never come back to a hue, and neighbours are far apart.
    hue = (0.56 + track_id * _GOLDEN_RATIO) % 1.0
    red, green, blue = (255 * part for part in colorsys.hsv_to_rgb(hue, 0.68, 0.98))
    # Blue and violet would be lost on dark pictures and on the caption: some white is added.
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    white = max(0.0, (_MIN_LUMA - luma) / (255 - luma))
    return (
        round(red + white * (255 - red)),
        round(green + white * (255 - green)),
        round(blue + white * (255 - blue)),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class CaptionLine:
    """``subject predicate object`` with the colours of the two tracks."""

    subject: str
    predicate: str
    object: str
    subject_color: Color
    object_color: Color


class Pen:
    """Draws on pictures of one size; all sizes follow from it.

    Attributes:
        text_height: height of capitals with room above and below, pixels: 9 at 176x144,
            25 at 1080p, 43 at 4k.
        line: width of a thin line, pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        """Args: width, height: size of the pictures in pixels."""
        self._set(round(7 + 0.0125 * math.sqrt(width * height)))

    @classmethod
    def of_text(cls, text_height: int) -> Pen:
        """A pen whose text has this height, whatever the size of the picture."""
        pen = cls.__new__(cls)
        pen._set(text_height)
        return pen

    def _set(self, text_height: int) -> None:
        self._cv2 = opencv()
        self.text_height = text_height
        self.line = max(1, round(self.text_height / 12))
        self._font = self._cv2.FONT_HERSHEY_SIMPLEX
        self._font_scale = self.text_height / 26
        self._font_weight = max(1, round(self.text_height / 22))
        self._padding = max(2, round(self.text_height / 4))

    def text_width(self, text: str) -> int:
        """How wide a text gets, pixels."""
        (width, _), _ = self._cv2.getTextSize(text, self._font, self._font_scale, self._font_weight)
        return int(width)

    def text(self, image: UInt8Array, text: str, x: int, middle: int, color: Color) -> None:
        """Text that begins at ``x``, with the middle of its capitals at height ``middle``."""
        # Capitals of this font are 0.83 of the nominal height; the baseline centres them.
        baseline = middle + round(self.text_height * 0.31)
        self._cv2.putText(
            image,
            text,
            (x, baseline),
            self._font,
            self._font_scale,
            color,
            self._font_weight,
            self._cv2.LINE_AA,
        )

    def box(self, image: UInt8Array, box: Box, color: Color, *, strong: bool) -> None:
        """Outline of a box; ``strong`` is twice as wide, with a dark rim."""
        corners = _corners(box, image)
        if corners is None:
            return
        first, last = corners[:2], corners[2:]
        width = 2 * self.line if strong else self.line
        if strong:
            self._cv2.rectangle(image, first, last, INK, width + 2 * self.line)
        self._cv2.rectangle(image, first, last, color, width)

    def tag(self, image: UInt8Array, box: Box, text: str, color: Color) -> None:
        """Text on a plate of that colour at the box's upper left corner, inside the picture."""
        corners = _corners(box, image)
        if corners is None:
            return
        height, width = image.shape[:2]
        plate_height = self.text_height + self._padding
        plate_width = self.text_width(text) + 2 * self._padding
        left = max(0, min(corners[0] - self.line, width - plate_width))
        top = corners[1] - plate_height
        if top < 0:  # no room above the box: inside it
            top = max(0, min(corners[1], height - plate_height))
        self._cv2.rectangle(
            image, (left, top), (left + plate_width, top + plate_height), color, self._cv2.FILLED
        )
        self.text(image, text, left + self._padding, top + plate_height // 2, INK)

    def link(self, image: UInt8Array, subject: Box, object_: Box) -> None:
        """Line from the middle of the subject's box (dot) to that of the object (ring)."""
        start, end = _middle(subject, image), _middle(object_, image)
        if start is None or end is None:
            return
        anti_aliased = self._cv2.LINE_AA
        radius = 2 * self.line + 1
        self._cv2.line(image, start, end, INK, 3 * self.line, anti_aliased)
        self._cv2.circle(image, start, radius + self.line, INK, self._cv2.FILLED, anti_aliased)
        self._cv2.circle(image, end, radius + self.line, INK, self._cv2.FILLED, anti_aliased)
        self._cv2.line(image, start, end, WHITE, self.line, anti_aliased)
        self._cv2.circle(image, start, radius, WHITE, self._cv2.FILLED, anti_aliased)
        self._cv2.circle(image, end, radius, WHITE, self.line, anti_aliased)

    def caption(self, image: UInt8Array, lines: Sequence[CaptionLine]) -> None:
        """Lines on a dark bar at the bottom; what finds no room in a third of it is counted."""
        if not lines:
            return
        height = image.shape[0]
        step = round(self.text_height * 1.45)
        room = max(1, (height // 3) // step)
        shown = lines if len(lines) <= room else lines[: max(1, room - 1)]
        hidden = len(lines) - len(shown)
        rows = len(shown) + (hidden > 0 and room > 1)
        top = max(0, height - rows * step - self._padding)
        bar = image[top:]
        np.multiply(bar, _CAPTION_DIMMING, out=bar, casting="unsafe")
        middle = top + self._padding // 2 + step // 2
        left = 2 * self._padding
        for line in shown:
            self._caption_line(image, line, left, middle)
            middle += step
        if hidden and room > 1:
            self.text(image, f"and {hidden} more", left, middle, WHITE)

    def _caption_line(self, image: UInt8Array, line: CaptionLine, left: int, middle: int) -> None:
        gap = max(2, round(self.text_height * 0.45))
        for text, color in (
            (line.subject, line.subject_color),
            (line.predicate, WHITE),
            (line.object, line.object_color),
        ):
            self.text(image, text, left, middle, color)
            left += self.text_width(text) + gap


def _corners(box: Box, image: UInt8Array) -> tuple[int, int, int, int] | None:
    """Pixel corners within the picture; None where nothing can be drawn (not finite, outside)."""
    height, width = image.shape[:2]
    if not all(map(math.isfinite, box)):
        return None
    x1, y1, x2, y2 = box
    if x2 < 0 or y2 < 0 or x1 > width or y1 > height:
        return None
    return (
        round(min(max(x1, 0), width - 1)),
        round(min(max(y1, 0), height - 1)),
        round(min(max(x2, 0), width - 1)),
        round(min(max(y2, 0), height - 1)),
    )


def _middle(box: Box, image: UInt8Array) -> tuple[int, int] | None:
    corners = _corners(box, image)
    if corners is None:
        return None
    return (corners[0] + corners[2]) // 2, (corners[1] + corners[3]) // 2


def shifted(box: Box, scale: float, left: float = 0.0, top: float = 0.0) -> Box:
    """The box in a picture that was scaled and then moved right and down."""
    x1, y1, x2, y2 = box
    return x1 * scale + left, y1 * scale + top, x2 * scale + left, y2 * scale + top
