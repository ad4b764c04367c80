"""What every backend does alike: right numbers, and every misuse an error of ours."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_parts

from vinfer.backends import Session, SessionOptions, TensorSpec, load
from vinfer.errors import (
    BackendError,
    ConfigError,
    DTypeError,
    ProviderUnavailableError,
    ShapeError,
)
from vinfer.threads import usable_threads

onnx = pytest.importorskip("onnx")

from backend_graphs import (  # noqa: E402
    FLOAT,
    INT64,
    convolution_graph,
    graph,
    ones,
    pair_graph,
    reshape_graph,
    value,
)


@pytest.fixture(params=["onnxruntime", "openvino"])
def cpu(request: pytest.FixtureRequest) -> SessionOptions:
    if importlib.util.find_spec(request.param) is None:
        real_parts.missing(f"{request.param} is not installed")
    return SessionOptions(provider="cpu", threads=1, backend=request.param)


@pytest.fixture
def session(cpu: SessionOptions) -> Iterator[Session]:
    loaded = load(pair_graph(), cpu)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("m", [0, 1, 5])
def test_run(session: Session, m: int) -> None:
    a = np.arange(4 * m, dtype=np.float32).reshape(m, 4)
    outputs = session.run({"b": ones(m), "a": a})
    assert list(outputs) == ["sum", "count"]
    np.testing.assert_array_equal(outputs["sum"], a + 1)
    np.testing.assert_array_equal(outputs["count"], [m, 4])


def test_describe(session: Session, cpu: SessionOptions) -> None:
    info = session.describe()
    assert info.backend == cpu.backend
    assert info.version == importlib.metadata.version(cpu.backend)
    assert len(info.providers) == 1
    assert "CPU" in info.providers[0]
    assert info.threads == 1
    assert info.notes == ()
    assert json.loads(json.dumps(info.to_dict()))["backend"] == cpu.backend


def test_an_array_may_be_of_any_dtype_and_rank(cpu: SessionOptions) -> None:
    for dtype in ("float32", "float16", "int64", "int32", "int8", "uint8", "bool"):
        for shape in ([], [3], ["n"], [2, 0]):
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            node = onnx.helper.make_node("Identity", ["x"], ["y"])
            data = graph([node], [value("x", kind, shape)], [value("y", kind, shape)])
            session = load(data, cpu)
            x = np.ones([5 if size == "n" else size for size in shape], dtype)
            y = session.run({"x": x})["y"]
            assert (y.dtype, y.shape, y.tobytes()) == (x.dtype, x.shape, x.tobytes())
            session.close()


def test_inputs_and_outputs(session: Session) -> None:
    assert session.inputs == (
        TensorSpec("a", "float32", ("m", 4)),
        TensorSpec("b", "float32", ("m", 4)),
    )
    assert session.outputs == (
        TensorSpec("sum", "float32", ("m", 4)),
        TensorSpec("count", "int64", (2,)),
    )


def test_views_and_transposed_arrays(session: Session) -> None:
    wide = np.arange(32, dtype=np.float32).reshape(4, 8)
    a = wide.T[::2]
    assert not a.flags.c_contiguous
    np.testing.assert_array_equal(session.run({"a": a, "b": ones(4)})["sum"], a + 1)


def test_outputs_are_the_callers(session: Session) -> None:
    first = session.run({"a": ones(), "b": ones()})["sum"]
    first[:] = -1
    second = session.run({"a": ones(), "b": ones()})["sum"]
    np.testing.assert_array_equal(second, 2 * ones())
    np.testing.assert_array_equal(first, -ones())


def test_names(session: Session) -> None:
    with pytest.raises(BackendError, match=r"found 'a', expected 'a', 'b'; add 'b'$"):
        session.run({"a": ones()})
    with pytest.raises(BackendError, match=r"remove 'c'$"):
        session.run({"a": ones(), "b": ones(), "c": ones()})
    with pytest.raises(BackendError, match="found none, expected 'a', 'b'"):
        session.run({})


def test_dtypes(session: Session) -> None:
    with pytest.raises(DTypeError, match=r"'a': found float64, .* \.astype\(np\.float32\)"):
        session.run({"a": ones().astype(np.float64), "b": ones()})
    with pytest.raises(DTypeError, match="'b': found >f4, expected float32"):
        session.run({"a": ones(), "b": ones().astype(">f4")})
    with pytest.raises(DTypeError, match="'a': found list, expected a numpy array of float32"):
        session.run({"a": ones().tolist(), "b": ones()})


def test_shapes(session: Session) -> None:
    with pytest.raises(ShapeError, match=r"'a': found shape \[2, 3\], expected \[m, 4\]"):
        session.run({"a": np.ones((2, 3), np.float32), "b": ones()})
    with pytest.raises(ShapeError, match=r"'a': found shape \[4\], expected \[m, 4\]"):
        session.run({"a": np.ones(4, np.float32), "b": ones()})
    with pytest.raises(ShapeError, match=r"'b': found shape \[3, 4\], .* m = 2 as in 'a'"):
        session.run({"a": ones(2), "b": ones(3)})


def test_unnamed_free_dimensions_are_independent(cpu: SessionOptions) -> None:
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    inputs = [value("a", FLOAT, [None, 3]), value("b", FLOAT, [3, None])]
    session = load(graph([node], inputs, [value("c", FLOAT, ["i", "j"])]), cpu)
    assert [spec.shape for spec in session.inputs] == [("?", 3), (3, "?")]
    product = session.run({"a": np.ones((2, 3), np.float32), "b": np.ones((3, 5), np.float32)})
    np.testing.assert_array_equal(product["c"], np.full((2, 5), 3))


def test_close(session: Session) -> None:
    session.close()
    session.close()
    with pytest.raises(BackendError, match="session is closed; load the graph again"):
        session.run({"a": ones(), "b": ones()})
    assert session.inputs[0].name == "a"
    assert session.describe().threads == 1


def test_run_from_many_threads(session: Session) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(50):
            a, b = random.random((2, 7, 4), np.float32)
            if not np.array_equal(session.run({"a": a, "b": b})["sum"], a + b):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "options",
    [
        {"provider": "gpu"},
        {"threads": -1},
        {"backend": "tensorrt"},
        {"precision": "float64"},
        {"concurrent_runs": 0},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"found .*, expected"):
        SessionOptions(**options)


def test_failing_run_is_short_and_silent(
    cpu: SessionOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    session = load(reshape_graph(), cpu)
    for _ in range(20):
        with pytest.raises(BackendError) as caught:
            session.run({"x": np.zeros(5, np.float32), "shape": np.array([2, 3])})
        # One failed run does not spoil the session.
        result = session.run({"x": np.zeros(6, np.float32), "shape": np.array([2, 3])})
        assert result["y"].shape == (2, 3)
    message = str(caught.value)
    assert message.startswith("the graph failed on x [5], shape [2]: ")
    assert re.search("cannot be reshaped|conflicts with the reshape pattern", message)
    assert not re.search("onnxruntime_src|src/", message)
    assert len(message) < 450
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("data", [b"", b"not a graph", pair_graph()[:-30]])
@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_not_a_graph(
    cpu: SessionOptions, data: bytes, provider: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match="can't load the graph") as caught:
        load(data, dataclasses.replace(cpu, provider=provider))
    assert not isinstance(caught.value, ProviderUnavailableError)
    assert len(str(caught.value)) < 500
    assert capfd.readouterr() == ("", "")


def test_inputs_that_are_no_tensors(cpu: SessionOptions) -> None:
    sequence = onnx.helper.make_tensor_sequence_value_info("s", FLOAT, [1])
    node = onnx.helper.make_node("SequenceLength", ["s"], ["n"])
    with pytest.raises(BackendError, match=r"'s' .*is a seq"):
        load(graph([node], [sequence], [value("n", INT64, [])]), cpu)


@pytest.mark.parametrize("operator", ["Add", "MatMul"])
@pytest.mark.parametrize("size", [2, 512])  # onnxruntime treats small weights differently
@pytest.mark.parametrize("location", ["weights.bin", "../{}/weights.bin", "{}/weights.bin"])
def test_weights_outside_the_bundle_are_refused(
    cpu: SessionOptions,
    operator: str,
    size: int,
    location: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph may name a file for its weights; nobody checked that file's hash."""
    shape = [size, size]
    (tmp_path / "weights.bin").write_bytes(np.ones(shape, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    weight = onnx.TensorProto(name="b", data_type=FLOAT, dims=shape, data_location=1)
    where = location.format(tmp_path.name if location.startswith("..") else tmp_path)
    weight.external_data.add(key="location", value=where)
    node = onnx.helper.make_node(operator, ["a", "b"], ["c"])
    data = graph([node], [value("a", FLOAT, shape)], [value("c", FLOAT, shape)], [weight])
    with pytest.raises(BackendError, match="can't load the graph"):
        load(data, cpu)


def test_same_bits_whatever_the_threads(cpu: SessionOptions) -> None:
    image = np.random.default_rng(0).random((1, 3, 40, 56), np.float32)
    results = []
    for threads in (1, 2, 3):
        session = load(convolution_graph(), dataclasses.replace(cpu, threads=threads))
        results += [session.run({"x": image})["y"] for _ in range(2)]
        session.close()
    assert np.any(results[0] != 0)
    for result in results[1:]:
        assert result.tobytes() == results[0].tobytes()


def test_threads_default_to_what_may_be_used(cpu: SessionOptions) -> None:
    session = load(pair_graph(), dataclasses.replace(cpu, threads=0))
    assert session.describe().threads == usable_threads() >= 1
