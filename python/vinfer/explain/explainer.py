"""From a source and an event to an explanation: the run once more, then the one frame."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np

from vinfer.bundles.manifest import EventThresholds
from vinfer.delivery import Progress
from vinfer.engine import Engine
from vinfer.errors import ConfigError, SourceError, UnsupportedSourceError
from vinfer.explain.explanation import Explanation
from vinfer.explain.history import ScoreHistory, ScoreTrace, best_first
from vinfer.explain.occlusion import (
    Fill,
    OcclusionSettings,
    examined_region,
    occlusion_map,
)
from vinfer.explain.pair import PairScorer
from vinfer.explain.what_if import what_if
from vinfer.sources import Source, open_source
from vinfer.sources.address import camera_device, shown_url, url_scheme
from vinfer.stages.relate import Relator
from vinfer.types import Event, RunSummary, UInt8Array

# A pair that is scored alone differs in the last digits from one among others; more than this is
# another picture.
_SAME_SCORE = 0.05
_LISTED = 12

NOT_LOOKED_AT = "this model never looks at the picture, only at classes and boxes"
OUTSIDE = "the boxes lie outside the picture"


@dataclasses.dataclass(frozen=True, slots=True)
class Traced:
    """What a run found, with the scores of each event's pair.

    Attributes:
        summary: the run; `RunSummary.events` are the final events.
        history: has their traces.
    """

    summary: RunSummary
    history: ScoreHistory


def explain_event(
    engine: Engine,
    source: str | Path,
    event: Event | str | int | None = None,
    *,
    settings: OcclusionSettings | None = None,
    on_frame: Callable[[Progress], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain one event of a source.

    The source is read twice: all of it with the engine, which finds the same events each time, and
    then up to the event's best frame.

    Args:
        engine: what found, or would find, the event.
        source: as for `Engine.run`; a camera or live stream can't be read twice.
        event: the event, its ``event_id``, its number in order of time, from 1, or None for the one
            with the best score.
        settings: how finely the picture is examined.
        on_frame: called after each frame of the first reading.
        on_progress: called after each picture scored for the heat map, with how many were and will
            be scored.

    Raises:
        ConfigError: there is no such event; the message lists those there are.
        UnsupportedSourceError: the source can't be read twice.
        SourceError: it can't be read, or gave other pictures the second time.

    Example:
        >>> with vinfer.Engine() as engine:
        ...     explanation = explain_event(engine, "clip.mp4", 1)
        >>> explanation.base_score, explanation.heat_map
    """
    check_readable_twice(source)
    traced = trace_events(engine, source, on_frame=on_frame)
    chosen = choose_event(traced, event)
    explained = explain_events(
        engine, source, [chosen], traced.history.trace, settings=settings, on_progress=on_progress
    )
    with contextlib.closing(explained):
        return next(explained)


def trace_events(
    engine: Engine,
    source: str | Path | Source,
    *,
    on_frame: Callable[[Progress], None] | None = None,
) -> Traced:
    """Run the engine over a source, as `Engine.run`, and keep the scores of each event's pair.

    Raises:
        SourceError: it can't be read.
    """
    history = score_history(engine)
    summary = engine.run(source, history, on_progress=on_frame)
    return Traced(summary, history)


def score_history(engine: Engine, *, keep: int | None = None) -> ScoreHistory:
    """A sink for a run of this engine; ``keep`` as for `ScoreHistory`."""
    return ScoreHistory(engine.thresholds, symmetric=engine.relator.manifest.symmetric, keep=keep)


def choose_event(traced: Traced, wanted: Event | str | int | None = None) -> Event:
    """The event that is meant, by itself, id, number from 1, or None for the best.

    Raises:
        ConfigError: there is no such event; the message lists those there are.
    """
    events = traced.summary.events
    name = traced.summary.stream.name
    if not events:
        raise ConfigError(
            f"{name}: no event was found in {traced.summary.num_frames} frames, so there is none "
            "to explain; lower a predicate's thresholds (events.predicates.NAME.on and .min_peak) "
            "or take another bundle"
        )
    if wanted is None:
        return min(events, key=best_first)
    if isinstance(wanted, int):
        if 1 <= wanted <= len(events):
            return events[wanted - 1]
    else:
        wanted = wanted.event_id if isinstance(wanted, Event) else wanted
        for event in events:
            if event.event_id == wanted:
                return event
    listed = [f"  {k} {e.event_id} {e}" for k, e in enumerate(events[:_LISTED], 1)]
    if len(events) > _LISTED:
        listed.append(f"  and {len(events) - _LISTED} more")
    raise ConfigError(
        f"{name}: found no event {wanted}, expected a number from 1 to {len(events)} or an id of "
        "these (another bundle or configuration finds others):\n" + "\n".join(listed)
    )


def check_readable_twice(source: str | Path) -> None:
    """Refuse what is gone when it was read once.

    Raises:
        UnsupportedSourceError: it is a camera or a live stream.
    """
    if not isinstance(source, str):
        return
    if camera_device(source) is not None or url_scheme(source) in {"rtsp", "rtsps"}:
        raise UnsupportedSourceError(
            f"{_shown(source)}: a camera or live stream can't be read a second time, which "
            "explaining an event needs; record it to a file and give that"
        )


def explain_events(
    engine: Engine,
    source: str | Path,
    events: Sequence[Event],
    trace: Callable[[Event], ScoreTrace],
    *,
    settings: OcclusionSettings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Generator[Explanation]:
    """Explain events of a run that is over.

    Args:
        engine: what found them.
        source: what it found them in; read up to the last of their best frames.
        events: final ones.
        trace: gives each event's scores.
        settings, on_progress: as for `explain_event`.

    Yields:
        One explanation an event, in order of their best frames; one picture at a time is in memory.

    Raises:
        SourceError: the source can't be read, or gave other pictures than before.
    """
    wanted: dict[int, list[Event]] = {}
    for event in events:
        wanted.setdefault(event.peak_frame, []).append(event)
    if not wanted:
        return
    with open_source(source, **engine.config.source.model_dump()) as stream:
        for frame in stream:
            for event in wanted.pop(frame.index, []):
                if frame.time != event.peak_time:
                    raise _changed(source, event)
                explanation = explain_frame(
                    engine.relator,
                    event,
                    frame.image,
                    trace(event),
                    engine.thresholds[event.predicate],
                    settings=settings,
                    workers=engine.workers,
                    on_progress=on_progress,
                )
                if abs(explanation.base_score - event.peak_score) > _SAME_SCORE:
                    raise _changed(source, event)
                yield explanation
            if not wanted:
                return
    raise _changed(source, next(iter(wanted.values()))[0])


def explain_frame(
    relator: Relator,
    event: Event,
    image: UInt8Array,
    trace: ScoreTrace,
    thresholds: EventThresholds,
    *,
    settings: OcclusionSettings | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain an event of which everything is known already.

    Args:
        relator: what scored it.
        event: final, with the boxes of its best frame.
        image: that frame, uint8 ``[H, W, 3]`` RGB.
        trace: its scores.
        thresholds: of its predicate.
        settings: how finely the picture is examined.
        workers: threads that score covered pictures.
        on_progress: as for `explain_event`.
    """
    scorer = PairScorer(relator, event)
    base_score = scorer.score(image)
    fill = _fill(relator, image)
    settings = settings or OcclusionSettings()
    region = examined_region(
        event.subject.box, event.object.box, settings.margin, (image.shape[0], image.shape[1])
    )
    heat_map, reason = None, ""
    if not scorer.needs_image:
        reason = NOT_LOOKED_AT
    elif region is None:
        reason = OUTSIDE
    else:
        heat_map = occlusion_map(
            image,
            region,
            scorer.score,
            base_score,
            fill=fill,
            settings=settings,
            workers=workers,
            on_progress=on_progress,
        )
    return Explanation(
        event=event,
        image=image,
        trace=trace,
        thresholds=thresholds,
        base_score=base_score,
        heat_map=heat_map,
        no_heat_map=reason,
        what_if=what_if(scorer, event, image, fill.color),
    )


def _fill(relator: Relator, image: UInt8Array) -> Fill:
    """The colour that says least: what the network takes as zero, where it says so."""
    picture = relator.manifest.picture
    if picture is not None and any(picture.mean):
        color, name = np.array(picture.mean), "the network's mean colour"
    else:
        color, name = image.mean(axis=(0, 1)), "the picture's mean colour"
    red, green, blue = np.clip(np.rint(color), 0, 255).astype(int).tolist()
    return Fill((red, green, blue), name)


def _changed(source: str | Path, event: Event) -> SourceError:
    return SourceError(
        f"{_shown(source)}: the frame at {float(event.peak_time):.2f} s is not what it was "
        f"when {event} was found; explain it from the file that was run, with the same settings"
    )


def _shown(source: str | Path) -> str:
    """The source without what may be secret in it."""
    text = str(source)
    return shown_url(text) if url_scheme(text) else text
