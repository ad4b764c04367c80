"""The layers of docs/architecture.md: nothing imports upwards, and `import vinfer` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vinfer

PACKAGE = Path(vinfer.__file__).parent

# A module may import from its own row and the rows below it; within a row only from itself.
LAYERS = [
    {"cli"},
    {"explain"},
    {"engine"},
    {"delivery"},
    {"report", "config"},
    {"sources", "scheduler", "stages", "events", "stores"},
    {"bundles", "backends"},
    {"ops", "ort_library"},
    {"types"},
    {"errors", "closing", "threads", "cache_folder"},
]
BESIDE = {"training", "export", "evaluation"}  # beside the engine: see the last tests
BELOW_BESIDE = {"types", "errors", "ops", "bundles", "backends", "stages", "stores"}
HEAVY = {"torch", "onnx", "onnxruntime", "av", "cv2", "trackers", "supervision", "sqlalchemy"}
HEAVY |= {"typer", "rich", "tensorrt", "openvino", "fastapi", "pycocotools", "playwright"}


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part != "__init__":
            found.append((part, path))
    return found


def imported_parts(path: Path) -> set[str]:
    """Parts of vinfer that a file imports, at any depth of its code."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts |= {name.split(".")[1] for name in names if name.startswith("vinfer.")}
    return parts


def level(part: str) -> int:
    return next(i for i, row in enumerate(LAYERS) if part in row)


@pytest.mark.parametrize(
    ("part", "path"), [pytest.param(a, b, id=str(b.relative_to(PACKAGE))) for a, b in modules()]
)
def test_nothing_imports_upwards(part: str, path: Path) -> None:
    known = set().union(*LAYERS, BESIDE)
    allowed_for_all = {"_native", "__version__"}
    for other in imported_parts(path) - {part} - allowed_for_all:
        assert other in known, f"{path.name} imports vinfer.{other}, which has no layer"
        if part in BESIDE:
            allowed = {
                "types",
                "errors",
                "bundles",
                "backends",
                "ops",
                "stages",
                "stores",
                "config",
                "cache_folder",
                "threads",
            }
            if part == "training":  # it reads pictures as the engine does, and measures itself
                allowed |= {"sources", "evaluation", "events"}
            if part == "export":  # what is exported was trained; never the other way round
                allowed.add("training")
            assert other in allowed, f"{path.name} ({part}) imports vinfer.{other}"
        elif other in BESIDE:
            assert part == "cli", f"{path.name} ({part}) imports vinfer.{other}"
        else:
            assert level(part) < level(other), f"{path.name} ({part}) imports vinfer.{other}"


def fresh(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_import_is_light() -> None:
    loaded = fresh("import sys, vinfer; print(*{name.partition('.')[0] for name in sys.modules})")
    assert not HEAVY & set(loaded.split())


def test_engine_loads_no_training_or_web_framework() -> None:
    loaded = fresh(
        "import sys, vinfer; vinfer.Engine; print(*{n.partition('.')[0] for n in sys.modules})"
    )
    assert not {"torch", "tensorrt", "openvino", "fastapi", "onnx", "typer"} & set(loaded.split())


def test_import_work_is_counted_in_modules_not_seconds() -> None:
    """The time is printed by `vinfer doctor`; a test on seconds would only measure the machine."""
    own = fresh("import sys, vinfer; print(*[n for n in sys.modules if n.startswith('vinfer')])")
    assert set(own.split()) == {"vinfer", "vinfer.errors", "vinfer.types"}
