"""OpenVINO: what it alone does; test_backend_contract.py has what all backends do."""

import contextlib
import dataclasses
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_parts

from vinfer.backends import SessionOptions, TensorSpec, load, openvino
from vinfer.backends.base import check_outputs
from vinfer.backends.processor import Processor, parse_cpuinfo, this_processor
from vinfer.errors import (
    BackendError,
    MissingDependencyError,
    ModelOutputError,
    ProviderUnavailableError,
)
from vinfer.export import attach_functions

onnx = pytest.importorskip("onnx")

from backend_graphs import FLOAT, INT64, convolution_graph, graph, ones, pair_graph, value  # noqa: E402

CPU = SessionOptions(provider="cpu", threads=1, backend="openvino")
REFERENCE = SessionOptions(provider="cpu", threads=1)

if openvino.version() is None:
    real_parts.missing("openvino is not installed", allow_module_level=True)


def agree(data: bytes, inputs: dict[str, Any], atol: float = 1e-5) -> None:
    """OpenVINO gives what ONNX Runtime gives, with vinfer's kernels where it has them."""
    expected = load(data, REFERENCE).run(inputs)
    for name, array in load(data, CPU).run(inputs).items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=atol)


def node_graph(op: str, inputs: list[Any], outputs: list[Any], **attributes: Any) -> Any:
    """A model of one vinfer node."""
    names = [each.name for each in inputs]
    node = onnx.helper.make_node(
        op, names, [o.name for o in outputs], domain="vinfer", **attributes
    )
    model = onnx.load_model_from_string(graph([node], inputs, outputs))
    model.opset_import.append(onnx.helper.make_opsetid("vinfer", 1))
    return model


def positional_maps() -> Any:
    boxes = [value(name, FLOAT, ["m", 4]) for name in ("boxes", "references")]
    return node_graph("PositionalMaps", boxes, [value("y", FLOAT, ["m", 2, "h", "w"])])


def test_bodies_of_vinfer_nodes_are_inlined() -> None:
    boxes = np.array([[0, 0, 8, 4], [3, 1, 9, 30]], np.float32)
    agree(
        attach_functions(positional_maps()).SerializeToString(),
        {"boxes": boxes, "references": boxes + np.float32([-1, -2, 3, 4])},
    )


def test_a_call_keeps_the_defaults_of_its_function() -> None:
    """onnx's inliner drops them; WeldonPool is called without k_max and k_min."""
    maps = [value("x", FLOAT, ["n", "c", "h", "w"])]
    model = node_graph("WeldonPool", maps, [value("y", FLOAT, ["n", "c"])])
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5), np.float32)
    agree(attach_functions(model).SerializeToString(), {"x": x})


def test_a_vinfer_node_without_a_body_is_named() -> None:
    with pytest.raises(BackendError, match=r"no vinfer::PositionalMaps.*attach_functions$"):
        load(positional_maps().SerializeToString(), CPU)


@pytest.mark.parametrize("attributes", [{}, {"sampling_ratio": 1}, {"sampling_ratio": 2}])
def test_roi_align_has_onnx_defaults(attributes: dict[str, int]) -> None:
    node = onnx.helper.make_node(
        *("RoiAlign", ["x", "boxes", "batch"], ["y"]),
        **{"output_height": 2, "output_width": 3, "spatial_scale": 0.5, **attributes},
    )
    inputs = [value("x", FLOAT, [1, 2, "h", "w"]), value("boxes", FLOAT, ["k", 4])]
    inputs.append(value("batch", INT64, ["k"]))
    random = np.random.default_rng(0)
    agree(
        graph([node], inputs, [value("y", FLOAT, ["k", 2, 2, 3])]),
        {
            "x": random.standard_normal((1, 2, 20, 16), np.float32),
            "boxes": np.array([[1, 2, 30, 35], [-3, -4, 9, 9]], np.float32),
            "batch": np.zeros(2, np.int64),
        },
    )


def test_an_operator_that_it_lacks_is_named() -> None:
    node = onnx.helper.make_node(
        *("LabelEncoder", ["x"], ["y"]),
        domain="ai.onnx.ml",
        keys_int64s=[0, 1],
        values_int64s=[5, 6],
    )
    data = graph([node], [value("x", INT64, ["n"])], [value("y", INT64, ["n"])])
    model = onnx.load_model_from_string(data)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))
    with pytest.raises(BackendError, match=r"LabelEncoder; use backend onnxruntime for it$"):
        load(model.SerializeToString(), CPU)


def test_an_unstated_rank_is_refused() -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    data = graph([node], [value("x", FLOAT, None)], [value("y", FLOAT, None)])
    with pytest.raises(BackendError, match=r"can't load the graph: .*dynamic rank") as caught:
        load(data, CPU)
    assert "src/" not in str(caught.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failed_run_is_an_error_and_leaves_no_trace(threads: int) -> None:
    """On one thread, openvino's own `infer` gives the outputs of the run before, and may crash."""
    node = onnx.helper.make_node("TopK", ["x", "k"], ["values", "indices"])
    outputs = [value("values", FLOAT, ["n", "k"]), value("indices", INT64, ["n", "k"])]
    inputs = [value("x", FLOAT, ["n", 3]), value("k", INT64, [1])]
    session = load(graph([node], inputs, outputs), dataclasses.replace(CPU, threads=threads))
    for n in (4, 2, 5) * 10:
        x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
        for k in (5, 2, 0, 1):
            if k in {1, 2}:
                found = session.run({"x": x, "k": np.array([k])})["values"]
                np.testing.assert_array_equal(found, x[:, ::-1][:, :k])
            else:
                with pytest.raises(BackendError, match=r"^the graph failed on x ") as caught:
                    session.run({"x": x, "k": np.array([k])})
                assert "src/" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "shape", "fits"),
    [
        (("n", 4), (3, 4), True),
        (("n", 4), (2, 4), False),
        (("n", 4), (3, 5), False),
        (("n", 4), (3,), False),
        (("k", "?"), (7, 8), True),
        ((), (7, 8), True),
    ],
)
def test_outputs_are_held_to_what_the_graph_states(
    stated: tuple[int | str, ...], shape: tuple[int, ...], fits: bool
) -> None:
    inputs = (TensorSpec("x", "float32", ("n", "?")), TensorSpec("z", "float32", ()))
    given = {"x": np.ones((3, 9), np.float32), "z": np.ones((), np.float32)}
    outputs = (TensorSpec("y", "float32", stated),)
    with contextlib.nullcontext() if fits else pytest.raises(ModelOutputError):
        check_outputs(inputs, outputs, given, {"y": np.ones(shape, np.float32)})


def test_integers_beyond_32_bits_are_refused() -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    session = load(graph([node], [value("x", INT64, ["n"])], [value("y", INT64, ["n"])]), CPU)
    most = np.array([-(2**31), 2**31 - 1])
    np.testing.assert_array_equal(session.run({"x": most})["y"], most)
    with pytest.raises(BackendError, match=r"found values from 0 to 2147483648, .*32 bits"):
        session.run({"x": np.array([0, 2**31])})


def test_float64_is_refused() -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    specs = [value(name, onnx.TensorProto.DOUBLE, ["n"]) for name in ("x", "y")]
    with pytest.raises(BackendError, match=r"'x' is DOUBLE, expected one of FLOAT, .*onnxrunt"):
        load(graph([node], specs[:1], specs[1:]), CPU)


def test_another_format_is_refused() -> None:
    with pytest.raises(BackendError, match="can't load the graph: not an ONNX model"):
        load(b"<?xml version='1.0'?><net name='x' version='11'></net>", CPU)


def test_cuda_is_refused_and_auto_says_that_it_is_not_looked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ProviderUnavailableError, match="openvino runs on the CPU only"):
        load(pair_graph(), dataclasses.replace(CPU, provider="cuda"))
    with caplog.at_level(logging.INFO, "vinfer"):
        session = load(pair_graph(), dataclasses.replace(CPU, provider="auto"))
    (note,) = session.describe().notes
    assert note == "provider auto: runs on the CPU because backend openvino has no CUDA"
    assert [record.getMessage() for record in caplog.records] == [note]


def test_more_threads_than_it_takes_are_noted() -> None:
    asked = (os.cpu_count() or 1) + 1
    info = load(pair_graph(), dataclasses.replace(CPU, threads=asked)).describe()
    assert info.threads < asked
    assert info.notes == (f"threads: {asked} were asked for, openvino takes {info.threads} here",)


def test_concurrent_runs_do_not_change_a_bit() -> None:
    x = np.random.default_rng(0).random((1, 3, 40, 56), np.float32)
    one, two = (
        load(convolution_graph(), dataclasses.replace(CPU, concurrent_runs=n)) for n in (1, 2)
    )
    assert one.run({"x": x})["y"].tobytes() == two.run({"x": x})["y"].tobytes()
    assert two.describe().threads == 1


def test_a_thread_may_end_after_the_sessions_are_gone() -> None:
    """With a core of its own for each session OpenVINO 2026.4 brings the process down here."""
    code = (
        "import gc, threading, pathlib, sys; from vinfer.backends import SessionOptions, load; "
        "graph = pathlib.Path(sys.argv[1]).read_bytes(); "
        "options = SessionOptions('cpu', 1, 'openvino'); "
        "sessions = [load(graph, options) for _ in range(2)]; del sessions; gc.collect(); "
        "thread = threading.Thread(target=print); thread.start(); thread.join()"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(convolution_graph())
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_bfloat16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(CPU, precision="bfloat16")
    if this_processor().has_bfloat16:
        info = load(convolution_graph(), options).describe()
        assert info.precision == "bfloat16"
        return
    with pytest.raises(ProviderUnavailableError, match="neither avx512_bf16 nor amx_bf16"):
        load(convolution_graph(), options)
    # OpenVINO says nothing and takes float32.
    monkeypatch.setattr(openvino, "precisions", lambda: ("float32", "bfloat16"))
    with pytest.raises(ProviderUnavailableError, match=r"openvino \S+ computes in float32"):
        load(convolution_graph(), options)


def test_precisions_are_the_processors() -> None:
    has = parse_cpuinfo("model name\t: Xeon\nflags\t\t: avx2 avx512f avx512_bf16\n")
    assert has == Processor("Xeon", frozenset({"avx2", "avx512f", "avx512_bf16"}))
    assert openvino.precisions(has) == ("float32", "bfloat16")
    assert openvino.precisions(parse_cpuinfo("Features\t: asimd bf16\n")) == ("float32",)


@pytest.mark.parametrize("package", ["openvino", "onnx"])
def test_a_package_is_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vinfer\[openvino\]'"):
        load(pair_graph(), CPU)


def test_it_is_not_imported_for_others(tmp_path: Path) -> None:
    (tmp_path / "pair.onnx").write_bytes(pair_graph())
    code = (
        "import pathlib, sys; from vinfer.backends import SessionOptions, load, choice; "
        "load(pathlib.Path(sys.argv[1]).read_bytes(), SessionOptions(provider='cpu')); "
        "print(choice.installed()[-1].backend, 'openvino' in sys.modules, 'onnx' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pair.onnx")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["openvino", "False", "False"]


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """A plain `import openvino` sends an event and makes ~/intel/openvino_telemetry."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "pair.onnx").write_bytes(pair_graph())
    code = (
        "import pathlib, sys; from vinfer.backends import SessionOptions, load; "
        "load(pathlib.Path(sys.argv[1]).read_bytes(), SessionOptions(backend='openvino')); "
        "print(*(name for name in sys.modules if name.startswith('openvino_telemetry')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pair.onnx")]
    environment = {k: v for k, v in os.environ.items() if k not in {"CI", "TF_BUILD"}}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment | {"HOME": str(home)}
    )
    assert done.stdout.strip() == ""
    assert list(home.iterdir()) == []


def test_an_empty_batch() -> None:
    result = load(pair_graph(), CPU).run({"a": ones(0), "b": ones(0)})
    assert result["sum"].shape == (0, 4)
