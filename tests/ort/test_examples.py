"""The programs of examples/onnxruntime, which run without vinfer's Python, against `vinfer.ops`."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import runtimes
from numpy.typing import NDArray

from vinfer import ops

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "onnxruntime"
# Where `make test` puts them, then where packages of a system or a release do.
HEADERS = [
    ROOT / "build" / "onnxruntime-headers" / "usr" / "include" / "onnxruntime",
    Path("/usr/include/onnxruntime"),
    Path("/usr/local/include/onnxruntime"),
]
NO_FALLBACK = "fallback to CPU EP has been explicitly disabled by the user"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        # CMake and ninja of the environment that the tests run in.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.splitlines()


def line(name: str, array: NDArray[Any]) -> str:
    mean = array.mean(dtype=np.float64)
    return f"{name} {list(array.shape)} mean {mean:.6f} {zlib.adler32(array.tobytes()):08x}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    assert lines(run(sys.executable, EXAMPLES / "make_model.py", "model.onnx", cwd=folder)) == []
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def expected() -> list[str]:
    inputs = runpy.run_path(str(EXAMPLES / "roi_align.py"))["make_inputs"]()
    features, boxes, batch_indices = inputs.values()
    pooled = ops.roi_align(features, boxes, batch_indices, (7, 7), 1 / 16, 2)
    embedding = ops.weldon_pool(pooled, 4, 4, 0.5)
    return [line("pooled", pooled), line("embedding", embedding)]


def without_checksums(printed: list[str]) -> list[str]:
    return [text.rpartition(" ")[0] for text in printed]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """main.cpp, built with ONNX Runtime's own headers for the library in pip's package."""
    given = os.environ.get("ONNXRUNTIME_INCLUDE_DIR")
    folders = [Path(given)] if given else HEADERS
    headers = next((f for f in folders if (f / "onnxruntime_cxx_api.h").is_file()), None)
    if headers is None:
        pytest.skip(
            f"no onnxruntime_cxx_api.h in {', '.join(map(str, folders))}: `make test` takes it "
            "out of Debian's libonnxruntime-dev; $ONNXRUNTIME_INCLUDE_DIR may name another folder"
        )
    if not shutil.which("c++"):
        pytest.skip("no C++ compiler is installed")
    build = tmp_path_factory.mktemp("build")
    # The package has the library under its full name only.
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (build / name).symlink_to(library)
    configure = [
        *("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror", "-G", "Ninja"),
        f"-DONNXRUNTIME_INCLUDE_DIR={headers}",
        f"-DONNXRUNTIME_LIBRARY={build / 'libonnxruntime.so'}",
    ]
    lines(run("cmake", "-S", EXAMPLES, "-B", build / "cmake", *configure, cwd=build))
    lines(run("cmake", "--build", build / "cmake", cwd=build))
    return build / "cmake" / "roi_align"


def test_the_page_shows_what_they_print(expected: list[str]) -> None:
    page = (ROOT / "docs" / "onnxruntime.md").read_text()
    assert "\n".join(["```", *expected, "```"]) in page


@pytest.mark.parametrize("version", runtimes.SUPPORTED)
def test_python(
    version: str, model: Path, library: Path, expected: list[str], tmp_path: Path
) -> None:
    """In environments that have no vinfer."""
    example = (runtimes.python_with(version), "-I", EXAMPLES / "roi_align.py", model)
    assert lines(run(*example, library, cwd=tmp_path)) == expected
    # The body's last bits differ: it is not the kernel that runs.
    by_body = lines(run(*example, cwd=tmp_path))
    assert without_checksums(by_body) == without_checksums(expected)
    assert by_body != expected


def test_cpp(program: Path, model: Path, library: Path, expected: list[str]) -> None:
    assert lines(run(program, model, library, cwd=model.parent)) == expected
    # A path from here; registering it as it is would look among the system's libraries.
    assert lines(run(program, model, library.name, cwd=library.parent)) == expected
    by_body = lines(run(program, model, cwd=model.parent))
    assert without_checksums(by_body) == without_checksums(expected)
    assert by_body != expected


def test_python_does_not_run_on_the_cpu_when_asked_for_cuda(
    model: Path, library: Path, tmp_path: Path
) -> None:
    """These environments have the CPU build, where ONNX Runtime itself only warns."""
    for version in runtimes.SUPPORTED:
        example = (runtimes.python_with(version), "-I", EXAMPLES / "roi_align.py")
        done = run(*example, model, library, "--cuda", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stdout == ""
        assert NO_FALLBACK in done.stderr


def test_cpp_does_not_run_on_the_cpu_when_asked_for_cuda(
    program: Path, model: Path, library: Path
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is the GPU build of ONNX Runtime")
    done = run(program, model, library, "--cuda", cwd=model.parent)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Cuda" in done.stderr


def test_cpp_errors(program: Path, model: Path, tmp_path: Path) -> None:
    usage = run(program, cwd=tmp_path)
    assert (usage.returncode, usage.stderr) == (
        2,
        "usage: roi_align MODEL [LIBRARY] [--cuda]\n",
    )
    missing = run(program, model, "libvinfer_ort.so", cwd=tmp_path)
    assert missing.returncode == 1
    assert f"Failed to load library {tmp_path}/libvinfer_ort.so" in missing.stderr
