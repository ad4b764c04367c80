"""Synthetic clips: events exact to the frame, files that keep the times, a detector's faults."""

import hashlib
import itertools
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer.errors import ConfigError, OutputError, TrainingError
from vinfer.evaluation.event_truth import load_event_truth
from vinfer.training.sprites import (
    CLASSES,
    PREDICATES,
    SpriteClip,
    make_clip,
    make_clip_frames,
    noisy_detections,
    write_clip,
)
from vinfer.training.sprites.rules import relations_of
from vinfer.training.sprites.scene import Arm, Burst, Rope, Trail
from vinfer.training.sprites.scenes import make_scene
from vinfer.training.sprites.video_colours import with_video_colours

FRAMES = {0: "b0c43d5afc46b473", 31: "67ec248b996a243d", 59: "837cbf17799c2e19"}


@pytest.fixture(scope="module")
def clip() -> SpriteClip:
    return make_clip(3, num_cuts=1)


@pytest.mark.parametrize(("number", "expected"), FRAMES.items())
def test_same_bytes_on_every_machine(clip: SpriteClip, number: int, expected: str) -> None:
    image = clip.image(number)
    assert (image.shape, image.dtype) == ((144, 192, 3), np.uint8)
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == expected


def test_same_seed_same_clip(clip: SpriteClip) -> None:
    again = make_clip(3, num_cuts=1)
    assert again.events == clip.events
    assert again.scenes == clip.scenes
    assert make_clip(4, num_cuts=1).events != clip.events


def runs(clip: SpriteClip) -> list[tuple[int, int, int, str, int]]:
    """Events counted again, frame by frame and key by key."""
    keys = {
        (int(f.track_ids[s]), PREDICATES[p], int(f.track_ids[o]))
        for f in clip.frames
        for s, p, o in f.triplets.tolist()
    }
    found = []
    for subject, predicate, object_ in keys:
        true = []
        for frame in clip.frames:
            ids = frame.track_ids.tolist()
            row = (subject in ids and object_ in ids) and [
                ids.index(subject),
                PREDICATES.index(predicate),
                ids.index(object_),
            ]
            true.append(bool(row) and row in frame.triplets.tolist())
        start = 0
        for value, group in itertools.groupby(true):
            length = len(list(group))
            if value:
                found.append((start, start + length - 1, subject, predicate, object_))
            start += length
    return sorted(found)


@pytest.mark.parametrize("seed", range(6))
def test_events_are_the_runs_of_frames(seed: int) -> None:
    clip = make_clip(seed, num_cuts=seed % 3, num_frames=80)
    expected = runs(clip)
    assert len(expected) >= 2
    assert (
        sorted((e.start_frame, e.end_frame, e.subject, e.predicate, e.object) for e in clip.events)
        == expected
    )
    for event in clip.events:
        assert event.start == Fraction(event.start_frame, 10) == clip.time(event.start_frame)
        assert event.end == Fraction(event.end_frame, 10)
    order = [(e.start, e.end, e.subject) for e in clip.events]
    assert order == sorted(order)


@pytest.mark.parametrize("kind", [*PREDICATES, "bowl"])
def test_each_kind_begins_and_ends_once(kind: str) -> None:
    for seed in range(5):
        clip = make_clip(seed, kinds=(kind,), distractors=1)
        predicate = "on" if kind == "bowl" else kind
        assert [e.predicate for e in clip.events] == [predicate] * (1 + (kind == "linked_to"))
        event = clip.events[0]
        assert 0 < event.start_frame < event.end_frame < 59


def test_an_event_starts_with_what_is_drawn() -> None:
    """The mark appears with the first frame of the event and goes with the one after its last."""
    for kind, mark in (("holds", Arm), ("linked_to", Rope), ("hits", Burst), ("passing", Trail)):
        clip = make_clip(1, kinds=(kind,), distractors=0)
        event = clip.events[0]
        for number, scene in enumerate(clip.scenes):
            marks = [m for m in scene.marks if isinstance(m, mark)]
            whole = [
                m
                for m in marks
                if (not isinstance(m, Arm) or m.reach == "full")
                and (not isinstance(m, Rope) or m.whole)
            ]
            during = event.start_frame <= number <= event.end_frame
            assert bool(whole) >= during
            if kind != "passing":  # a car drives before and after it is beside something
                assert bool(whole) == during


def test_motion_is_smooth_and_stays_in_the_picture() -> None:
    for seed in range(6):
        clip = make_clip(seed)
        boxes = np.stack([frame.boxes for frame in clip.frames])
        assert np.abs(np.diff(boxes, axis=0)).max() <= 5
        assert boxes.min() >= 0
        assert boxes[..., 2].max() <= 192
        assert boxes[..., 3].max() <= 144


def test_a_cut_changes_tracks_and_background(clip: SpriteClip) -> None:
    (cut,) = clip.cuts
    before, after = clip.frames[cut - 1], clip.frames[cut]
    assert not set(before.track_ids.tolist()) & set(after.track_ids.tolist())
    assert min(after.track_ids) == max(before.track_ids) + 1
    assert not any(e.start_frame < cut <= e.end_frame for e in clip.events)
    within = np.abs(clip.image(cut - 1).astype(int) - clip.image(cut - 2)).mean()
    across = np.abs(clip.image(cut).astype(int) - clip.image(cut - 1)).mean()
    assert across > 3 * within


def test_occlusion_noise_and_blur_leave_the_labels(clip: SpriteClip) -> None:
    for options in ({"occlusion": True}, {"noise": 0}, {"blur": 2}):
        other = make_clip(3, num_cuts=1, **options)  # type: ignore[arg-type]
        assert other.events == clip.events
        for a, b in zip(clip.frames, other.frames, strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)
        assert (other.image(5) != clip.image(5)).any()
    still = make_clip(3, num_cuts=1, noise=0)
    assert (still.image(0)[:2] == still.image(1)[:2]).all()
    assert (clip.image(0)[:2] != clip.image(1)[:2]).any()


def test_the_file_keeps_pictures_times_and_truth(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    clip = make_clip(5, num_frames=30, rate=20)
    for name, lossless in (("plain.mp4", False), ("exact.mp4", True)):
        truth_path = write_clip(clip, tmp_path / "new" / name, lossless=lossless)
        with av.open(str(tmp_path / "new" / name)) as container:
            stream = container.streams.video[0]
            assert (stream.average_rate, stream.frames) == (20, 30)
            frames = list(container.decode(stream))
        assert [f.pts * f.time_base for f in frames] == [Fraction(k, 20) for k in range(30)]
        for number, frame in enumerate(frames):
            difference = np.abs(frame.to_ndarray(format="rgb24").astype(int) - clip.image(number))
            assert difference.max() == 0 if lossless else difference.mean() < 8
        (truth,) = load_event_truth(truth_path)
        assert truth.stream == name
        assert truth.duration == Fraction(30, 20)
        assert len(truth.events) == len(clip.events) > 0
        for found, event in zip(truth.events, clip.events, strict=True):
            assert (found.start, found.end) == (event.start, event.end)
            assert found.predicate == event.predicate.replace("_", " ")
            labels = dict(
                zip(
                    clip.frames[event.start_frame].track_ids.tolist(),
                    clip.frames[event.start_frame].labels.tolist(),
                    strict=True,
                )
            )
            assert found.subject == CLASSES[labels[event.subject]]
            assert found.object == CLASSES[labels[event.object]]
            assert found.scored


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_clip(make_clip(0, num_frames=20), tmp_path / "file" / "clip.mp4")


def test_a_perfect_detector(clip: SpriteClip) -> None:
    found = noisy_detections(clip, 0, jitter=0, drop_percent=0, switch_percent=0)
    for frame, detections in zip(clip.frames, found, strict=True):
        np.testing.assert_array_equal(detections.boxes, frame.boxes)
        np.testing.assert_array_equal(detections.labels, frame.labels)
        np.testing.assert_array_equal(detections.track_ids, frame.track_ids)
        assert detections.names == CLASSES
        assert (detections.scores >= 0.6).all()


def test_a_detectors_faults_come_at_their_rates() -> None:
    clip = make_clip(2, num_frames=400)
    found = noisy_detections(clip, 1)
    total = sum(len(frame.labels) for frame in clip.frames)
    missed = total - sum(map(len, found))
    assert abs(missed / total - 0.05) < 0.02
    identities = {int(i) for detections in found for i in detections.track_ids}
    switches = len(identities) - len(clip.frames[0].labels)
    assert abs(switches / total - 0.02) < 0.01
    moves = []
    for frame, detections in zip(clip.frames, found, strict=True):
        for label, box in zip(detections.labels, detections.boxes, strict=True):
            moves.append(np.abs(frame.boxes[frame.labels == label] - box).max(1).min())
        height, width = clip.size
        assert (detections.boxes >= 0).all()
        assert (detections.boxes <= [width, height, width, height]).all()
    assert set(moves) == {0.0, 1.0, 2.0}
    again = noisy_detections(clip, 1)
    assert all((a.boxes == b.boxes).all() for a, b in zip(found, again, strict=True))
    assert sum(map(len, noisy_detections(clip, 0, drop_percent=100))) == 0


def test_bad_arguments_are_refused(clip: SpriteClip) -> None:
    for arguments, message in (
        ({"seed": -1}, "seed: found -1"),
        ({"num_frames": 19}, "num_frames: found 19, expected 20 to 10000 with 0 cuts"),
        ({"num_frames": 39, "num_cuts": 1}, "expected 40 to 10000 with 1 cuts"),
        ({"num_cuts": -1}, "num_cuts: found -1"),
        ({"rate": 30}, "rate: found 30, expected a divisor of 1000"),
        ({"rate": 0}, "rate: found 0"),
        ({"size": (145, 192)}, "expected even numbers"),
        ({"size": (64, 192)}, "expected .* of 128 to 1024"),
        ({"kinds": ("near",)}, r"kinds: found \['near'\], expected 1 to 3 of on, inside_of"),
        ({"kinds": ()}, "kinds: found"),
        ({"distractors": 5}, "distractors: found 5, expected 0 to 4"),
        ({"noise": 100}, "noise: found 100"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_clip(**{"seed": 0, **arguments})  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="no room for passing, passing, passing and 4 distr"):
        make_clip(0, kinds=("passing",) * 3, distractors=4, size=(128, 128))
    for arguments, message in (
        ({"jitter": 9}, "jitter: found 9, expected 0 to 8"),
        ({"drop_percent": 101}, "drop_percent: found 101"),
        ({"switch_percent": -1}, "switch_percent: found -1"),
        ({"seed": -2}, "seed: found -2"),
    ):
        with pytest.raises(ConfigError, match=message):
            noisy_detections(clip, **{"seed": 0, **arguments})


def test_the_example_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    page = (Path(__file__).resolve().parents[2] / "docs" / "sprites.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["image"].shape == (128, 128, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.json", "clip.mp4"]
    assert capsys.readouterr().out.split()[0] in PREDICATES


def test_frames_of_clips_as_training_pictures() -> None:
    data = make_clip_frames(3, 70, frames_per_clip=2, jitter=0, drop_percent=0)
    assert [picture.name.rsplit("-", 1)[0] for picture in data.pictures] == [
        f"clip-{seed}" for seed in (70, 70, 71, 71, 72, 72)
    ]
    for picture in data.pictures:
        _, seed, number = picture.name.split("-")
        clip = make_clip(int(seed))
        frame = clip.frames[int(number)]
        np.testing.assert_array_equal(picture.boxes, frame.boxes)
        np.testing.assert_array_equal(picture.labels, frame.labels)
        assert picture.triplets.tolist() == frame.triplets.tolist()
        assert data.read is not None
        np.testing.assert_array_equal(data.read(picture), clip.image(int(number)))


def test_single_frames_are_composed_as_stills() -> None:
    data = make_clip_frames(1, 70, num_singles=40, frames_per_clip=1, jitter=0, drop_percent=0)
    singles = data.pictures[1:]
    assert [picture.name for picture in singles] == [f"single-{70 + k}" for k in range(40)]
    for picture in singles:
        scene = make_scene(int(picture.name.split("-")[1]), 0, height=144, width=192)
        assert picture.triplets.tolist() == [list(each) for each in relations_of(scene)]
        assert picture.size == (144, 192)
    assert data.read is not None
    first, second = data.read(singles[0]), data.read(singles[1])
    assert first.shape == (144, 192, 3)
    assert (first != second).any()
    assert sum(len(picture.triplets) for picture in singles) > 40
    again = make_clip_frames(1, 70, num_singles=1, frames_per_clip=1, jitter=0, drop_percent=0)
    assert again.read is not None
    np.testing.assert_array_equal(again.read(again.pictures[1]), first)


def test_half_of_the_pictures_may_have_the_colours_of_video() -> None:
    made: dict[str, Any] = {
        "num_singles": 30,
        "frames_per_clip": 10,
        "jitter": 0,
        "drop_percent": 0,
    }
    plain = make_clip_frames(1, 70, **made)
    data = make_clip_frames(1, 70, video_colours=True, **made)
    assert plain.read is not None
    assert data.read is not None
    as_video = 0
    for picture in data.pictures:
        image, as_drawn = data.read(picture), plain.read(picture)
        if (image != as_drawn).any():
            as_video += 1
            np.testing.assert_array_equal(image, with_video_colours(as_drawn))
    assert 10 < as_video < 30 <= len(data.pictures)


def test_video_colours_are_those_of_a_video() -> None:
    clip = make_clip(3, num_frames=20)
    image = clip.image(0)
    ours = with_video_colours(image)
    av = pytest.importorskip("av")
    bt709, limited = 1, 1
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=bt709, dst_color_range=limited)
    frame = frame.reformat(format="rgb24", src_colorspace=bt709, src_color_range=limited)
    theirs = frame.to_ndarray(format="rgb24").astype(int)
    # Its 8 bits of limited range are coarser than ours, which the mean shows.
    assert np.abs(ours - theirs).mean() < 2 < np.abs(image - theirs).mean()
    grey = np.repeat(image[:, :, :1], 3, 2)
    np.testing.assert_array_equal(with_video_colours(grey), grey)


def test_hard_clips() -> None:
    data = make_clip_frames(1, 70, num_hard_clips=3, frames_per_clip=6, jitter=0, drop_percent=0)
    hard = [picture for picture in data.pictures if picture.name.startswith("hard-")]
    assert len(hard) == 18
    for picture in hard:
        _, seed, number = picture.name.split("-")
        clip = make_clip(int(seed), kinds=("moving_towards", "passing", "linked_to"))
        assert picture.triplets.tolist() == clip.frames[int(number)].triplets.tolist()
        assert data.read is not None
        np.testing.assert_array_equal(data.read(picture), clip.image(int(number)))
    found = {PREDICATES[p] for picture in hard for _, p, _ in picture.triplets.tolist()}
    assert found
    assert found <= {"moving_towards", "passing", "linked_to"}


def test_what_a_detector_misses_takes_part_in_no_relation() -> None:
    whole = make_clip_frames(10, 80, jitter=0, drop_percent=0)
    data = make_clip_frames(10, 80, jitter=2, drop_percent=30)
    assert sum(len(p.labels) for p in data.pictures) < sum(len(p.labels) for p in whole.pictures)
    complete = {p.name: p for p in whole.pictures}
    for picture in data.pictures:
        assert len(picture.triplets) <= len(complete[picture.name].triplets)
        for subject, predicate, object_ in picture.triplets.tolist():
            named = (picture.labels[subject], predicate, picture.labels[object_])
            true = complete[picture.name]
            assert named in [(true.labels[s], p, true.labels[o]) for s, p, o in true.triplets]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_clips": 0}, "num_clips: found 0"),
        ({"num_clips": 1, "num_singles": -1}, "num_singles: found -1"),
        ({"num_clips": 1, "num_hard_clips": -1}, "num_hard_clips: found -1"),
        ({"num_clips": 1, "frames_per_clip": 21}, "frames_per_clip: found 21"),
        ({"num_clips": 1, "jitter": 9}, "jitter: found 9"),
    ],
)
def test_clip_frames_refuse(arguments: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make_clip_frames(seed=1, **arguments)
