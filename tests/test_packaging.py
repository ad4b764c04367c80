"""The wheel and the sdist: they build, hold what they must, and run without the source tree."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tiny_bundles import detector_graph, pack_detector, pack_relations, relation_graph

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys
import numpy as np
import vinfer

for name in ("av", "cv2", "trackers", "typer", "torch", "onnx"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} is installed: this is not the core alone")
with vinfer.Engine("tiny-relations") as engine:
    found = engine.infer(np.zeros((64, 64, 3), np.uint8))
print(vinfer.__file__)
print([found.relations.name(i) for i in range(len(found.relations))])
try:
    list(engine.watch("clip.mp4"))
except vinfer.MissingDependencyError as exc:
    print(exc)
"""


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and the wheel built from that sdist."""
    pytest.importorskip("build", reason="the package build is not installed")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("the tests run outside a checkout")
    folder = tmp_path_factory.mktemp("dist")
    # The CUDA kernels for all architectures take minutes, and change nothing that is tested here.
    cpu_only = ("--config-setting", "cmake.define.VINFER_CUDA=OFF")
    command = (sys.executable, "-m", "build", "--no-isolation", *cpu_only)
    run(*command, "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_wheel_holds_the_package_and_its_data(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {
        "vinfer/__init__.py",
        "vinfer/lib/libvinfer_ort.so",
        "vinfer/py.typed",
        "vinfer/_native.pyi",
        "vinfer/export/__init__.py",
        "vinfer/bundles/shipped/relation-prior.vinfer",
        "vinfer/bundles/shipped/relations-synthetic.vinfer",
        "vinfer/bundles/shipped/sprites-detector.vinfer",
        "vinfer/stores/event.schema.json",
        "vinfer/config/config.schema.json",
        "vinfer/report/page.html",
    } <= names
    assert any(name.startswith("vinfer/_native.") and name.endswith(".so") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"vinfer"}


def test_sdist_can_be_built_and_tested(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md", "Makefile"} <= names
    assert "tests/test_packaging.py" in names
    assert "csrc/bindings/python/module.cpp" in names
    assert not [name for name in names if name.endswith((".so", ".mp4"))]


def test_wheel_runs_in_a_clean_environment_without_the_source(dist: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", next(dist.glob("*.whl")), cwd=tmp_path)
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    pack_detector(bundles, detector_graph())
    pack_relations(bundles, relation_graph())
    out = run(python, "-c", PROGRAM, cwd=tmp_path, env={"VINFER_BUNDLES": str(bundles)})
    where, relations, missing = out.splitlines()
    assert where.startswith(str(tmp_path))
    assert "ride" in relations
    assert "pip install 'vinfer[video]'" in missing
    hint = subprocess.run(
        [tmp_path / "venv" / "bin" / "vinfer", "run", "clip.mp4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert hint.returncode == 6
    assert "pip install 'vinfer[video]'" in hint.stderr
    assert "Traceback" not in hint.stderr
