"""Backend `auto`: what is compared, measured, refused and kept."""

import dataclasses
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_parts

from vinfer.backends import SessionInfo, SessionOptions, TensorSpec, choice, load, openvino
from vinfer.backends.agreement import difference, sample_inputs
from vinfer.backends.choice import Candidate, choose
from vinfer.backends.processor import Processor
from vinfer.errors import BackendError, ConfigError, MissingDependencyError

pytest.importorskip("onnx")

from backend_graphs import convolution_graph, pair_graph

CPU = SessionOptions(provider="cpu", threads=1, backend="auto")


class FakeSession:
    """y = x + `error`, after `seconds`."""

    inputs = (TensorSpec("x", "float32", ("n",)),)
    outputs = (TensorSpec("y", "float32", ("n",)),)

    def __init__(self, backend: str, options: SessionOptions, seconds: float, error: float) -> None:
        self.options, self.seconds, self.error = options, seconds, error
        self.runs, self.closed = 0, False
        self.info = SessionInfo(backend, "1.0", ("CPU",), 1, options.precision)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert not self.closed
        self.runs += 1
        if np.isnan(self.error):
            raise BackendError("the graph failed on x [1]: a fault of the test")
        time.sleep(self.seconds)
        return {"y": inputs["x"] + np.float32(self.error)}

    def describe(self) -> SessionInfo:
        return self.info

    def close(self) -> None:
        self.closed = True


class Fake:
    """A backend whose sessions can be looked at afterwards."""

    def __init__(self, backend: Any, seconds: float, error: float = 0.0) -> None:
        self.backend, self.seconds, self.error = backend, seconds, error
        self.sessions: list[FakeSession] = []

    def candidate(self, version: str = "1.0", precision: Any = "float32") -> Candidate:
        return Candidate(self.backend, precision, version, self.load)

    def load(self, graph: bytes, options: SessionOptions) -> FakeSession:
        if graph == b"broken":
            raise BackendError(f"{self.backend} can't load the graph: a fault of the test")
        self.sessions.append(FakeSession(self.backend, options, self.seconds, self.error))
        return self.sessions[-1]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vinfer" / "backends"


@pytest.fixture
def slow() -> Fake:
    """The reference."""
    return Fake("onnxruntime", 0.01)


@pytest.fixture
def fast() -> Fake:
    return Fake("openvino", 0.001)


def chosen(slow: Fake, fast: Fake, graph: bytes = b"graph", **more: Any) -> SessionInfo:
    options = dataclasses.replace(CPU, **more)
    return choose(graph, options, [slow.candidate(), fast.candidate()]).describe()


def note(info: SessionInfo) -> str:
    return info.notes[-1]


def test_the_faster_one_is_taken_and_says_why(
    slow: Fake, fast: Fake, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vinfer"):
        info = chosen(slow, fast)
    assert info.backend == "openvino"
    assert note(info).startswith("backend auto: openvino float32, median of 9 rounds: onnxruntime")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("INFO", note(info))]
    assert slow.sessions[0].closed
    assert not fast.sessions[0].closed
    # One for the comparison, two to begin with, and an untimed one in each turn at least.
    least = 3 + 2 * choice.ROUNDS
    assert min(slow.sessions[0].runs, fast.sessions[0].runs) >= least
    (file,) = cache.iterdir()
    record = json.loads(file.read_text())
    times = [each["median_ms"] for each in record["candidates"]]
    assert times[0] > times[1] >= 1


def test_a_choice_is_measured_once(slow: Fake, fast: Fake, cache: Path) -> None:
    first = chosen(slow, fast)
    second = chosen(slow, fast)
    assert len(slow.sessions) == 1
    assert fast.sessions[1].runs == 0
    (file,) = cache.iterdir()
    assert note(second) == f"{note(first)}; kept in {file}"


def test_the_reference_is_kept_where_it_is_the_faster_one(slow: Fake, fast: Fake) -> None:
    slow.seconds, fast.seconds = fast.seconds, slow.seconds
    assert chosen(slow, fast).backend == "onnxruntime"
    assert chosen(slow, fast).backend == "onnxruntime"
    assert len(fast.sessions) == 1
    assert fast.sessions[0].closed


def test_a_little_faster_is_not_worth_it(
    slow: Fake, fast: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [[1.0, 1 - choice.MARGIN / 2]] * 3
    monkeypatch.setattr(choice, "_timed", lambda *_: times)
    assert chosen(slow, fast).backend == "onnxruntime"


def test_one_that_computes_something_else_is_refused_and_named(
    slow: Fake, fast: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fast.error = 0.01
    info = chosen(slow, fast)
    assert info.backend == "onnxruntime"
    assert "openvino float32 refused: output 'y' differs by 0.01 where values reach" in note(info)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert fast.sessions[0].closed
    assert fast.sessions[0].runs == 1
    # Also the next time, when nothing is measured.
    assert "openvino float32 refused: output 'y'" in note(chosen(slow, fast))
    assert len(fast.sessions) == 1


def test_one_that_fails_is_refused_and_named(slow: Fake, fast: Fake) -> None:
    fast.error = np.nan
    info = chosen(slow, fast)
    assert info.backend == "onnxruntime"
    assert "refused: the graph failed on x [1]: a fault of the test" in note(info)
    assert fast.sessions[0].closed


def test_one_that_can_not_load_it_is_refused_and_named(slow: Fake, fast: Fake) -> None:
    candidates = [Candidate("onnxruntime", "float32", "1", lambda _, o: slow.load(b"", o))]
    session = choose(b"broken", CPU, [*candidates, fast.candidate()])
    assert "openvino float32 refused: openvino can't load" in session.describe().notes[-1]


def test_the_references_errors_are_raised(slow: Fake, fast: Fake, cache: Path) -> None:
    with pytest.raises(BackendError, match=r"^onnxruntime can't load"):
        chosen(slow, fast, b"broken")
    slow.error = np.nan
    with pytest.raises(BackendError, match="the graph failed"):
        chosen(slow, fast)
    assert slow.sessions[0].closed
    assert not cache.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema_version": 2}',
        "\0" * 10,
        "key",
        "chosen",
        "median",
        "refused",
        "not timed",
        "other candidates",
    ],
)
def test_a_damaged_file_is_ignored_and_written_again(
    slow: Fake, fast: Fake, cache: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen(slow, fast)
    (file,) = cache.iterdir()
    good = json.loads(file.read_text())
    if content == "key":
        content = json.dumps(good | {"key": good["key"] | {"threads": 7}})
    elif content == "chosen":
        content = json.dumps(good | {"chosen": "tensorrt float32"})
    elif content == "median":
        content = file.read_text().replace(str(good["candidates"][0]["median_ms"]), "NaN")
    elif content == "refused":
        good["candidates"][1]["refused"] = "no"
        content = json.dumps(good)
    elif content == "not timed":
        good["candidates"][1]["median_ms"] = None
        content = json.dumps(good)
    elif content == "other candidates":
        content = file.read_text().replace('"backend": "openvino"', '"backend": "tensorrt"')
        content = content.replace('"chosen": "openvino', '"chosen": "tensorrt')
    file.write_text(content)
    caplog.clear()
    assert chosen(slow, fast).backend == "openvino"
    assert "is damaged (" in caplog.records[0].getMessage()
    assert len(slow.sessions) == 2
    assert json.loads(file.read_text())["chosen"] == "openvino float32"
    assert list(cache.iterdir()) == [file]


def test_a_cache_that_can_not_be_written_is_no_error(
    slow: Fake, fast: Fake, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert chosen(slow, fast).backend == "openvino"
    assert any("can't be written" in record.getMessage() for record in caplog.records)


def test_what_a_choice_depends_on(
    slow: Fake, fast: Fake, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_timed", lambda *_: [[2.0, 1.0]])

    def times_measured() -> int:
        return len(list(cache.iterdir()))

    candidates = [slow.candidate(), fast.candidate()]
    variants: list[tuple[bytes, SessionOptions, list[Candidate], Any]] = [
        (b"graph", CPU, candidates, None),
        (b"other graph", CPU, candidates, None),
        (b"graph", dataclasses.replace(CPU, threads=2), candidates, None),
        (b"graph", dataclasses.replace(CPU, concurrent_runs=2), candidates, None),
        (b"graph", CPU, [slow.candidate(), fast.candidate("1.1")], None),
        (b"graph", CPU, [slow.candidate("1.1"), fast.candidate()], None),
        (b"graph", CPU, candidates, {"x": np.ones(3, np.float32)}),
        (b"graph", CPU, candidates, {"x": np.ones(4, np.float32)}),
    ]
    for number, (graph, options, tried, sample) in enumerate(variants, 1):
        for _ in range(2):
            choose(graph, options, tried, sample=sample)
            assert times_measured() == number
    for processor in (Processor("other", frozenset()), Processor("other", frozenset({"avx2"}))):
        monkeypatch.setattr("vinfer.backends.choice_record.this_processor", lambda p=processor: p)
        choose(*variants[0][:3])
    assert times_measured() == len(variants) + 2


def test_runs_at_once_are_measured_at_once(
    slow: Fake, fast: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "ROUNDS", 3)
    chosen(slow, fast, concurrent_runs=3)
    assert slow.sessions[0].options.concurrent_runs == 3
    runs = slow.sessions[0].runs - 1
    assert runs % 3 == 0
    assert runs >= 3 * (2 + 2 * 3)


def test_a_slow_graph_takes_fewer_rounds(
    slow: Fake, fast: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MAX_SECONDS", 0.0)
    assert "median of 3 rounds" in note(chosen(slow, fast))


def test_bfloat16_is_a_candidate_only_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "version", lambda: "1")
    monkeypatch.setattr(openvino, "precisions", lambda: ("float32", "bfloat16"))
    names = [each.name for each in choice.installed()]
    assert names == ["onnxruntime float32", "openvino float32"]
    names = [each.name for each in choice.installed(("float32", "bfloat16"))]
    assert names[2:] == ["openvino bfloat16"]
    monkeypatch.setattr(openvino, "precisions", lambda: ("float32",))
    assert len(choice.installed(("float32", "bfloat16"))) == 2


def test_bfloat16_may_be_further_off(slow: Fake, fast: Fake) -> None:
    fast.error = 0.01
    candidates = [slow.candidate(), fast.candidate(), fast.candidate(precision="bfloat16")]
    info = choose(b"graph", CPU, candidates).describe()
    assert (info.backend, info.precision) == ("openvino", "bfloat16")


def test_a_precision_is_not_asked_of_auto() -> None:
    with pytest.raises(ConfigError, match=r"with backend auto, .*name the backend"):
        load(pair_graph(), dataclasses.replace(CPU, precision="bfloat16"))


def test_without_openvino_there_is_nothing_to_measure(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "version", lambda: None)
    info = load(pair_graph(), CPU).describe()
    assert info.backend == "onnxruntime"
    assert note(info).startswith("backend auto: onnxruntime float32, as no other is installed")
    assert not cache.exists()


def test_without_onnxruntime_there_is_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime"):
        load(pair_graph(), CPU)


@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_the_real_ones(provider: Any, cache: Path) -> None:
    if openvino.version() is None:
        real_parts.missing("openvino is not installed")
    options = dataclasses.replace(CPU, provider=provider)
    x = np.random.default_rng(0).random((1, 3, 40, 56), np.float32)
    results = []
    for _ in range(2):
        session = load(convolution_graph(), options)
        results.append(session.run({"x": x})["y"])
        assert session.inputs == (TensorSpec("x", "float32", (1, 3, 40, 56)),)
        assert session.outputs == (TensorSpec("y", "float32", (1, 64)),)
        assert "refused" not in note(session.describe())
        session.close()
        with pytest.raises(BackendError, match="closed"):
            session.run({"x": x})
    assert results[0].tobytes() == results[1].tobytes()
    assert len(list(cache.iterdir())) == 1


class TestDifference:
    def test_of_floats_is_relative_to_the_largest(self) -> None:
        wanted = {"y": np.array([100, 0.001], np.float32)}
        assert difference(wanted, {"y": wanted["y"] + np.float32(0.05)}, 1e-3) is None
        found = difference(wanted, {"y": wanted["y"] + np.float32(0.2)}, 1e-3)
        assert found is not None
        assert found.startswith("output 'y' differs by 0.2 where values reach 1e+02 and 0.001")

    def test_of_nan_and_infinity(self) -> None:
        wanted = {"y": np.array([np.nan, np.inf, 1], np.float32)}
        assert difference(wanted, wanted, 1e-3) is None
        for i, value in ((0, 1), (1, -np.inf), (1, 5), (2, np.nan), (2, np.inf)):
            other = wanted["y"].copy()
            other[i] = value
            assert difference(wanted, {"y": other}, 1e-3) is not None

    @pytest.mark.parametrize(
        "found",
        [
            {},
            {"z": np.zeros(3, np.int64)},
            {"y": np.zeros(2, np.int64)},
            {"y": np.zeros(3, np.int32)},
            {"y": np.array([0, 0, 1])},
        ],
    )
    def test_of_anything_else_is_exact(self, found: dict[str, Any]) -> None:
        assert difference({"y": np.zeros(3, np.int64)}, found, 1e-3) is not None

    def test_of_nothing(self) -> None:
        empty = {"y": np.zeros((0, 4), np.float32)}
        assert difference(empty, empty, 1e-3) is None


def test_made_up_inputs_are_the_same_each_time() -> None:
    specs = (
        TensorSpec("image", "float16", ("N", 3, 2, "?")),
        TensorSpec("index", "int64", ("N",)),
        TensorSpec("flag", "bool", ()),
    )
    one, two = sample_inputs(specs), sample_inputs(specs)
    for spec, shape in zip(specs, [(1, 3, 2, 1), (1,), ()], strict=True):
        array = one[spec.name]
        assert (array.dtype, array.shape) == (np.dtype(spec.dtype), shape)
        assert array.tobytes() == two[spec.name].tobytes()
    assert 0 <= one["image"].min() < one["image"].max() <= 1
