"""Two tiny bundles made by code, so that the whole command line runs in milliseconds a frame."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tiny_bundles import pack_detector, pack_relations, relation_graph, serialised

from vinfer.cli.main import main

Command = Callable[..., tuple[int, str, str]]


def still_detector_graph() -> bytes:
    """A person above a bicycle in every picture, whatever it shows."""
    floats = TensorProto.FLOAT
    boxes = np.array([[[8, 4, 40, 44], [6, 24, 44, 60]]], np.float32)
    scores = np.array([[[0.9, 0], [0, 0.8]]], np.float32)
    return serialised(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["all_boxes", "nothing"], ["boxes"]),
            helper.make_node("Add", ["all_scores", "nothing"], ["scores"]),
        ],
        [helper.make_tensor_value_info("image", floats, [1, 3, 64, 64])],
        [
            helper.make_tensor_value_info("boxes", floats, [1, 2, 4]),
            helper.make_tensor_value_info("scores", floats, [1, 2, 2]),
        ],
        {"all_boxes": boxes, "all_scores": scores, "zero": np.zeros((), np.float32)},
    )


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles ``tiny-detector`` and ``tiny-relations``."""
    folder = tmp_path_factory.mktemp("bundles")
    pack_detector(folder, still_detector_graph())
    pack_relations(folder, relation_graph())
    return folder


@pytest.fixture
def environment(tiny_bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny bundles are found by name, nothing of the user's is touched."""
    monkeypatch.setenv("VINFER_BUNDLES", str(tiny_bundles))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("VINFER_DEBUG", raising=False)


@pytest.fixture
def vinfer_command(environment: None, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: str | os.PathLike[str]) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([os.fspath(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def vinfer_json(vinfer_command: Command) -> Callable[..., tuple[int, Any]]:
    """The same with ``--json``: exit code and what stdout holds, which must be JSON alone."""

    def call(*arguments: str | os.PathLike[str]) -> tuple[int, Any]:
        code, out, _ = vinfer_command(*arguments, "--json")
        return code, json.loads(out)

    return call


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Shells start background jobs with Ctrl-C ignored, and children inherit that."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
