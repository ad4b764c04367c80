"""ONNX Runtime: what it alone does; test_backend_contract.py has what all backends do."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vinfer.backends import Session, SessionOptions, load
from vinfer.errors import BackendError, MissingDependencyError, ProviderUnavailableError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from backend_graphs import FLOAT, graph, ones, pair_graph, value  # noqa: E402

HAS_CUDA_BUILD = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
CPU = SessionOptions(provider="cpu", threads=1)


@pytest.fixture
def session() -> Iterator[Session]:
    loaded = load(pair_graph(), CPU)
    yield loaded
    loaded.close()


def test_describe(session: Session) -> None:
    info = session.describe()
    assert info.backend == "onnxruntime"
    assert info.version == onnxruntime.__version__
    assert info.providers == ("CPUExecutionProvider",)
    assert info.threads == 1
    assert info.notes == ()
    assert info.to_dict()["providers"] == ["CPUExecutionProvider"]


def test_unstated_rank_is_left_to_the_run() -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    session = load(graph([node], [value("x", FLOAT, None)], [value("y", FLOAT, None)]), CPU)
    np.testing.assert_array_equal(session.run({"x": ones()})["y"], -ones())


def test_too_new_a_graph() -> None:
    model = onnx.load_model_from_string(pair_graph())
    model.ir_version = 99
    with pytest.raises(BackendError, match=r"IR version: 99.*IR 9, opset 17 run everywhere"):
        load(model.SerializeToString(), CPU)


def test_bfloat16_is_not_its_own() -> None:
    with pytest.raises(ProviderUnavailableError, match=r"as the graph is written; use backend op"):
        load(pair_graph(), SessionOptions(precision="bfloat16"))


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
