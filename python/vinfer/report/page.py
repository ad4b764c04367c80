"""One self-contained HTML page from a run: style, script and data inline, no network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

from vinfer.report.drawing import track_color
from vinfer.stores.base import RunInfo
from vinfer.types import Event, RunSummary


@dataclasses.dataclass(frozen=True, slots=True)
class Explained:
    """An event's explanation: a picture and what it shows in words."""

    jpeg: bytes
    text: str


_MARK = re.compile(r"\{\{(\w+)\}\}")


def page_data(
    summary: RunSummary,
    run: RunInfo,
    *,
    video: str | None,
    cuts: Sequence[float],
    seen: Mapping[str, int],
    thumbnail: Callable[[str], bytes | None],
    explained: Mapping[str, Explained] | None = None,
) -> dict[str, Any]:
    """What the page shows, JSON-ready.

    Args:
        summary: the run; its final events are listed.
        run: what made the results.
        video: path of the video relative to the page, or None.
        cuts: stream times of shot cuts, seconds.
        seen: number of tracks of each class.
        thumbnail: JPEG of an event by its id, or None.
        explained: explanations by event id, of as many events as have one.
    """
    info = summary.stream
    ends = [float(event.end) for event in summary.events]
    interval = 1 / info.average_rate if info.average_rate else 0
    length = float(summary.stream_seconds + interval) if summary.num_frames else 0.0
    pairs: dict[tuple[str, int, str, int], int] = {}
    events = []
    for event in summary.events:
        key = (
            event.subject.label,
            event.subject.track_id,
            event.object.label,
            event.object.track_id,
        )
        record = _event_record(event, pairs.setdefault(key, len(pairs)))
        jpeg = thumbnail(event.event_id)
        if jpeg is not None:
            record["thumbnail"] = _data_url(jpeg)
        why = (explained or {}).get(event.event_id)
        if why is not None:
            record["explanation"] = {"picture": _data_url(why.jpeg), "text": why.text}
        events.append(record)
    return {
        "name": info.name,
        "size": [info.width, info.height],
        "rate": float(info.average_rate) if info.average_rate else None,
        "frames": summary.num_frames,
        "duration": round(max([length, *ends]), 6),
        "complete": summary.complete,
        "dropped": dict(sorted(summary.dropped.items())),
        "run": {
            "bundle": run.bundle,
            "detector": run.detector,
            "config_hash": run.config_hash,
            "version": run.version,
        },
        "video": None if video is None else quote(video, safe="/"),
        "cuts": [round(cut, 6) for cut in cuts],
        "predicates": list(run.predicates),
        "seen": dict(sorted(seen.items(), key=lambda item: (-item[1], item[0]))),
        "pairs": [
            {
                "subject": {"label": subject, "track": subject_track, "color": _css(subject_track)},
                "object": {"label": object_, "track": object_track, "color": _css(object_track)},
            }
            for subject, subject_track, object_, object_track in pairs
        ],
        "events": events,
    }


def _event_record(event: Event, pair: int) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "pair": pair,
        "predicate": event.predicate,
        "start": round(float(event.start), 6),
        "end": round(float(event.end), 6),
        "score": round(event.score, 4),
    }


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _css(track_id: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*track_color(track_id))


def render_page(data: Mapping[str, Any]) -> str:
    """The page as text.

    Names and labels come from files and models that others made: they reach the page only as JSON
    in which no tag can begin, and from there only as text. The content security policy names the
    one style sheet and the one script by hash, and no address to load anything from but the video.
    """
    style, script = _template("page.css"), _template("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_source_hash(style)}",
            f"script-src {_source_hash(script)}",
            "img-src data:",
            "media-src 'self' file:",  # for a page opened as a file, 'self' names nothing
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "policy": html.escape(policy, quote=True).replace("&#x27;", "'"),
        "title": html.escape(f"{data['name']} - vinfer report"),
        "style": style,
        "data": _inline_json(data),
        "script": script,
    }
    # One pass, so that a name which looks like a mark is not replaced again.
    return _MARK.sub(lambda mark: parts[mark[1]], _template("page.html"))


def _template(name: str) -> str:
    return resources.files("vinfer.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _inline_json(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
