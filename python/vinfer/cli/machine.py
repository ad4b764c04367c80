"""What this machine and this installation are: facts only, `vinfer doctor` judges them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from vinfer.backends import Backend, Precision, SessionOptions, load, openvino
from vinfer.backends.processor import parse_cpuinfo
from vinfer.bundles import (
    Bundle,
    RelationManifest,
    default_bundle_dir,
    find_bundle,
    known_bundles,
)
from vinfer.errors import VinferError
from vinfer.threads import cpu_quota, usable_threads

# Package on the index, module to import, extras of vinfer that bring it (none: vinfer itself).
PACKAGES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("numpy", "numpy", ()),
    ("onnxruntime", "onnxruntime", ()),
    ("pydantic", "pydantic", ()),
    ("PyYAML", "yaml", ()),
    ("av", "av", ("video",)),
    ("opencv-python", "cv2", ("video",)),
    ("supervision", "supervision", ("video",)),
    ("trackers", "trackers", ("video",)),
    ("sqlalchemy", "sqlalchemy", ("video",)),
    ("typer", "typer", ("video",)),
    ("rich", "rich", ("video",)),
    ("onnx", "onnx", ("export", "openvino", "train")),
    ("openvino", "openvino", ("openvino",)),
    ("pycocotools", "pycocotools", ("eval",)),
    ("psycopg", "psycopg", ("postgresql",)),
    ("torch", "torch", ("train",)),
)

_X86_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
_ARM_FLAGS = ("asimd", "asimddp", "bf16")

# An ONNX model of one node, c = a + a with a float32 [1], for trying a provider out.
_TINY_GRAPH = bytes.fromhex(
    "080812003a350a0e0a01610a016112016322034164641201675a0f0a0161120a0a08080112040a02080162"
    "0f0a0163120a0a08080112040a02080142040a001011"
)


def machine_facts() -> dict[str, Any]:
    """Operating system, processor, memory, free disk."""
    cpu = _cpu_facts(_text(Path("/proc/cpuinfo")))
    folder = default_bundle_dir()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpu": cpu["model"] or platform.processor() or platform.machine(),
        "cpu_flags": cpu["flags"],
        "cores": os.cpu_count(),
        "cpu_quota": cpu_quota(),
        "threads": usable_threads(),
        "memory_bytes": _memory("MemTotal"),
        "memory_available_bytes": _memory("MemAvailable"),
        "bundle_folder": str(folder),
        "bundle_folder_writable": os.access(existing, os.W_OK),
        "disk_free_bytes": shutil.disk_usage(existing).free,
    }


def package_facts() -> list[dict[str, Any]]:
    """Each package: name, extras, version and, where it can't be imported, the reason."""
    facts = []
    for name, module, extras in PACKAGES:
        version, problem = None, None
        try:
            if importlib.util.find_spec(module) is None:
                problem = "not installed"
            elif module in {"torch", "openvino"}:  # importing them takes seconds
                version = importlib.metadata.version(name)
            else:
                imported = importlib.import_module(module)
                version = getattr(imported, "__version__", None) or importlib.metadata.version(name)
        except Exception as exc:  # a broken package may raise anything while it is imported
            problem = f"{type(exc).__name__}: {exc}".splitlines()[0]
        facts.append({"name": name, "extras": list(extras), "version": version, "problem": problem})
    return facts


def vinfer_facts() -> dict[str, Any]:
    """Version, native module and its kernels, and what `import vinfer` takes in a new process."""
    import vinfer

    native, problem, kernels = None, None, None
    try:
        module = importlib.import_module("vinfer._native")
        native = str(module.__file__)
        kernels = {
            "cpu_level": module.cpu_levels()[-1],
            "cuda": module.cuda_was_built(),
            "cuda_devices": module.num_cuda_devices(),
            "ort_library": str(vinfer.ort_library_path()),
        }
    except (ImportError, VinferError) as exc:
        problem = str(exc)
    code = "import time; t = time.perf_counter(); import vinfer; print(time.perf_counter() - t)"
    seconds = _output([sys.executable, "-c", code])
    return {
        "version": vinfer.__version__,
        "path": str(Path(vinfer.__file__).parent),
        "native": native,
        "native_problem": problem,
        "kernels": kernels,
        "import_seconds": float(seconds) if seconds else None,
    }


def provider_facts() -> dict[str, Any]:
    """For ``cpu`` and ``cuda``: None where a graph really ran on it, else why not."""
    facts: dict[str, Any] = {}
    for provider in ("cpu", "cuda"):
        try:
            options = SessionOptions(provider=provider, threads=1)
            facts[provider] = _try_backend(options)["problem"]
        except VinferError as exc:
            facts[provider] = str(exc)
    return facts


def backend_facts() -> dict[str, dict[str, Any]]:
    """Each backend: precisions and, where a graph did not really run in it, why not."""
    facts: dict[str, dict[str, Any]] = {}
    known: dict[Backend, tuple[Precision, ...]] = {
        "onnxruntime": ("float32",),
        "openvino": openvino.precisions(),
    }
    for backend, precisions in known.items():
        options = SessionOptions(provider="cpu", threads=1, backend=backend)
        facts[backend] = {"precisions": list(precisions), "version": None}
        try:
            facts[backend] |= _try_backend(options)
        except VinferError as exc:
            facts[backend]["problem"] = str(exc)
    return facts


def _try_backend(options: SessionOptions) -> dict[str, Any]:
    import numpy as np

    session = load(_TINY_GRAPH, options)
    try:
        (result,) = session.run({"a": np.ones(1, np.float32)}).values()
        problem = None if result == 2 else f"it computed 1 + 1 = {result}"
        return {"version": session.describe().version, "problem": problem}
    finally:
        session.close()


def gpu_facts() -> list[dict[str, str]]:
    """NVIDIA GPUs as nvidia-smi lists them; empty without a driver."""
    fields = ("name", "driver_version", "memory.total", "compute_cap")
    text = _output(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"])
    rows = [line.split(", ") for line in (text or "").splitlines()]
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]


def codec_facts() -> dict[str, Any]:
    """Which of the codecs that matter PyAV can decode and encode, and its decoding devices."""
    try:
        import av
        import av.codec
        from av.codec.hwaccel import hwdevices_available
    except ImportError as exc:
        return {"problem": str(exc)}
    return {
        "ffmpeg": getattr(av, "ffmpeg_version_info", None),
        "decode": {name: _has_codec(name, "r") for name in ("h264", "hevc", "av1", "vp9", "mjpeg")},
        "encode": {name: _has_codec(name, "w") for name in ("libx264", "mpeg4")},
        "devices": list(hwdevices_available()),
    }


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av.codec

    try:
        av.codec.Codec(name, mode)
    except ValueError:  # av.codec.codec.UnknownCodecError
        return False
    return True


def bundle_facts() -> list[dict[str, Any]]:
    """Every bundle that can be named: identity and task, or what is wrong with it."""
    return [_bundle_fact(name, path) for name, path in known_bundles().items()]


def chosen_bundle_facts(relations: str, detector: str | None) -> dict[str, dict[str, Any]]:
    """The two bundles that `vinfer run` would take, by task; what is wrong with each, if anything.

    Args:
        relations: name or path.
        detector: name or path; None for the one that the relation bundle names.
    """
    facts = {"relations": _find(relations)}
    detector = detector or facts["relations"].get("detector")
    if detector is not None:
        facts["detection"] = _find(detector)
    for task, record in facts.items():
        if record["problem"] is None and record["task"] != task:
            record["problem"] = f"its task is {record['task']}, expected {task}"
    return facts


def _find(name: str) -> dict[str, Any]:
    try:
        return _bundle_fact(name, find_bundle(name))
    except VinferError as exc:
        return {"name": name, "path": None, "problem": str(exc)}


def _bundle_fact(name: str, path: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"name": name, "path": str(path), "problem": None}
    try:
        bundle = Bundle.open(path)
    except VinferError as exc:
        return record | {"problem": str(exc)}
    record |= {"identity": bundle.identity, "task": bundle.manifest.task}
    if isinstance(bundle.manifest, RelationManifest):
        record["detector"] = bundle.manifest.detector
    return record


def _cpu_facts(cpuinfo: str) -> dict[str, Any]:
    """Model and the instruction sets that matter, from the text of /proc/cpuinfo."""
    found = parse_cpuinfo(cpuinfo)
    return {
        "model": found.model,
        "flags": [flag for flag in (*_X86_FLAGS, *_ARM_FLAGS) if flag in found.flags],
    }


def _memory(field: str) -> int | None:
    found = re.search(rf"^{field}:\s*(\d+) kB$", _text(Path("/proc/meminfo")), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
