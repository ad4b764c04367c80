"""The engine on clips made by code: the right events, whatever goes wrong on the way."""

import hashlib
import importlib.util
import json
import threading
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_parts
from tiny_bundles import (
    APART,
    NAN_BLUE,
    RIDING,
    detector_graph,
    pack_detector,
    pack_picture_relations,
    pack_relations,
    picture_relation_graph,
    plain,
    relation_graph,
)
from videos import noisy, truncate, write_video

import vinfer
from vinfer.engine import Engine
from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo

RATE = 10


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    pack_detector(folder, detector_graph())
    pack_relations(folder, relation_graph())
    pack_picture_relations(folder, picture_relation_graph())
    return folder


@pytest.fixture
def engine(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("VINFER_BUNDLES", str(bundles))
    with Engine("tiny-relations") as engine:
        yield engine


def clip(path: Path, reds: list[int], *, blues: dict[int, int] | None = None) -> Path:
    pictures = [plain(red, blue=(blues or {}).get(i, 0)) for i, red in enumerate(reds)]
    return write_video(path, pictures, rate=RATE, options={"crf": "0"}, pix_fmt="yuv444p")


@pytest.fixture
def ride(tmp_path: Path) -> Path:
    """Apart for a second, riding for two, apart for one."""
    return clip(tmp_path / "ride.mkv", [APART] * 10 + [RIDING] * 20 + [APART] * 10)


@pytest.fixture(params=[1, 2])
def seeing(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    """With a relation model that looks at the picture, on one thread and on two."""
    monkeypatch.setenv("VINFER_BUNDLES", str(bundles))
    config = vinfer.Config(threads=request.param, provider="cpu")
    with Engine("tiny-pictures", config=config) as engine:
        yield engine


class Recorder:
    """A sink that notes what it was told, and fails where it is told to."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.events: list[Event] = []
        self.summary: RunSummary | None = None
        self.fail_at = fail_at

    def open(self, info: StreamInfo, run: Any) -> None:
        self.calls.append("open")

    def frame(self, frame: Frame, result: FrameResult) -> None:
        if frame.index == self.fail_at:
            raise vinfer.OutputError("no space left on the test's device")
        self.calls.append(f"frame {frame.index}")

    def event(self, event: Event) -> None:
        self.calls.append(event.type)
        self.events.append(event)

    def close(self, summary: RunSummary) -> None:
        self.calls.append("close")
        self.summary = summary


def test_infer_finds_the_pair(engine: Engine) -> None:
    found = engine.infer(plain(RIDING))
    assert [found.detections.name(i) for i in range(2)] == ["person", "bicycle"]
    assert found.to_dict()["relations"][0] == {
        "subject": 0,
        "predicate": "ride",
        "object": 1,
        "score": pytest.approx(1 / (1 + np.exp(-13 / 3)), abs=1e-3),
    }
    apart = engine.infer(plain(APART)).relations
    assert "ride" not in [apart.name(i) for i in range(len(apart))]


def test_an_event_has_the_right_start_and_end(engine: Engine, ride: Path) -> None:
    recorder = Recorder()
    summary = engine.run(ride, recorder)
    assert [str(event.predicate) for event in summary.events] == ["ride"]
    event = summary.events[0]
    # The box jumps by more than a track can follow, so the pair needs one frame to be seen again.
    assert Fraction(1) <= event.start <= Fraction(12, 10)
    assert event.end == Fraction(29, 10)
    assert (event.subject.label, event.object.label) == ("person", "bicycle")
    assert summary.num_frames == 40
    assert summary.complete
    assert recorder.summary == summary
    types = [event.type for event in recorder.events]
    assert (types[0], types[-1]) == ("open", "close")
    assert set(types[1:-1]) <= {"update"}
    assert len({event.event_id for event in recorder.events}) == 1


def test_a_model_that_sees_the_picture_gets_each_frame(seeing: Engine, ride: Path) -> None:
    events = seeing.run(ride).events
    # Both ways: that graph does not look at classes. 1 - mean red is 1 while riding, 0.02 apart.
    named = sorted((event.subject.label, event.object.label) for event in events)
    assert named == [("bicycle", "person"), ("person", "bicycle")]
    for event in events:
        assert Fraction(1) <= event.start <= Fraction(12, 10)
        assert event.end == Fraction(29, 10)
        assert event.score == pytest.approx(1, abs=0.02)
    assert list(seeing.watch(ride))[-2:] == list(events)


def test_a_model_that_sees_the_picture_infers(seeing: Engine) -> None:
    relations = seeing.infer(plain(102)).relations
    assert {relations.name(k): float(relations.scores[k]) for k in range(len(relations))} == {
        "ride": pytest.approx(0.6, abs=1e-6),
        "near": pytest.approx(0.1),
    }
    seeing.close()
    with pytest.raises(vinfer.BackendError, match="closed"):
        seeing.infer(plain(102))


def test_frames_are_let_go(seeing: Engine, ride: Path) -> None:
    class Counter(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.images: list[weakref.ref[Any]] = []
            self.most = 0

        def frame(self, frame: Frame, result: FrameResult) -> None:
            self.images.append(weakref.ref(frame.image))
            self.most = max(self.most, sum(ref() is not None for ref in self.images))

    counter = Counter()
    seeing.run(ride, counter)
    assert len(counter.images) == 40
    # This frame and the one before it, which the caller's loop may still name.
    assert counter.most <= 2


def test_the_backend_that_ran_is_in_the_hash_and_the_threads_are_not(
    bundles: Path, ride: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("openvino") is None:
        real_parts.missing("openvino is not installed")
    monkeypatch.setenv("VINFER_BUNDLES", str(bundles))
    hashes, events = [], []
    for backend, threads in (("onnxruntime", 1), ("openvino", 1), ("openvino", 2)):
        config = vinfer.Config(backend=backend, threads=threads, provider="cpu")
        with Engine("tiny-relations", config=config) as engine:
            described = engine.describe()
            assert {s["backend"] for s in described["sessions"].values()} == {backend}
            hashes.append(described["config_hash"])
            events.append(list(engine.watch(ride)))
    assert hashes[0] != hashes[1] == hashes[2]
    assert events[1] == events[2]
    assert [event.type for event in events[0]] == [event.type for event in events[1]]


def test_sinks_hear_open_frames_and_close_in_order(engine: Engine, ride: Path) -> None:
    recorder = Recorder()
    engine.run(ride, recorder)
    assert recorder.calls[0] == "open"
    assert recorder.calls[-1] == "close"
    assert recorder.calls.count("close") == 1 + sum(e.type == "close" for e in recorder.events)
    frames = [call for call in recorder.calls if call.startswith("frame")]
    assert frames == [f"frame {i}" for i in range(40)]


def test_watch_yields_what_run_writes(engine: Engine, ride: Path) -> None:
    recorder = Recorder()
    engine.run(ride, recorder)
    assert list(engine.watch(ride)) == recorder.events


def test_watch_can_be_left_early(engine: Engine, ride: Path) -> None:
    before = threading.active_count()
    events = engine.watch(ride)
    assert next(events).type == "open"
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_cut_ends_the_event(engine: Engine, tmp_path: Path) -> None:
    """The same pair goes on riding after the cut: two events, none across it."""
    noise = np.random.default_rng(0).integers(0, 2, (2, 16, 16))
    shots = []
    for pattern in noise:
        image = np.zeros((64, 64, 3), np.uint8)
        image[..., 1] = np.kron(pattern, np.ones((4, 4), int)) * 180
        shots += [image] * 15
    path = write_video(
        tmp_path / "cut.mkv", shots, rate=RATE, options={"crf": "0"}, pix_fmt="yuv444p"
    )
    first, second = engine.run(path).events
    assert first.end == Fraction(14, 10)
    assert second.start >= Fraction(15, 10)
    assert {first.subject.track_id, first.object.track_id}.isdisjoint(
        {second.subject.track_id, second.object.track_id}
    )


def test_nan_in_the_model_closes_files_and_raises(engine: Engine, tmp_path: Path) -> None:
    path = clip(tmp_path / "nan.mkv", [RIDING] * 20, blues={12: NAN_BLUE})
    recorder = Recorder()
    lines = tmp_path / "events.jsonl"
    with pytest.raises(vinfer.ModelOutputError, match="scores"):
        engine.run(path, vinfer.EventsJsonl(lines), recorder)
    assert recorder.summary is not None
    assert not recorder.summary.complete
    assert recorder.summary.num_frames == 12
    assert recorder.events[-1].type == "close"
    assert [json.loads(line)["type"] for line in lines.read_text().splitlines()] == [
        event.type for event in recorder.events
    ]


def test_a_truncated_clip_keeps_what_was_found(engine: Engine, tmp_path: Path) -> None:
    pictures = [noisy(1, height=64, width=64) // 12 for _ in range(100)]
    whole = write_video(tmp_path / "whole.mkv", pictures, rate=RATE, options={"crf": "0"})
    broken = truncate(whole, tmp_path / "broken.mkv", 0.6)
    recorder = Recorder()
    with pytest.raises(vinfer.TruncatedSourceError):
        engine.run(broken, recorder)
    assert recorder.summary is not None
    assert not recorder.summary.complete
    assert recorder.summary.num_frames > 10
    assert [event.type for event in recorder.summary.events] == ["close"]


def test_a_failing_sink_ends_the_run_and_the_others_are_closed(engine: Engine, ride: Path) -> None:
    failing, other = Recorder(fail_at=20), Recorder()
    with pytest.raises(vinfer.OutputError, match="no space left"):
        engine.run(ride, failing, other)
    for sink in (failing, other):
        assert sink.calls[-1] == "close"
    assert other.events[-1].type == "close"


@pytest.mark.parametrize("fails_on", ["open", "close"])
def test_a_sink_that_fails_on_an_event_keeps_it_from_no_other(
    engine: Engine, ride: Path, fails_on: str
) -> None:
    class FailsOnEvent(Recorder):
        def event(self, event: Event) -> None:
            if event.type == fails_on:
                raise vinfer.OutputError("no space left for this event")

    other = Recorder()
    with pytest.raises(vinfer.OutputError, match="no space left for this event"):
        engine.run(ride, FailsOnEvent(), other)
    kinds = [event.type for event in other.events]
    assert (kinds[0], kinds[-1]) == ("open", "close")
    assert other.summary is not None
    assert [event.type for event in other.summary.events] == ["close"]


def test_a_sink_that_fails_on_a_frame_keeps_no_event_from_the_others(
    engine: Engine, ride: Path
) -> None:
    whole = Recorder()
    engine.run(ride, whole)
    last = whole.calls[: whole.calls.index("close")][-1]
    failing, other = Recorder(fail_at=int(last.removeprefix("frame "))), Recorder()
    with pytest.raises(vinfer.OutputError, match="no space left"):
        engine.run(ride, failing, other)
    assert other.summary is not None
    assert other.summary.events == (whole.events[-1],)
    assert other.events == whole.events


def test_a_source_is_closed_when_a_sink_cant_be_opened(engine: Engine, ride: Path) -> None:
    class FailsToOpen(Recorder):
        def open(self, info: StreamInfo, run: Any) -> None:
            raise vinfer.OutputError("no such folder")

    source = vinfer.open_source(ride)
    with pytest.raises(vinfer.OutputError, match="no such folder"):
        engine.run(source, FailsToOpen())
    assert list(source) == []


def test_an_interrupt_closes_the_files(engine: Engine, ride: Path, tmp_path: Path) -> None:
    recorder = Recorder()

    def interrupt(progress: vinfer.Progress) -> None:
        if progress.num_frames == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(ride, recorder, on_progress=interrupt)
    assert recorder.summary is not None
    assert not recorder.summary.complete
    assert recorder.events[-1].type == "close"


def test_progress_counts_frames_and_events(engine: Engine, ride: Path) -> None:
    seen: list[vinfer.Progress] = []
    engine.run(ride, on_progress=seen.append)
    assert [progress.num_frames for progress in seen] == list(range(1, 41))
    assert seen[-1].stream_time == Fraction(39, 10)
    assert seen[-1].num_events == 1


def test_same_bytes_alone_twice_and_among_seven(engine: Engine, ride: Path, tmp_path: Path) -> None:
    """Determinism: neither a second run nor company on other threads changes a byte."""

    def digest(name: str) -> str:
        path = tmp_path / f"{name}.jsonl"
        with vinfer.open_source(ride, name="clip") as source:
            engine.run(source, vinfer.EventsJsonl(path))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    alone = [digest("first"), digest("second")]
    together: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: digest(f"thread-{i}")}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*alone, *together.values()} == {alone[0]}
    assert len(together) == 8


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_events(bundles: Path, ride: Path, threads: int) -> None:
    config = vinfer.Config(
        bundle=str(bundles / "tiny-relations.vinfer"),
        detector=str(bundles / "tiny-detector.vinfer"),
        threads=threads,
    )
    with Engine(config=config) as engine:
        events = engine.run(ride).events
    assert [(event.event_id, event.start, event.end) for event in events] == [
        (events[0].event_id, events[0].start, Fraction(29, 10))
    ]
    assert events[0].config_hash == engine.run_info.config_hash


def test_infer_refuses_what_is_no_picture(engine: Engine) -> None:
    with pytest.raises(vinfer.DTypeError, match="uint8"):
        engine.infer(np.zeros((64, 64, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(vinfer.ShapeError):
        engine.infer(np.zeros((64, 64), np.uint8))
    with pytest.raises(vinfer.ShapeError):
        engine.infer(np.zeros((64, 64, 4), np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (4320, 7680)])
def test_any_size_works(engine: Engine, shape: tuple[int, int]) -> None:
    found = engine.infer(np.zeros((*shape, 3), np.uint8))
    assert len(found.detections) <= 2
    if len(found.detections):
        height, width = shape
        assert (found.detections.boxes >= 0).all()
        assert (found.detections.boxes <= (width, height, width, height)).all()


def test_a_bundle_of_the_wrong_task_is_refused(bundles: Path) -> None:
    with pytest.raises(vinfer.BundleError, match="detection"):
        Engine(bundles / "tiny-detector.vinfer")
    with pytest.raises(vinfer.BundleError, match="relations"):
        Engine(bundles / "tiny-relations.vinfer", detector=bundles / "tiny-relations.vinfer")


def test_describe_says_what_runs(engine: Engine) -> None:
    described = engine.describe()
    assert described["bundle"] == "tiny-relations@1.0"
    assert described["detector"] == "tiny-detector@1.0"
    assert described["sessions"]["detector"]["providers"][0].endswith("ExecutionProvider")
    assert described["predicates"]["ride"]["on"] == 0.6


def test_events_only_restricts_and_refuses_unknown_names(bundles: Path, ride: Path) -> None:
    where = {
        "bundle": str(bundles / "tiny-relations.vinfer"),
        "detector": str(bundles / "tiny-detector.vinfer"),
    }
    with pytest.raises(vinfer.ConfigError, match="'ryde'; did you mean 'ride'"):
        Engine(config=vinfer.Config(**where, events={"only": ["ryde"]}))  # type: ignore[arg-type]
    strict = vinfer.Config(**where, events={"predicates": {"ride": {"on": 0.999, "off": 0.9}}})  # type: ignore[arg-type]
    with Engine(config=strict) as engine:
        assert engine.run(ride).events == ()


def test_infer_after_close_is_refused(engine: Engine) -> None:
    engine.close()
    with pytest.raises(vinfer.BackendError, match="closed"):
        engine.infer(plain(RIDING))


def test_infer_does_not_depend_on_the_working_folder(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundles)
    with Engine("tiny-relations.vinfer", detector="tiny-detector.vinfer") as engine:
        monkeypatch.chdir(tmp_path)
        assert len(engine.infer(plain(RIDING)).detections) == 2


def test_a_bundle_that_was_replaced_is_refused(bundles: Path, tmp_path: Path) -> None:
    detector = pack_detector(tmp_path, detector_graph())
    config = vinfer.Config(threads=2)
    with Engine(bundles / "tiny-relations.vinfer", detector=detector, config=config) as engine:
        detector.write_bytes(
            pack_detector(tmp_path / "other", detector_graph(), name="other").read_bytes()
        )
        with pytest.raises(vinfer.BundleIntegrityError, match="found another bundle"):
            engine.infer(plain(RIDING))


def test_a_relation_bundle_that_was_replaced_is_refused(bundles: Path, tmp_path: Path) -> None:
    relations = pack_picture_relations(tmp_path, picture_relation_graph())
    detector = bundles / "tiny-detector.vinfer"
    with Engine(relations, detector=detector, config=vinfer.Config(threads=2)) as engine:
        relations.write_bytes((bundles / "tiny-relations.vinfer").read_bytes())
        with pytest.raises(vinfer.BundleIntegrityError, match="found another bundle"):
            engine.infer(plain(RIDING))


def test_an_interrupt_does_not_hide_that_a_file_is_incomplete(engine: Engine, ride: Path) -> None:
    class FailsToClose(Recorder):
        def close(self, summary: RunSummary) -> None:
            raise vinfer.OutputError("no space left for the end of the file")

    def interrupt(progress: vinfer.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(vinfer.OutputError, match="no space left for the end") as raised:
        engine.run(ride, FailsToClose(), on_progress=interrupt)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)


def test_an_interrupt_within_a_sink_keeps_the_events_of_the_others(
    engine: Engine, ride: Path
) -> None:
    class Interrupted(Recorder):
        def frame(self, frame: Frame, result: FrameResult) -> None:
            super().frame(frame, result)
            if frame.index == 35:
                raise KeyboardInterrupt

    other = Recorder()
    with pytest.raises(KeyboardInterrupt):
        engine.run(ride, Interrupted(), other)
    assert other.events[-1].type == "close"
    assert other.summary is not None
    assert [event.type for event in other.summary.events] == ["close"]
    assert not other.summary.complete
