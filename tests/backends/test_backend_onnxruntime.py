"""ONNX Runtime on graphs made here: right numbers, and every misuse an error of ours."""

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer.backends import Session, SessionOptions, TensorSpec, load
from vinfer.errors import (
    BackendError,
    ConfigError,
    DTypeError,
    MissingDependencyError,
    ProviderUnavailableError,
    ShapeError,
)
from vinfer.threads import usable_threads

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
HAS_CUDA_BUILD = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
CPU = SessionOptions(provider="cpu", threads=1)


def value(name: str, kind: int, shape: list[Any] | None) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = ()) -> bytes:
    helper = onnx.helper
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, list(weights)),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def pair_graph() -> bytes:
    """``sum = a + b`` and ``count = Shape(a)``; a and b are float32 [m, 4]."""
    nodes = [
        onnx.helper.make_node("Add", ["a", "b"], ["sum"]),
        onnx.helper.make_node("Shape", ["a"], ["count"]),
    ]
    inputs = [value("a", FLOAT, ["m", 4]), value("b", FLOAT, ["m", 4])]
    return graph(nodes, inputs, [value("sum", FLOAT, ["m", 4]), value("count", INT64, [2])])


def reshape_graph() -> bytes:
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [value("x", FLOAT, ["n"]), value("shape", INT64, ["k"])]
    return graph([node], inputs, [value("y", FLOAT, None)])


@pytest.fixture
def session() -> Iterator[Session]:
    loaded = load(pair_graph(), CPU)
    yield loaded
    loaded.close()


def ones(m: int = 2) -> np.ndarray[Any, Any]:
    return np.ones((m, 4), np.float32)


@pytest.mark.parametrize("m", [0, 1, 5])
def test_run(session: Session, m: int) -> None:
    a = np.arange(4 * m, dtype=np.float32).reshape(m, 4)
    outputs = session.run({"b": ones(m), "a": a})
    assert list(outputs) == ["sum", "count"]
    np.testing.assert_array_equal(outputs["sum"], a + 1)
    np.testing.assert_array_equal(outputs["count"], [m, 4])


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


def test_describe(session: Session) -> None:
    info = session.describe()
    assert info.backend == "onnxruntime"
    assert info.version == onnxruntime.__version__
    assert info.providers == ("CPUExecutionProvider",)
    assert info.threads == 1
    assert info.notes == ()
    assert info.to_dict()["providers"] == ["CPUExecutionProvider"]


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


def test_unstated_rank_is_left_to_the_run() -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    session = load(graph([node], [value("x", FLOAT, None)], [value("y", FLOAT, None)]), CPU)
    np.testing.assert_array_equal(session.run({"x": ones()})["y"], -ones())


def test_unnamed_free_dimensions_are_independent() -> None:
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    inputs = [value("a", FLOAT, [None, 3]), value("b", FLOAT, [3, None])]
    session = load(graph([node], inputs, [value("c", FLOAT, None)]), CPU)
    assert [spec.shape for spec in session.inputs] == [("?", 3), (3, "?")]
    product = session.run({"a": np.ones((2, 3), np.float32), "b": np.ones((3, 5), np.float32)})
    np.testing.assert_array_equal(product["c"], np.full((2, 5), 3))


def test_failing_run_is_short_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    session = load(reshape_graph(), CPU)
    with pytest.raises(BackendError) as caught:
        session.run({"x": np.zeros(5, np.float32), "shape": np.array([2, 3])})
    message = str(caught.value)
    assert message.startswith("the graph failed on x [5], shape [2]: ")
    assert "cannot be reshaped" in message
    assert "onnxruntime_src" not in message
    assert len(message) < 450
    assert capfd.readouterr() == ("", "")
    # One failed run does not spoil the session.
    result = session.run({"x": np.zeros(6, np.float32), "shape": np.array([2, 3])})
    assert result["y"].shape == (2, 3)


@pytest.mark.parametrize("data", [b"", b"not a graph", pair_graph()[:-30]])
@pytest.mark.parametrize("provider", ["cpu", "auto"])
def test_not_a_graph(data: bytes, provider: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match="can't load the graph") as caught:
        load(data, SessionOptions(provider=provider))
    assert not isinstance(caught.value, ProviderUnavailableError)
    assert len(str(caught.value)) < 500
    assert capfd.readouterr() == ("", "")


def test_too_new_a_graph() -> None:
    model = onnx.load_model_from_string(pair_graph())
    model.ir_version = 99
    with pytest.raises(BackendError, match=r"IR version: 99.*IR 9, opset 17 run everywhere"):
        load(model.SerializeToString(), CPU)


def test_inputs_that_are_no_tensors() -> None:
    sequence = onnx.helper.make_tensor_sequence_value_info("s", FLOAT, [1])
    node = onnx.helper.make_node("SequenceLength", ["s"], ["n"])
    with pytest.raises(BackendError, match=r"'s' of the graph is a seq\(tensor\(float\)\)"):
        load(graph([node], [sequence], [value("n", INT64, [])]), CPU)


@pytest.mark.parametrize("operator", ["Add", "MatMul"])
@pytest.mark.parametrize("size", [2, 512])  # onnxruntime treats small weights differently
@pytest.mark.parametrize("location", ["weights.bin", "../{}/weights.bin", "{}/weights.bin"])
def test_weights_outside_the_bundle_are_refused(
    operator: str, size: int, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        load(data, CPU)


def test_close(session: Session) -> None:
    session.close()
    session.close()
    with pytest.raises(BackendError, match="session is closed; load the graph again"):
        session.run({"a": ones(), "b": ones()})
    assert session.inputs[0].name == "a"
    assert session.describe().backend == "onnxruntime"


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


def convolution_graph() -> bytes:
    random = np.random.default_rng(3)
    weights = [
        onnx.numpy_helper.from_array(random.standard_normal(shape, np.float32) / 8, name)
        for name, shape in (("w1", (32, 3, 3, 3)), ("w2", (64, 32, 3, 3)))
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w1"], ["h"], pads=[1] * 4),
        onnx.helper.make_node("Relu", ["h"], ["r"]),
        onnx.helper.make_node("Conv", ["r", "w2"], ["c"], pads=[1] * 4),
        onnx.helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    return graph(nodes, [value("x", FLOAT, [1, 3, 40, 56])], [value("y", FLOAT, [1, 64])], weights)


def test_same_bits_whatever_the_threads() -> None:
    image = np.random.default_rng(0).random((1, 3, 40, 56), np.float32)
    results = []
    for threads in (1, 2, 3):
        session = load(convolution_graph(), SessionOptions(provider="cpu", threads=threads))
        results += [session.run({"x": image})["y"] for _ in range(2)]
        session.close()
    assert np.any(results[0] != 0)
    for result in results[1:]:
        assert result.tobytes() == results[0].tobytes()


def test_threads_default_to_what_may_be_used() -> None:
    session = load(pair_graph(), SessionOptions(provider="cpu"))
    assert session.describe().threads == usable_threads() >= 1


@pytest.mark.parametrize("options", [{"provider": "gpu"}, {"threads": -1}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"found .*, expected"):
        SessionOptions(**options)


def test_onnxruntime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime"):
        load(pair_graph(), CPU)


@pytest.mark.skipif(HAS_CUDA_BUILD, reason="this onnxruntime has CUDA")
def test_cuda_without_the_gpu_build_says_how_to_get_it() -> None:
    with pytest.raises(ProviderUnavailableError, match=r"not in this build.*onnxruntime-gpu"):
        load(pair_graph(), SessionOptions(provider="cuda"))


@pytest.mark.skipif(HAS_CUDA_BUILD, reason="this onnxruntime has CUDA")
def test_auto_says_once_why_it_runs_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vinfer"):
        session = load(pair_graph(), SessionOptions())
    assert session.describe().providers == ("CPUExecutionProvider",)
    (note,) = session.describe().notes
    assert note.startswith("provider auto: runs on the CPU because CUDA is not in this build")
    assert [record.getMessage() for record in caplog.records] == [note]
    session.run({"a": ones(), "b": ones()})
    assert len(caplog.records) == 1


class GpuBuildWithoutDriver:
    """onnxruntime as its GPU build behaves on a machine without CUDA's libraries: CUDA is listed
    as available, and asking for it gives a CPU session without an error."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        sys.stdout.write("Failed to load libcudnn.so.9: no such file\n")

    def InferenceSession(self, data: bytes, providers: list[Any], **more: Any) -> Any:
        self.asked.append(providers[0])
        return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"], **more)


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> GpuBuildWithoutDriver:
    fake = GpuBuildWithoutDriver()
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return fake


def test_silent_fall_back_to_the_cpu_is_noticed(
    gpu_build: GpuBuildWithoutDriver, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        load(pair_graph(), SessionOptions(provider="cuda"))
    assert gpu_build.asked[0][0] == "CUDAExecutionProvider"
    for part in ("runs CPUExecutionProvider", "Failed to load libcudnn.so.9", "pip install"):
        assert part in str(caught.value)
    assert capfd.readouterr() == ("", "")

    notes = load(pair_graph(), SessionOptions(provider="auto")).describe().notes
    assert "libcudnn.so.9" in notes[0]


@pytest.mark.usefixtures("gpu_build")
def test_a_bad_graph_is_not_blamed_on_cuda() -> None:
    with pytest.raises(BackendError, match="can't load the graph") as caught:
        load(b"not a graph", SessionOptions(provider="cuda"))
    assert not isinstance(caught.value, ProviderUnavailableError)
