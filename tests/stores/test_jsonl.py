"""Event lines: round trip, the published schema, whole lines whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, OutputError, SourceNotFoundError
from vinfer.stores.base import RunInfo
from vinfer.stores.event_record import (
    EventRecord,
    event_from_record,
    event_schema,
    event_to_record,
)
from vinfer.stores.jsonl import EventsJsonl, read_events
from vinfer.types import Event, Participant, RunSummary, StreamInfo

MakeEvent = Callable[..., Event]
VALIDATOR = jsonschema.Draft202012Validator(event_schema())

times = st.fractions(min_value=0, max_value=10**6, max_denominator=90000)
scores = st.floats(0, 1)
participants = st.builds(
    Participant,
    st.text(),
    st.integers(0, 2**62),
    st.tuples(*[st.floats(-1e5, 1e5, width=32)] * 4),
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    start, end = sorted([draw(times), draw(times)])
    first, last = sorted([draw(st.integers(0, 10**9)), draw(st.integers(0, 10**9))])
    return Event(
        type=draw(st.sampled_from(["open", "update", "close"])),
        event_id=f"{draw(st.integers(0, 16**16 - 1)):016x}",
        stream=draw(st.text()),
        start=start,
        end=end,
        start_frame=first,
        end_frame=last,
        subject=draw(participants),
        predicate=draw(st.text()),
        object=draw(participants),
        score=draw(scores),
        peak_score=draw(scores),
        peak_time=draw(times),
        peak_frame=draw(st.integers(0, 10**9)),
        support=draw(st.integers(1, 10**9)),
        bundle=draw(st.text()),
        config_hash=draw(st.sampled_from(["", "0123456789abcdef"])),
    )


@settings(max_examples=100, derandomize=True, deadline=None)
@given(event=events())
def test_round_trip_is_exact_and_fits_the_schema(event: Event) -> None:
    text = json.dumps(event_to_record(event), allow_nan=False)
    VALIDATOR.validate(json.loads(text))
    assert event_from_record(text) == event


def test_line_as_documented(make_event: MakeEvent) -> None:
    record = event_to_record(make_event())
    assert list(record) == [
        *("schema", "event_id", "type", "stream", "time_base", "start_pts", "end_pts", "start"),
        *("end", "frames", "subject", "predicate", "object", "score", "support", "peak", "model"),
        "config_hash",
    ]
    assert record["schema"] == "vinfer.event/1"
    # 76/25, 1001/300 and 79/24 s in the coarsest unit that holds all three.
    assert record["time_base"] == "1/600"
    assert (record["start_pts"], record["end_pts"], record["peak"]["pts"]) == (1824, 2002, 1975)
    assert record["start"] == 3.04
    assert record["frames"] == [76, 83]
    assert record["subject"] == {"label": "person", "track_id": 3, "box": [1.5, 2.25, 30.125, 0.1]}


def test_published_schema_is_the_one_that_is_read() -> None:
    def without_titles(value: Any, *, names: bool = False) -> Any:
        if isinstance(value, dict):
            return {
                key: without_titles(item, names=key in ("properties", "$defs"))
                for key, item in value.items()
                if names or key != "title"
            }
        return [without_titles(item) for item in value] if isinstance(value, list) else value

    published = event_schema()
    jsonschema.Draft202012Validator.check_schema(published)
    for key in ("$schema", "$id", "title"):
        del published[key]
    assert published == without_titles(EventRecord.model_json_schema())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": {"label": "a", "track_id": -1, "box": [0, 0, 1, 1]}}, "subject.track_id"),
        ({"object": {"label": "a", "track_id": 1, "box": [0, 0, 1]}}, "object.box"),
        ({"score": 1.5}, "score"),
        ({"score": "0.5"}, "score"),
        ({"type": "done"}, "type"),
        ({"event_id": "26c1"}, "event_id"),
        ({"time_base": "0.04"}, "time_base"),
        ({"time_base": "1/0"}, "time_base"),
        ({"support": 0}, "support"),
        ({"start_pts": 1.5}, "start_pts"),
    ],
)
def test_reader_and_schema_refuse_the_same(
    make_event: MakeEvent, change: dict[str, Any], field: str
) -> None:
    record = event_to_record(make_event()) | change
    assert not VALIDATOR.is_valid(record)
    with pytest.raises(InputError, match=field):
        event_from_record(json.dumps(record))


@pytest.mark.parametrize("field", sorted(set(EventRecord.model_json_schema()["required"])))
def test_every_field_is_required(make_event: MakeEvent, field: str) -> None:
    record = event_to_record(make_event())
    del record[field]
    assert not VALIDATOR.is_valid(record)
    with pytest.raises(InputError, match=field):
        event_from_record(json.dumps(record))


def test_fields_may_be_added(make_event: MakeEvent) -> None:
    record = event_to_record(make_event()) | {"zone": "door"}
    record["subject"]["colour"] = "red"
    assert VALIDATOR.is_valid(record)
    assert event_from_record(json.dumps(record)) == make_event()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 9.0}, "start: 9.0 s does not agree with 1824"),
        ({"end_pts": 1800, "end": 3.0}, "ends before it starts"),
        ({"frames": [9, 3]}, "ends before it starts"),
        ({"end_pts": 10**400}, "too large"),
    ],
)
def test_fields_that_contradict_each_other(
    make_event: MakeEvent, change: dict[str, Any], message: str
) -> None:
    record = event_to_record(make_event()) | change
    with pytest.raises(InputError, match=message):
        event_from_record(json.dumps(record))


# ---------------------------------------------------------------- the sink


def test_lines_can_be_read_while_the_run_goes_on(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "events.jsonl"
    sink = EventsJsonl(path)
    sink.open(stream, run)
    assert read_events(path) == []
    reports = [make_event(type="open"), make_event(type="update"), make_event()]
    for count, event in enumerate(reports, 1):
        sink.event(event)
        assert read_events(path) == reports[:count]
    sink.close(summary)
    assert read_events(path) == reports


def test_equal_runs_give_equal_bytes_and_replace_the_file(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "events.jsonl"
    contents = []
    for _ in range(2):
        sink = EventsJsonl(path)
        sink.open(stream, run)
        sink.event(make_event(stream="Zürich\n"))
        sink.close(summary)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].count(b"\n") == 1


def test_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    code = """
import os, signal, sys
from conftest import EVENT, RUN, STREAM
from vinfer.stores.jsonl import EventsJsonl
sink = EventsJsonl(sys.argv[1])
sink.open(STREAM, RUN)
for _ in range(100):
    sink.event(EVENT)
os.kill(os.getpid(), signal.SIGKILL)
"""
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-c", code, str(path)], env=os.environ | here, check=False)
    assert len(read_events(path)) == 100


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\n", r"line 1: found schema None, expected \"vinfer.event/1\""),
        (b"VALID\nnonsense\n", "line 2: not a JSON object"),
        (b"VALID\n\nVALID\n", "line 2: not a JSON object"),
        (b"VALID\nVAL", "line 2: the file ends within this line"),
        (b"VALID\n" + b"[" * 100_000 + b"\n", "line 2: not a JSON object"),
        (b"VALID\n\xff\n", "line 2: not a JSON object"),
        (b'VALID\n{"schema": "vinfer.event/2"}\n', "line 2: found schema 'vinfer.event/2'"),
    ],
)
def test_reader_names_the_line(
    tmp_path: Path, make_event: MakeEvent, content: bytes, message: str
) -> None:
    path = tmp_path / "events.jsonl"
    line = json.dumps(event_to_record(make_event())).encode()
    path.write_bytes(content.replace(b"VALID", line))
    with pytest.raises(InputError, match=message):
        read_events(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"none\.jsonl: No such file"):
        read_events(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("file/events.jsonl", "a part of that path is a file"),
        ("none/events.jsonl", "its folder does not exist: create it first"),
        ("folder", "that is a folder: give a file name"),
    ],
)
def test_place_that_cannot_be_written(
    tmp_path: Path, stream: StreamInfo, run: RunInfo, place: str, advice: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=advice):
        EventsJsonl(tmp_path / place).open(stream, run)


def test_full_disk_is_named_with_its_free_space(
    make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    sink = EventsJsonl("/dev/full")
    sink.open(stream, run)
    with pytest.raises(OutputError, match=r"can't write /dev/full: No space.*MB free\); free some"):
        sink.event(make_event())
    sink.close(summary)


FILE_LIMIT = 1500


@contextlib.contextmanager
def limited_files() -> Iterator[None]:
    """No file of this process grows beyond `FILE_LIMIT` bytes: not the test's own log either."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_line_that_fits_only_partly_is_taken_back(
    tmp_path: Path,
    make_event: MakeEvent,
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
) -> None:
    path = tmp_path / "events.jsonl"
    line = len(json.dumps(event_to_record(make_event()), separators=(",", ":"))) + 1
    assert FILE_LIMIT % line, "the limit must fall within a line"
    sink = EventsJsonl(path)
    sink.open(stream, run)
    with limited_files():
        for _ in range(FILE_LIMIT // line):
            sink.event(make_event())
        with pytest.raises(OutputError, match="may not write files that large"):
            sink.event(make_event())
        sink.close(summary)
    assert len(read_events(path)) == FILE_LIMIT // line
