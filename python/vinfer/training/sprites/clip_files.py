"""Writing clips: an MP4 with exact times, and its true events beside it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vinfer.errors import MissingDependencyError, OutputError
from vinfer.stores.files import output_error
from vinfer.training.sprites.clips import SpriteClip
from vinfer.training.sprites.scene import CLASSES, SYMMETRIC

if TYPE_CHECKING:
    from av.video.stream import VideoStream

SCHEMA = "vinfer-events-truth/1"

CLOCK = 90_000
"""Ticks a second of the MP4; every rate of a clip divides it."""

# One thread, as x264 divides pictures by the number of threads. No B-frames: decoding order is
# presentation order, so the first picture is at 0 without an edit list.
_PLAYABLE = {"preset": "medium", "crf": "12", "bf": "0", "threads": "1", "g": "10"}
_LOSSLESS = {"preset": "medium", "qp": "0", "bf": "0", "threads": "1", "g": "10"}
_BT709, _LIMITED_RANGE = 1, 1


def write_clip(clip: SpriteClip, path: Path | str, *, lossless: bool = False) -> Path:
    """Write the clip as H.264 in MP4, and its truth beside it as JSON.

    Args:
        clip: the clip.
        path: of the MP4; the truth goes to the same name with ``.json``. Both are replaced.
        lossless: code RGB exactly, which few players show; otherwise 4:2:0 at high quality.

    Returns:
        The path of the truth.

    Raises:
        MissingDependencyError: PyAV is not installed, or its FFmpeg has no x264.
        OutputError: a file can't be written.
    """
    path = Path(path)
    try:
        _write_video(clip, path, lossless)
        truth = path.with_suffix(".json")
        truth.write_text(json.dumps(clip_truth(clip, path.name), indent=1) + "\n")
    except OSError as exc:
        raise output_error(path, exc) from exc
    return truth


def _write_video(clip: SpriteClip, path: Path, lossless: bool) -> None:
    try:
        import av
    except ImportError as exc:
        raise MissingDependencyError.of("PyAV", "video", exc) from exc
    codec = "libx264rgb" if lossless else "libx264"
    if codec not in av.codecs_available:
        raise MissingDependencyError(
            f"PyAV is installed, but its FFmpeg has no {codec}; install it from PyPI: "
            "pip install --force-reinstall av"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(path), "w", format="mp4") as container:
            options = _LOSSLESS if lossless else _PLAYABLE
            stream = cast(
                "VideoStream", container.add_stream(codec, rate=clip.rate, options=options)
            )
            stream.height, stream.width = clip.size
            stream.pix_fmt = "rgb24" if lossless else "yuv420p"
            context = stream.codec_context
            stream.time_base = context.time_base = Fraction(1, CLOCK)
            if not lossless:
                context.colorspace = context.color_primaries = context.color_trc = _BT709
                context.color_range = _LIMITED_RANGE
            for number in range(len(clip)):
                frame = av.VideoFrame.from_ndarray(clip.image(number), format="rgb24")
                if not lossless:
                    frame = frame.reformat(
                        format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
                    )
                frame.pts = number * (CLOCK // clip.rate)
                frame.time_base = Fraction(1, CLOCK)
                for packet in stream.encode(frame):
                    packet.duration = CLOCK // clip.rate
                    container.mux(packet)
            container.mux(stream.encode(None))
    except av.FFmpegError as exc:
        raise OutputError(f"can't write {path}: {exc}") from exc


def clip_truth(clip: SpriteClip, video: str) -> dict[str, Any]:
    """The true events in schema ``vinfer-events-truth/1``, JSON-ready.

    Args:
        clip: the clip.
        video: name of its file.
    """

    def seconds(frame: int) -> float:
        return float(clip.time(frame))

    tracks: dict[int, list[int]] = {}
    labels: dict[int, int] = {}
    for number, frame in enumerate(clip.frames):
        for track, label in zip(frame.track_ids.tolist(), frame.labels.tolist(), strict=True):
            tracks.setdefault(track, []).append(number)
            labels[track] = label
    names = {track: f"{CLASSES[label]}{track}" for track, label in labels.items()}
    height, width = clip.size
    return {
        "schema": SCHEMA,
        "how": f"made by code (vinfer sprites, seed {clip.seed}); exact and complete",
        "time": "seconds of the stream's own clock, first frame at 0; start and end are the times "
        "of the first and the last frame on which it holds",
        "certainty": "sure",
        "symmetric": list(SYMMETRIC),
        "video": video,
        "width": width,
        "height": height,
        "fps": clip.rate,
        "frames": len(clip),
        "duration": seconds(len(clip)),
        "cuts": [seconds(cut) for cut in clip.cuts],
        "cut_frames": list(clip.cuts),
        "presence": [
            {
                "id": names[track],
                "class": CLASSES[labels[track]],
                "track_id": track,
                "intervals": [[seconds(numbers[0]), seconds(numbers[-1])]],
            }
            for track, numbers in tracks.items()
        ],
        "events": [
            {
                "subject": names[event.subject],
                "predicate": event.predicate,
                "object": names[event.object],
                "start": float(event.start),
                "end": float(event.end),
                "start_frame": event.start_frame,
                "end_frame": event.end_frame,
                "certainty": "sure",
            }
            for event in clip.events
        ],
    }
