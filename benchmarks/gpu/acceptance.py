"""The steps of ``acceptance.sh``. Standard library only: it runs before vinfer is built."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "gpu"
SITE = WORK / "site"
# Seconds that a step may take; the benchmarks get what is left of the total.
TOTAL, BUILD_LIMIT, TEST_LIMIT, SANITIZER_LIMIT = 570, 420, 150, 80
ARCHITECTURE_WITHOUT_GPU = "90"
BUILD_MODULES = ("scikit_build_core", "pybind11", "numpy", "pytest")
PACKAGES = ("torch", "torchvision", "triton", "numpy", "onnxruntime", "cupy-cuda13x", "jax")
# Small and covering every kernel: under the sanitizer everything takes many times as long.
SANITIZED = "agrees_with_cpu"
OUT_OF_TIME = 124


@dataclasses.dataclass
class Step:
    """Outcome of a step: passed, failed or skipped."""

    name: str
    outcome: str
    detail: str
    seconds: float = 0.0
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    output_tail: str = ""


@dataclasses.dataclass
class Gpu:
    name: str
    architecture: str
    driver: str
    memory_mib: int


def command(*parts: str | Path, limit: float, **environment: str) -> tuple[int, str]:
    """Exit status (OUT_OF_TIME: stopped) and output; its whole process group ends with it."""
    process = subprocess.Popen(
        [str(part) for part in parts],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(SITE), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        return OUT_OF_TIME, f"{output}\nstopped after {limit:.0f} s"
    return process.returncode, output


def find_gpu() -> Gpu | str:
    """The first GPU, or why there is none."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not installed: no NVIDIA driver"
    query = "name,compute_cap,driver_version,memory.total"
    status, output = command(
        *("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"), limit=30
    )
    fields = [field.strip() for field in output.strip().split("\n")[0].split(",")]
    if status or len(fields) != 4:
        return f"nvidia-smi finds no GPU: {output.strip()[:200]}"
    name, capability, driver, memory = fields
    return Gpu(name, capability.replace(".", ""), driver, int(memory))


def timed(step: Step, began: float) -> Step:
    step.seconds = round(time.monotonic() - began, 1)
    sys.stdout.write(f"{step.name}: {step.outcome} ({step.seconds:.0f} s), {step.detail}\n")
    if step.outcome == "failed":
        sys.stdout.write(step.output_tail + "\n")
    sys.stdout.flush()
    return step


def build(architecture: str) -> Step:
    """Install vinfer with CUDA into a folder of its own."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        return Step("build", "skipped", "nvcc is not on PATH nor in /usr/local/cuda/bin")
    missing = [name for name in BUILD_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"{sys.executable} has no {', '.join(missing)}; name another one: PYTHON=..."
        return Step("build", "failed", reason)
    shutil.rmtree(SITE, ignore_errors=True)
    settings = {
        "build-dir": WORK / "cmake",
        "cmake.define.VINFER_CUDA": "ON",
        "cmake.define.CMAKE_CUDA_ARCHITECTURES": architecture,
        "cmake.define.CMAKE_CUDA_COMPILER": nvcc,
    }
    status, output = command(
        *(sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps"),
        *("--no-index", "--target", SITE, ROOT),
        *(part for key, value in settings.items() for part in ("-C", f"{key}={value}")),
        limit=BUILD_LIMIT,
    )
    tail = output[-4000:]
    if status:
        return Step("build", "failed", f"exit status {status}", output_tail=tail)
    # Fails when importing the ops needs more than numpy: the machine may have no more.
    probe = (
        "import sys, vinfer.ops as o, vinfer._native as n;"
        "others = {'torch', 'pydantic', 'yaml', 'onnxruntime'} & set(sys.modules);"
        "assert not others, others; assert n.cuda_was_built(); print(n.num_cuda_devices())"
    )
    status, output = command(sys.executable, "-c", probe, limit=60)
    if status:
        return Step("build", "failed", "the installed module does not work", output_tail=output)
    devices = int(output.split()[-1])
    detail = f"for architecture {architecture}; the module sees {devices} GPUs"
    return Step("build", "passed", detail, figures={"devices": devices})


def gpu_test_files() -> list[str]:
    """Only these: others may import what this machine does not have."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(f.relative_to(ROOT)) for f in files if "mark.gpu" in f.read_text()]


def pytest(
    name: str, limit: float, *options: str, under: tuple[str, ...] = (), **environment: str
) -> Step:
    """The GPU tests, run by the program `under` where one is given."""
    report = WORK / f"{name.replace(' ', '_')}.xml"
    report.unlink(missing_ok=True)
    status, output = command(
        *under,
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu"),
        *(f"--junitxml={report}", *options, *gpu_test_files()),
        limit=limit,
        **environment,
    )
    if not report.exists():
        figures: dict[str, Any] = {"status": status}
        return Step(name, "failed", f"exit status {status}", 0, figures, output[-4000:])
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    skips = {
        f"{case.get('name')}": re.sub(r"^Skipped: ", "", skip.get("message") or "")
        for case in cases
        for skip in case.findall("skipped")
    }
    bad = [case.get("name") for case in cases if case.find("failure") is not None]
    bad += [case.get("name") for case in cases if case.find("error") is not None]
    passed = len(cases) - len(skips) - len(bad)
    figures = {"passed": passed, "failed": bad, "skipped": skips}
    detail = f"{passed} passed, {len(bad)} failed, {len(skips)} skipped"
    if status in (0, 5) and not bad:
        if passed:
            return Step(name, "passed", detail, figures=figures)
        why = next(iter(skips.values()), "no test is marked gpu")
        return Step(name, "skipped", f"{detail}: {why}", figures=figures)
    return Step(name, "failed", f"{detail}, exit status {status}", 0, figures, output[-6000:])


def tests() -> Step:
    return pytest("tests", TEST_LIMIT)


def sanitizer() -> Step:
    """Out-of-bounds accesses on the device; PyTorch's pooled blocks would hide them."""
    path = "/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer"
    found = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=path)
    if found is None:
        return Step("compute-sanitizer", "skipped", "compute-sanitizer is not installed")
    step = pytest(
        "compute-sanitizer",
        SANITIZER_LIMIT,
        *("-k", SANITIZED),
        under=(found, "--tool", "memcheck", "--error-exitcode", "99"),
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
    )
    if step.figures.get("status") == OUT_OF_TIME:
        # Slow is no error; what it found until then would have been in its exit status only.
        return Step(step.name, "skipped", f"not finished after {SANITIZER_LIMIT} s")
    return step


def benchmarks(limit: float) -> Step:
    file = WORK / "benchmarks.json"
    file.unlink(missing_ok=True)
    status, output = command(
        *(sys.executable, "-m", "benchmarks.gpu.ops", "--output", file),
        *("--seconds", str(limit - 30)),
        limit=limit,
        PYTHONPATH=f"{SITE}{os.pathsep}{ROOT}",
    )
    # Written after every case, so that running out of time loses only what was left.
    figures = json.loads(file.read_text()) if file.exists() else {}
    detail = f"{len(figures.get('cases', []))} cases"
    if figures.get("left_out"):
        detail += f"; no time for {len(figures['left_out'])}"
    outcome = "failed" if status else "passed"
    return Step("benchmarks", outcome, detail, 0, figures, output[-4000:] if status else "")


def markdown(report: dict[str, Any]) -> str:
    gpu = report["gpu"]
    title = gpu["name"] if gpu else f"skipped: {report['no_gpu']}"
    lines = [
        f"# GPU acceptance: {title}",
        "",
        f"{report['date']}; " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()) + ".",
        "",
        "| step | outcome | seconds | |",
        "|---|---|---|---|",
    ]
    for step in report["steps"]:
        lines.append(
            f"| {step['name']} | {step['outcome']} | {step['seconds']:.0f} | {step['detail']} |"
        )
    for step in report["steps"]:
        reasons = sorted(set(step["figures"].get("skipped", {}).values()))
        if reasons:
            lines += ["", f"Skipped in {step['name']}: {'; '.join(reasons)}."]
        lines += step["figures"].get("markdown", [])
    return "\n".join(lines) + "\n"


def versions(gpu: Gpu | str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    if isinstance(gpu, Gpu):
        found["driver"] = gpu.driver
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if nvcc := shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin"):
        _, output = command(nvcc, "--version", limit=30)
        if match := re.search(r"V([\d.]+)", output):
            found["nvcc"] = match[1]
    return found


def main() -> int:
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.stdout.write("usage: benchmarks/gpu/acceptance.sh [OUTPUT without suffix]\n")
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    gpu = find_gpu()
    sys.stdout.write(f"GPU: {gpu}\n")
    is_there = isinstance(gpu, Gpu)
    slug = re.sub(r"[^a-z0-9]+", "_", gpu.name.lower()) if isinstance(gpu, Gpu) else "none"
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "benchmarks/results" / f"gpu_{slug}")
    architecture = gpu.architecture if isinstance(gpu, Gpu) else ARCHITECTURE_WITHOUT_GPU
    steps: list[Step] = []
    end = time.monotonic() + TOTAL
    actions: dict[str, Callable[[], Step]] = {
        "build": lambda: build(architecture),
        "tests": tests,
        "compute-sanitizer": sanitizer,
        "benchmarks": lambda: benchmarks(end - time.monotonic()),
    }
    for name, action in actions.items():
        began = time.monotonic()
        if steps and steps[0].outcome != "passed":
            step = Step(name, "skipped", "nothing was built")
        elif not is_there and name in ("compute-sanitizer", "benchmarks"):
            step = Step(name, "skipped", str(gpu))
        else:
            step = action()
        steps.append(timed(step, began))
    failed = any(step.outcome == "failed" for step in steps)
    ran = any(step.name == "tests" and step.outcome == "passed" for step in steps)
    report: dict[str, Any] = {
        "outcome": "failed" if failed else "passed" if ran else "skipped",
        "gpu": dataclasses.asdict(gpu) if isinstance(gpu, Gpu) else None,
        "no_gpu": None if isinstance(gpu, Gpu) else gpu,
        "versions": versions(gpu),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "steps": [dataclasses.asdict(step) for step in steps],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    json_file, markdown_file = Path(f"{output}.json"), Path(f"{output}.md")
    markdown_file.write_text(markdown(report))
    for written in report["steps"]:
        written["figures"].pop("markdown", None)
    json_file.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(f"{report['outcome']}: {json_file} {markdown_file}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
