"""The score of a pair over time, with thresholds and the event's time, as a plain line plot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from vinfer.explain.explanation import Explanation
from vinfer.report.drawing import INK, Color, Pen, opencv
from vinfer.types import UInt8Array

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 166, 14, 84  # room around the plot for its words, pixels
_EVENT: Color = (214, 230, 250)
_LINE: Color = (29, 95, 196)
_GRID: Color = (224, 228, 233)
_THRESHOLD: Color = (150, 70, 10)
_SOFT: Color = (88, 98, 115)
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_TICKS = 8
_TEXT = 26  # from one line of words to the next, pixels


def draw_scores(canvas: UInt8Array, explanation: Explanation) -> None:
    """Draw into a white picture; gaps of the line are frames on which the pair was not seen."""
    cv2 = opencv()
    pen = Pen.of_text(23)
    height, width = int(canvas.shape[0]), int(canvas.shape[1])
    event, trace = explanation.event, explanation.trace
    times = [float(time) for time in trace.times]
    first = min([*times, float(event.start)])
    last = max([*times, float(event.end)])
    if last <= first:
        first, last = first - 0.5, last + 0.5

    def x_of(time: float) -> int:
        return round(_LEFT + (time - first) / (last - first) * (width - _LEFT - _RIGHT))

    def y_of(score: float) -> int:
        return round(_TOP + (1 - score) * (height - _TOP - _BOTTOM))

    left, right = x_of(first), x_of(last)
    start, end = x_of(float(event.start)), x_of(float(event.end))
    canvas[y_of(1) : y_of(0), start : max(end, start + 2)] = _EVENT
    for score in (0.0, 0.5, 1.0):
        canvas[y_of(score), left:right] = _GRID
        text = f"{score:.1f}"
        pen.text(canvas, text, left - 12 - pen.text_width(text), y_of(score), _SOFT)
    step = next((s for s in _STEPS if (last - first) / s <= _MOST_TICKS), _STEPS[-1])
    digits = 1 if step < 1 else 0
    for k in range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1):
        x = x_of(k * step)
        canvas[y_of(0) : y_of(0) + 7, x : x + 2] = _SOFT
        text = f"{k * step:.{digits}f} s"
        pen.text(canvas, text, x - pen.text_width(text) // 2, y_of(0) + 26, _SOFT)
    _thresholds(canvas, explanation, pen, (left, right), y_of)
    points = [
        None if math.isnan(score) else (x_of(time), y_of(score))
        for time, score in zip(times, trace.scores.tolist(), strict=True)
    ]
    for before, after in itertools.pairwise(points):
        if before is not None and after is not None:
            cv2.line(canvas, before, after, _LINE, 3, cv2.LINE_AA)
    if sum(point is not None for point in points) <= 60:
        for point in points:
            if point is not None:
                cv2.circle(canvas, point, 5, _LINE, cv2.FILLED, cv2.LINE_AA)
    best = (x_of(float(event.peak_time)), y_of(event.peak_score))
    cv2.circle(canvas, best, 10, INK, 3, cv2.LINE_AA)
    _legend(canvas, pen, left, height - 18)


def _thresholds(
    canvas: UInt8Array,
    explanation: Explanation,
    pen: Pen,
    across: tuple[int, int],
    y_of: Callable[[float], int],
) -> None:
    left, right = across
    limits = explanation.thresholds
    labels = [("on", limits.on)]
    if limits.min_peak > limits.on:
        labels.insert(0, ("peak", limits.min_peak))
    if limits.off < limits.on:
        labels.append(("off", limits.off))
    middles = [max(y_of(labels[0][1]), _TEXT // 2)]  # a word at the top would leave the canvas
    for _, score in labels[1:]:
        middles.append(max(y_of(score), middles[-1] + _TEXT))  # and two would overlap
    above = max(middles[-1] - y_of(0), 0)
    for (name, score), middle in zip(labels, (m - above for m in middles), strict=True):
        for x in range(left, right, 16):
            canvas[y_of(score) : y_of(score) + 2, x : min(x + 9, right)] = _THRESHOLD
        pen.text(canvas, f"{name} {score:g}", right + 14, middle, _THRESHOLD)


def _legend(canvas: UInt8Array, pen: Pen, left: int, middle: int) -> None:
    cv2 = opencv()
    canvas[middle - 11 : middle + 11, left : left + 26] = _EVENT
    pen.text(canvas, "the event", left + 38, middle, _SOFT)
    x = left + 220
    cv2.circle(canvas, (x, middle), 9, INK, 3, cv2.LINE_AA)
    pen.text(canvas, "the frame above", x + 24, middle, _SOFT)
