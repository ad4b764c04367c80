"""An explanation as one picture: frame, heat map, scores over time, what would change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vinfer.explain.explanation import Explanation
from vinfer.explain.occlusion import LEAST_DROP, HeatMap
from vinfer.explain.score_plot import draw_scores
from vinfer.report.drawing import INK, Color, Pen, opencv, shifted, track_color
from vinfer.stores.files import output_error
from vinfer.types import Float32Array, Participant, UInt8Array

WIDTH = 1600
_EDGE = 40  # free at the borders and between the parts
_GAP = 22  # between words of the headline
_PANEL = (740, 560)  # width and at most height of each of the two pictures
_PLOT = (930, 330)
_SOFT: Color = (88, 98, 115)
_FAINT: Color = (224, 228, 233)
_OPACITY = 0.62  # of the heat map over the picture
_PIXELS_SHOW = 3  # times enlarged
_NOTE_LINES, _NOTE_ROOM = 3, 120  # below the heat map
_LEAST_RISE = 0.02  # that is worth a word
_LEAST_SCALE = 0.1  # of the colours: differences that mean nothing must not glow
_TEXT = 25  # pixels, see `Pen.text_height`
_INSTEAD = "What counts for it stands in the table below."


def explanation_picture(explanation: Explanation) -> UInt8Array:
    """Draw it.

    Returns:
        uint8 ``[H, 1600, 3]`` RGB; H follows from the frame's shape.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    pen = Pen.of_text(_TEXT)
    frame = _frame_panel(explanation)
    heat = _heat_panel(explanation, pen)
    pictures = max(frame.shape[0], heat.shape[0])
    top = 196
    below = top + pictures + 64
    canvas = np.full((below + 44 + _PLOT[1] + _EDGE, WIDTH, 3), 255, np.uint8)
    right = WIDTH - _EDGE - _PANEL[0]
    _headline(canvas, explanation)
    event = explanation.event
    pen.text(
        canvas,
        f"Frame {event.peak_frame}, at {float(event.peak_time):.2f} s, where it scores best",
        _EDGE,
        top - 24,
        INK,
    )
    pen.text(canvas, _heat_title(explanation), right, top - 24, INK)
    canvas[top : top + frame.shape[0], _EDGE : _EDGE + frame.shape[1]] = frame
    canvas[top : top + heat.shape[0], right : right + heat.shape[1]] = heat
    pen.text(canvas, "Score over time", _EDGE, below, INK)
    plot = canvas[below + 28 : below + 28 + _PLOT[1], _EDGE : _EDGE + _PLOT[0]]
    draw_scores(plot, explanation)
    left = _EDGE + _PLOT[0] + 60
    _table(canvas, explanation, left, below, pen)
    return canvas


def write_explanation(path: Path | str, explanation: Explanation) -> None:
    """Write the picture as PNG, and its folder where there is none.

    Raises:
        OutputError: it can't be written.
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = opencv()
    path = Path(path)
    strongest = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    _, encoded = cv2.imencode(".png", explanation_picture(explanation)[..., ::-1], strongest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as exc:
        raise output_error(path, exc) from exc


def explanation_jpeg(explanation: Explanation) -> bytes:
    """The picture as JPEG, for a page."""
    cv2 = opencv()
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, encoded = cv2.imencode(".jpg", explanation_picture(explanation)[..., ::-1], quality)
    return bytes(encoded.tobytes())


def _headline(canvas: UInt8Array, explanation: Explanation) -> None:
    event = explanation.event
    names = [_name(event.subject), event.predicate, _name(event.object)]
    room = WIDTH - 2 * _EDGE - 6 * _GAP
    for size in (38, 32, 26):
        pen = Pen.of_text(size)
        if sum(map(pen.text_width, names)) <= room:
            break
    else:
        names = [_short(pen, name, room // 3) for name in names]
    left, middle = _EDGE, 46
    left = _plate(canvas, pen, names[0], event.subject, left, middle) + _GAP
    pen.text(canvas, names[1], left, middle, INK)
    left += pen.text_width(names[1]) + _GAP
    _plate(canvas, pen, names[2], event.object, left, middle)
    facts = (
        f"{float(event.start):.2f} to {float(event.end):.2f} s",
        f"mean score {event.score:.2f}",
        event.bundle,
        event.stream,
    )
    small = Pen.of_text(_TEXT)
    text = "   ".join(fact for fact in facts if fact)
    small.text(canvas, _short(small, text, WIDTH - 2 * _EDGE), _EDGE, 102, _SOFT)
    canvas[130:132, _EDGE : WIDTH - _EDGE] = _FAINT


def _plate(
    canvas: UInt8Array, pen: Pen, text: str, who: Participant, left: int, middle: int
) -> int:
    right = left + pen.text_width(text) + 28
    canvas[middle - 26 : middle + 26, left:right] = track_color(who.track_id)
    pen.text(canvas, text, left + 14, middle, INK)
    return right


def _name(who: Participant) -> str:
    return f"{who.label} #{who.track_id}"


def _scaled(image: UInt8Array, scale: float) -> UInt8Array:
    cv2 = opencv()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    # Much enlarged, a pixel is shown as what it is: a square, and in no need of many bytes.
    enlarged = cv2.INTER_NEAREST if scale >= _PIXELS_SHOW else cv2.INTER_LINEAR
    method = cv2.INTER_AREA if scale < 1 else enlarged
    resized: UInt8Array = cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
    return resized


def _fitting(height: int, width: int, room: tuple[int, int]) -> float:
    return min(room[0] / width, room[1] / height)


def _frame_panel(explanation: Explanation) -> UInt8Array:
    image, event = explanation.image, explanation.event
    scale = _fitting(image.shape[0], image.shape[1], _PANEL)
    panel = _scaled(image, scale)
    pen = Pen.of_text(22)
    pair = [(who, shifted(who.box, scale)) for who in (event.object, event.subject)]
    # No line between them: what joins them in the picture is often what counts.
    for who, box in pair:
        pen.box(panel, box, track_color(who.track_id), strong=True)
    for who, box in pair:
        pen.tag(panel, box, _name(who), track_color(who.track_id))
    return panel


def _heat_title(explanation: Explanation) -> str:
    if explanation.heat_map is None:
        return "No heat map"
    patch = explanation.heat_map.patch
    return f"What it looked at: score lost under a patch of {patch} pixels"


def _heat_panel(explanation: Explanation, pen: Pen) -> UInt8Array:
    heat = explanation.heat_map
    if heat is None:
        return _reason_panel(explanation.no_heat_map, pen)
    x1, y1, x2, y2 = heat.region
    bar_room = 150
    scale = _fitting(y2 - y1, x2 - x1, (_PANEL[0] - bar_room, _PANEL[1] - _NOTE_ROOM))
    crop = _scaled(explanation.image[y1:y2, x1:x2], scale)
    height, width = crop.shape[:2]
    top_value = max(_LEAST_SCALE, float(heat.cells.max()))
    strength = _display(heat, (width, height)) / top_value
    panel = np.full((max(height, 200) + _NOTE_ROOM, _PANEL[0], 3), 255, np.uint8)
    picture = _blended(_grey(crop), _colors(strength))
    _draw_outlines(picture, explanation, scale, x1, y1)
    panel[:height, :width] = picture
    _color_bar(panel, width + 24, max(height, 200), top_value, pen)
    notes = [f"The patch has {heat.fill.name} and moves by {heat.stride} pixels."]
    rise = -float(heat.cells.min())
    if float(heat.cells.max()) < LEAST_DROP:
        notes.append("No such place alone matters: see the table.")
    elif rise >= _LEAST_RISE:
        notes.append(f"The darkest parts raise the score when covered, by up to {rise:.2f}.")
    for k, line in enumerate(_wrapped(pen, " ".join(notes), _PANEL[0])[:_NOTE_LINES]):
        pen.text(panel, line, 0, max(height, 200) + 28 + 34 * k, _SOFT)
    return panel


def _draw_outlines(
    picture: UInt8Array, explanation: Explanation, scale: float, x: int, y: int
) -> None:
    """Thin boxes without names, which would hide what lies below."""
    event = explanation.event
    pen = Pen.of_text(22)
    for who in (event.object, event.subject):
        box = shifted(who.box, scale, -x * scale, -y * scale)
        pen.box(picture, box, track_color(who.track_id), strong=False)


def _display(heat: HeatMap, size: tuple[int, int]) -> Float32Array:
    """The map at the size of its panel, smooth between the middles of the cells."""
    x1, y1, x2, y2 = heat.region
    rows, columns = heat.cells.shape
    cv2 = opencv()
    whole = cv2.resize(
        np.maximum(heat.cells, 0),
        (columns * heat.stride, rows * heat.stride),
        interpolation=cv2.INTER_LINEAR,
    )[: y2 - y1, : x2 - x1]
    fitted: Float32Array = cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR)
    return fitted


def _colors(strength: Float32Array) -> UInt8Array:
    """From dark to light in even steps, told apart by all kinds of colour vision."""
    cv2 = opencv()
    level = np.clip(np.rint(255 * strength), 0, 255).astype(np.uint8)
    colors: UInt8Array = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1]
    return colors


def _grey(image: UInt8Array) -> UInt8Array:
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    # Lifted, so that the picture can be made out where nothing glows.
    lifted = np.rint(70 + grey * (185 / 255))
    return np.repeat(lifted[..., None], 3, 2).astype(np.uint8)


def _blended(below: UInt8Array, colors: UInt8Array) -> UInt8Array:
    mixed = (1 - _OPACITY) * below.astype(np.float32) + _OPACITY * colors
    return np.rint(mixed).astype(np.uint8)


def _color_bar(panel: UInt8Array, left: int, height: int, top_value: float, pen: Pen) -> None:
    """The colours as they look over a mid grey, with three values."""
    strength = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], 30, 1)
    grey = np.full((height, 30, 3), 160, np.uint8)
    panel[:height, left : left + 30] = _blended(grey, _colors(strength))
    for share in (0.0, 0.5, 1.0):
        y = min(max(round((1 - share) * height), 14), height - 14)
        pen.text(panel, f"{share * top_value:.2f}", left + 42, y, INK)


def _reason_panel(reason: str, pen: Pen) -> UInt8Array:
    lines = _wrapped(pen, f"There is none: {reason}. {_INSTEAD}", _PANEL[0] - 80)
    panel = np.full((340, _PANEL[0], 3), 243, np.uint8)
    for k, line in enumerate(lines):
        pen.text(panel, line, 40, 130 + 40 * k, INK)
    return panel


def _wrapped(pen: Pen, text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and pen.text_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _table(canvas: UInt8Array, explanation: Explanation, left: int, top: int, pen: Pen) -> None:
    right = WIDTH - _EDGE
    pen.text(canvas, "What if: the score on that frame", left, top, INK)
    rows = [("as it is", explanation.base_score)]
    rows += [(row.change, row.score) for row in explanation.what_if]
    for k, (change, score) in enumerate(rows):
        middle = top + 56 + 42 * k
        value = f"{score:.2f}"
        start = right - pen.text_width(value)
        pen.text(canvas, _short(pen, change, start - left - 20), left, middle, INK)
        pen.text(canvas, value, start, middle, INK)
        canvas[middle + 20 : middle + 21, left:right] = _FAINT


def _short(pen: Pen, text: str, width: int) -> str:
    if pen.text_width(text) <= width:
        return text
    while text and pen.text_width(text + "...") > width:
        text = text[:-1]
    return text + "..."
