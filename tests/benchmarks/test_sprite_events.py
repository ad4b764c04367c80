"""benchmarks/sprite_events.py: it measures what it says, from the clips to the figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import pytest

from benchmarks.sprite_events import measured, stream
from vinfer.training.sprites import CLASSES, SYMMETRIC, SpriteClip, make_clip
from vinfer.types import Event, Participant


def true_events(clip: SpriteClip) -> Sequence[Event]:
    """What a perfect engine would find: symmetric ones once, under the smaller track."""
    names = {
        int(track): CLASSES[label]
        for frame in clip.frames
        for track, label in zip(frame.track_ids, frame.labels, strict=True)
    }
    return [
        Event(
            type="close",
            event_id=f"{number:016x}",
            stream=stream(clip),
            start=event.start,
            end=event.end,
            start_frame=event.start_frame,
            end_frame=event.end_frame,
            subject=Participant(names[event.subject], event.subject, (0, 0, 1, 1)),
            predicate=event.predicate,
            object=Participant(names[event.object], event.object, (0, 0, 1, 1)),
            score=0.9,
            peak_score=0.9,
            peak_time=event.start,
            peak_frame=event.start_frame,
            support=2,
        )
        for number, event in enumerate(clip.events)
        if event.predicate not in SYMMETRIC or event.subject < event.object
    ]


@pytest.fixture(scope="module")
def clips() -> list[SpriteClip]:
    return [make_clip(7, kinds=["linked_to", "hits"]), make_clip(8, num_cuts=1)]


def test_a_perfect_engine(clips: list[SpriteClip]) -> None:
    result = measured(true_events, clips)
    overall = result["overall"]
    assert result["minutes"] == pytest.approx(0.2)
    assert (overall["precision"], overall["recall"], overall["f1"]) == (1.0, 1.0, 1.0)
    assert overall["f1_interval"] == (1.0, 1.0)
    assert overall["false_per_minute"] == 0
    assert overall["false_per_minute_below"] == pytest.approx(2.9957 / 0.2, rel=1e-3)
    assert result["by_predicate"]["linked to"]["truths"] >= 1
    assert result["false"] == result["missed"] == []


def test_one_that_is_late_and_says_too_much(clips: list[SpriteClip]) -> None:
    def find(clip: SpriteClip) -> Sequence[Event]:
        events = list(true_events(clip))
        if clip is clips[0]:
            late = dataclasses.replace(
                events[0], start=Fraction(50), end=Fraction(60), event_id="f" * 16
            )
            return [*events, late]
        return events[1:]

    overall = measured(find, clips)["overall"]
    number = sum(len(true_events(clip)) for clip in clips)
    assert overall["precision"] == pytest.approx((number - 1) / number)
    assert overall["recall"] == pytest.approx((number - 1) / number)
    assert overall["false_per_minute"] == pytest.approx(5)


def test_a_wrong_name_is_an_event_missed_and_one_made_up() -> None:
    clips = [make_clip(seed, kinds=["wears", "holds"]) for seed in range(3, 8)]

    def find(clip: SpriteClip) -> Sequence[Event]:
        def other(one: Participant) -> Participant:
            swapped = {"hat": "bowl", "bowl": "hat"}.get(one.label, one.label)
            return dataclasses.replace(one, label=swapped)

        return [
            dataclasses.replace(e, subject=other(e.subject), object=other(e.object))
            for e in true_events(clip)
        ]

    result = measured(find, clips)
    wears = result["by_predicate"]["wears"]
    assert (wears["f1"], wears["precision"], wears["recall"]) == (0, 0, 0)
    assert wears["predicted"] == wears["truths"] > 0
    assert all("wrong label" in text for text in [*result["false"], *result["missed"]])
