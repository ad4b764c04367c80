"""Which scores become events: chosen on synthetic clips, by the events that come of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vinfer.bundles import EventThresholds
from vinfer.errors import TrainingError
from vinfer.evaluation.event_truth import EventTruth, normalised, truth_of_labels
from vinfer.evaluation.events import EventCounts, evaluate_events
from vinfer.events.segments import Segmenter
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.stages.track import Tracker
from vinfer.training.relation_data import UInt8Image
from vinfer.training.sprites import SpriteClip, clip_truth, make_clip
from vinfer.types import Detections, Event, Relations

FIRST_SEED = 4001
"""Of the clips that thresholds are chosen on; neither training nor a test uses them."""

ON = (0.5, 0.8, 0.9, 0.95, 0.98)
"""From 0.5, since an event must be more likely true than not."""

MIN_PEAKS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
"""Closer together near 1, where the scores of a network that was trained on hard negatives are."""

HYSTERESIS = (0.02, 0.05, 0.1, 0.2, 0.4)
MIN_DURATIONS = (0.2, 0.3, 0.4, 0.5, 0.6)

LONGEST_GAP = 1.0
"""Seconds for which an event survives a miss or a low score: as long as a track is not given up
(`vinfer.stages.track.Tracker`). Not chosen on the clips: in these a pair is related once in a shot,
so that no gap would be too long."""

MOST_AT_RISK = 0.1
"""Events a minute. Half of it lost a twentieth of the events of an earlier network: tried on 300
clips of seeds from 20,001 on."""

AS_GOOD = 0.03
"""Of F1, which is worth less than certainty: a false event costs a person's time. With a third of
it five events of that network were false on those clips, with this three."""

_Place = tuple[float, float, float, float]
"""``on``, how far ``off`` is below it, ``min_peak`` (at least ``on``), ``min_duration``."""

Objects = Callable[[int, UInt8Image], Detections]
"""Takes the number of a frame and its pixels, gives its tracked objects."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ScoredClip:
    """What a relation model says of a clip.

    Attributes:
        truth: the true events.
        frames: time, tracked objects and their relations of each frame.
    """

    truth: EventTruth
    frames: tuple[tuple[Fraction, Detections, Relations], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ChosenThresholds:
    """The thresholds of one predicate and what they gave on the clips they were chosen on.

    Attributes:
        thresholds: for the manifest.
        truths, found: true events, and those that were found.
        false: events that are not true.
        at_risk: the same where ``min_peak``, ``min_duration`` or both are a step lower, the most of
            them.
        f1: of its events.
    """

    thresholds: EventThresholds
    truths: int
    found: int
    false: int
    at_risk: int
    f1: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record of the figures."""
        figures = dataclasses.asdict(self)
        del figures["thresholds"]
        return figures


def clips_with_cuts(num_clips: int, first_seed: int = FIRST_SEED) -> list[SpriteClip]:
    """Clips of 6 s, every fourth with a cut; clip k has the seed ``first_seed + k``."""
    return [make_clip(first_seed + k, num_cuts=k % 4 == 3) for k in range(num_clips)]


def known_objects(found: Sequence[Detections]) -> Objects:
    """Objects that are there already, one entry a frame."""
    return lambda number, _: found[number]


def seen_objects(clip: SpriteClip, detector: Detector) -> Objects:
    """A clip's objects as the engine sees them: boxes, names and misses of a detector, tracked.

    Frames are to be asked for in their order, each once.

    Args:
        clip: the clip.
        detector: of anything; it is given the frames as they were drawn.

    Raises:
        MissingDependencyError: the package `trackers` is not installed.
    """
    tracker = Tracker(frame_rate=clip.rate)

    def seen(number: int, image: UInt8Image) -> Detections:
        if number in clip.cuts:
            tracker.reset()
        return tracker.update(detector.detect(image), clip.time(number))

    return seen


def score_clip(relator: Relator, clip: SpriteClip, objects: Objects) -> ScoredClip:
    """Run a relation model over a clip.

    Args:
        relator: of the sprites' vocabulary.
        clip: the clip.
        objects: of each frame.
    """
    frames = []
    for number in range(len(clip)):
        image = clip.image(number)
        found = objects(number, image)
        frames.append((clip.time(number), found, relator.relate(found, image)))
    return ScoredClip(
        truth=truth_of_labels(clip_truth(clip, f"sprites-{clip.seed}")), frames=tuple(frames)
    )


def events_of(
    clip: ScoredClip, thresholds: Mapping[str, EventThresholds], symmetric: Collection[str]
) -> list[Event]:
    """The events of a clip by the engine's rules; cuts end tracks, so they need no rule."""
    segmenter = Segmenter(clip.truth.stream, thresholds, symmetric=symmetric)
    events = []
    for index, (time, detections, relations) in enumerate(clip.frames):
        events += segmenter.push(time, index, detections, relations)
    events += segmenter.finish()
    return [event for event in events if event.type == "close"]


def event_f1(
    clips: Sequence[ScoredClip],
    thresholds: Mapping[str, EventThresholds],
    symmetric: Collection[str],
) -> float | None:
    """F1 of the events of all clips at temporal IoU 0.5; None where nothing is true or found."""
    events = [event for clip in clips for event in events_of(clip, thresholds, symmetric)]
    return evaluate_events([clip.truth for clip in clips], events).overall.f1


def choose_event_thresholds(
    clips: Sequence[ScoredClip],
    predicates: Iterable[str],
    *,
    symmetric: Collection[str] = (),
    most_at_risk_per_minute: float = MOST_AT_RISK,
) -> dict[str, ChosenThresholds]:
    """Thresholds with the best F1 of events at temporal IoU 0.5 within a budget of false ones.

    What is chosen as the best on some clips is worse on others: thresholds just above the score of
    the last false event are no margin. So the budget counts the events that are false where
    thresholds are a step lower.

    Args:
        clips: scored, of one model.
        predicates: that may become events.
        symmetric: those of them that hold both ways.
        most_at_risk_per_minute: events that may be false a step lower, a minute, of all predicates
            together, rounded down to whole events on these clips. They are spent where they raise
            the F1 of the predicates, weighted by their true events, most.

    Returns:
        By predicate; of those that are as good (`AS_GOOD`), the strictest: in order of
        ``min_peak``, ``min_duration``, ``on`` and ``off``. One that is not worth its false events
        is left out and so never becomes an event.

    Raises:
        TrainingError: there is no clip.
    """
    if not clips:
        raise TrainingError("clips: found none, expected some to choose thresholds on")
    names = list(predicates)
    minutes = float(sum(clip.truth.duration or 0 for clip in clips)) / 60
    budget = int(most_at_risk_per_minute * minutes)
    counted: dict[str, dict[_Place, EventCounts]] = {name: {} for name in names}
    for on, below in itertools.product(ON, HYSTERESIS):
        rules = _thresholds(on, below, min_peak=on, min_duration=0)
        # Keys are judged each by itself, so one run of the rules does for all predicates; and
        # what is too short or too low is dropped last, so it does for all of those, too.
        every = dict.fromkeys(names, rules)
        judged = [_JudgedEvents(clip.truth, events_of(clip, every, symmetric)) for clip in clips]
        peaks = [peak for peak in MIN_PEAKS if peak >= on]
        for min_peak, min_duration in itertools.product(peaks, MIN_DURATIONS):
            counts = _summed(each.counts(min_peak, min_duration) for each in judged)
            for name in names:
                if (found := counts.get(normalised(name))) is not None:
                    counted[name][on, below, min_peak, min_duration] = found
    return _shared_out({name: _candidates(by_place) for name, by_place in counted.items()}, budget)


def _candidates(counted: Mapping[_Place, EventCounts]) -> list[ChosenThresholds]:
    """Those of one predicate that find something."""
    candidates = []
    for place, counts in counted.items():
        on, below, min_peak, min_duration = place
        if not counts.found:
            continue
        lower_peak = _step_below(MIN_PEAKS, min_peak)
        lower_on = on if on <= lower_peak else _step_below(ON, on)
        lower = [
            (*levels, shorter)
            for levels in ((on, below, min_peak), (lower_on, below, lower_peak))
            for shorter in (min_duration, _step_below(MIN_DURATIONS, min_duration))
        ]
        candidates.append(
            ChosenThresholds(
                thresholds=_thresholds(on, below, min_peak, min_duration),
                truths=counts.truths,
                found=counts.found,
                false=counts.false,
                at_risk=max(counted[each].false for each in lower if each in counted),
                f1=counts.f1 or 0.0,
            )
        )
    return candidates


def _step_below(values: Sequence[float], value: float) -> float:
    return values[max(0, values.index(value) - 1)]


def _shared_out(
    affordable: Mapping[str, Sequence[ChosenThresholds]], budget: int
) -> dict[str, ChosenThresholds]:
    """One of each predicate or none, with the highest sum of F1 that the budget allows."""
    # By events at risk so far: the sum, and what was chosen. A predicate at a time.
    ways: dict[int, tuple[float, dict[str, ChosenThresholds]]] = {0: (0.0, {})}
    for name, candidates in affordable.items():
        best = {
            risk: _best([each for each in candidates if each.at_risk == risk])
            for risk in sorted({each.at_risk for each in candidates if each.at_risk <= budget})
        }
        for spent, (value, chosen) in sorted(ways.items(), reverse=True):
            for risk, each in best.items():
                total = spent + risk, value + each.f1 * each.truths
                if total[0] <= budget and total[1] > ways.get(total[0], (-1.0,))[0]:
                    ways[total[0]] = total[1], {**chosen, name: each}
    # The most; of equals, with the fewest at risk.
    return max(ways.items(), key=lambda way: (way[1][0], -way[0]))[1][1]


def _best(candidates: Sequence[ChosenThresholds]) -> ChosenThresholds:
    highest = max(each.f1 for each in candidates)
    return max(
        (each for each in candidates if each.f1 >= highest - AS_GOOD),
        key=lambda each: (
            each.thresholds.min_peak,
            each.thresholds.min_duration,
            each.thresholds.on,
            each.thresholds.off,
        ),
    )


def _thresholds(on: float, below: float, min_peak: float, min_duration: float) -> EventThresholds:
    return EventThresholds(
        on=on,
        off=round(on - below, 4),
        min_peak=min_peak,
        min_duration=min_duration,
        merge_gap=LONGEST_GAP,
        max_missing=LONGEST_GAP,
    )


class _JudgedEvents:
    """A clip's events against its true ones, for any `min_peak` and `min_duration`.

    Most thresholds leave the same events, and these are compared once.
    """

    def __init__(self, truth: EventTruth, events: Sequence[Event]) -> None:
        self._truth = truth
        self._events = events
        self._known: dict[tuple[int, ...], Mapping[str, EventCounts]] = {}

    def counts(self, min_peak: float, min_duration: float) -> Mapping[str, EventCounts]:
        """By normalised predicate."""
        # As the rules compare them (`vinfer.events.segments`): scores as float32, times exactly.
        peak, shortest = float(np.float32(min_peak)), Fraction(str(min_duration))
        kept = tuple(
            number
            for number, event in enumerate(self._events)
            if event.peak_score >= peak and event.duration >= shortest
        )
        if kept not in self._known:
            lasting = [self._events[number] for number in kept]
            self._known[kept] = evaluate_events([self._truth], lasting).by_predicate
        return self._known[kept]


def _summed(clips: Iterable[Mapping[str, EventCounts]]) -> dict[str, EventCounts]:
    total: dict[str, EventCounts] = {}
    for counts in clips:
        for name, each in counts.items():
            total[name] = total[name] + each if name in total else each
    return total
