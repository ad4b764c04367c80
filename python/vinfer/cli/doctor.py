"""`vinfer doctor`: what this machine can run, and how to get what it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vinfer.cli import exit_codes
from vinfer.cli.console import JsonOption, print_json, print_line, print_table

EXAMPLE = "Example: vinfer doctor"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether something can be done here.

    Attributes:
        what: the capability.
        reason: why not; empty where it can.
        remedy: what to type to get it.
    """

    what: str
    reason: str = ""
    remedy: str = ""

    @property
    def can(self) -> bool:
        """Nothing is in the way."""
        return not self.reason


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Judge for this configuration file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine can run, and how to get what it cannot.

    Ends with 0 when `vinfer run` is possible, else with 6.
    """
    from vinfer.config import load_config

    settings = load_config(config)
    facts = gather(settings.bundle, settings.detector)
    verdicts = judge(facts, provider=settings.provider, backend=settings.backend)
    if as_json:
        records = [{"can": v.can, **dataclasses.asdict(v)} for v in verdicts]
        print_json({"verdicts": records, **facts})
    else:
        _print_facts(facts)
        _print_verdicts(verdicts)
    if not verdicts[0].can:
        raise typer.Exit(exit_codes.MISSING)


def gather(bundle: str, detector: str | None) -> dict[str, Any]:
    """All facts, JSON-ready.

    Args:
        bundle: the relation bundle that `run` would take.
        detector: the detector; None for the one that the relation bundle names.
    """
    from vinfer.cli import machine

    return {
        "vinfer": machine.vinfer_facts(),
        "machine": machine.machine_facts(),
        "packages": machine.package_facts(),
        "providers": machine.provider_facts(),
        "backends": machine.backend_facts(),
        "gpus": machine.gpu_facts(),
        "codecs": machine.codec_facts(),
        "bundles": machine.bundle_facts(),
        "chosen_bundles": machine.chosen_bundle_facts(bundle, detector),
    }


def judge(
    facts: Mapping[str, Any], *, provider: str = "auto", backend: str = "onnxruntime"
) -> list[Verdict]:
    """What can be done with these facts, `run` first; a reason is the first thing in the way.

    Args:
        facts: as `gather` gives them.
        provider, backend: what the configuration asks for.
    """
    cpu, cuda = (_provider(facts, name) for name in ("cpu", "cuda"))
    openvino = _packages(facts, "openvino") or _backend(facts, "openvino")
    core = (
        _native(facts),
        _packages(facts, ""),
        cuda if provider == "cuda" else cpu,
        openvino if backend == "openvino" else None,
    )
    video = _packages(facts, "video")
    bundles = _bundles(facts)
    return [
        _first("run", *core, video, bundles),
        _first("infer on pictures, embedded", *core, bundles),
        _first("decode H.264 and HEVC", video, _codecs(facts, "decode", ("h264", "hevc"))),
        _first("annotated video", video, _encoder(facts)),
        _first("run on CUDA", cuda),
        _first("run in OpenVINO", openvino),
        _first("PostgreSQL store", video, _packages(facts, "postgresql")),
        _first("export", _packages(facts, "export")),
        _first("eval detection", video, _packages(facts, "eval")),
        _first("train", _packages(facts, "train")),
    ]


_Obstacle = tuple[str, str] | None


def _first(what: str, *obstacles: _Obstacle) -> Verdict:
    return next((Verdict(what, *found) for found in obstacles if found), Verdict(what))


def _native(facts: Mapping[str, Any]) -> _Obstacle:
    problem = facts["vinfer"]["native_problem"]
    return problem and (
        f"the native module does not load: {problem}",
        "pip install --force-reinstall vinfer",
    )


def _packages(facts: Mapping[str, Any], extra: str) -> _Obstacle:
    """What is missing of an extra; of vinfer's own requirements for ``""``."""
    wanted = [p for p in facts["packages"] if extra in (p["extras"] or [""])]
    wrong = [
        f"{package['name']} ({package['problem']})" for package in wanted if package["problem"]
    ]
    name = f"vinfer[{extra}]" if extra else "vinfer"
    return (", ".join(wrong), f"pip install '{name}'") if wrong else None


def _provider(facts: Mapping[str, Any], name: str) -> _Obstacle:
    reason, _, remedy = (facts["providers"][name] or "").partition("; ")
    return (reason, remedy) if reason else None


def _backend(facts: Mapping[str, Any], name: str) -> _Obstacle:
    reason, _, remedy = (facts["backends"][name]["problem"] or "").partition("; ")
    return (reason, remedy) if reason else None


def _codecs(facts: Mapping[str, Any], direction: str, names: Sequence[str]) -> _Obstacle:
    known = facts["codecs"].get(direction, {})
    missing = [name for name in names if not known.get(name)]
    reason = f"FFmpeg in PyAV can't {direction} {', '.join(missing)}"
    return (reason, "pip install --force-reinstall av") if missing else None


def _encoder(facts: Mapping[str, Any]) -> _Obstacle:
    """Annotated video is H.264 or, in a build of FFmpeg without it, MPEG-4."""
    h264 = _codecs(facts, "encode", ("libx264",))
    return h264 and _codecs(facts, "encode", ("mpeg4",))


def _bundles(facts: Mapping[str, Any]) -> _Obstacle:
    for record in facts["chosen_bundles"].values():
        if record["problem"]:
            reason, _, remedy = record["problem"].partition("; ")
            return reason, remedy
    return None


def _print_facts(facts: Mapping[str, Any]) -> None:
    own, machine, codecs = facts["vinfer"], facts["machine"], facts["codecs"]
    rows = [
        ("vinfer", f"{own['version']} in {own['path']}"),
        ("native module", own["native"] or f"does not load: {own['native_problem']}"),
        ("kernels", _kernels(own["kernels"])),
        ("import time", f"{own['import_seconds']:.2f} s" if own["import_seconds"] else "unknown"),
        ("python", f"{machine['python']} ({machine['executable']})"),
        ("platform", machine["platform"]),
        ("processor", f"{machine['cpu']}: {' '.join(machine['cpu_flags'])}"),
        ("cores", _cores(machine)),
        (
            "memory",
            f"{_gb(machine['memory_available_bytes'])} of {_gb(machine['memory_bytes'])} free",
        ),
        (
            "bundle folder",
            machine["bundle_folder"]
            + ("" if machine["bundle_folder_writable"] else " (not writable)"),
        ),
        ("free disk there", _gb(machine["disk_free_bytes"])),
    ]
    rows += [("GPU", ", ".join(gpu.values())) for gpu in facts["gpus"]]
    if not facts["gpus"]:
        rows.append(("GPU", "none that nvidia-smi knows"))
    rows += [(f"{name} provider", why or "works") for name, why in facts["providers"].items()]
    rows += [
        (
            f"{name} backend",
            each["problem"] or f"{each['version']}: {', '.join(each['precisions'])}",
        )
        for name, each in facts["backends"].items()
    ]
    for direction in ("decode", "encode"):
        known = codecs.get(direction, {})
        rows.append(
            (direction, ", ".join(name for name, there in known.items() if there) or "nothing")
        )
    rows.append(("hwaccels built in", ", ".join(codecs.get("devices", [])) or "none"))
    print_table("This machine", ("what", "found"), rows)
    packages = [
        (
            p["name"],
            p["version"] or p["problem"],
            f"vinfer[{','.join(p['extras'])}]" if p["extras"] else "vinfer",
        )
        for p in facts["packages"]
    ]
    print_table("Packages", ("package", "version", "comes with"), packages)
    bundles = [
        (b["name"], b.get("identity", "-"), b.get("task", "-"), b["problem"] or b["path"])
        for b in facts["bundles"]
    ]
    print_table("Bundles", ("name", "identity", "task", "path"), bundles)


def _print_verdicts(verdicts: Sequence[Verdict]) -> None:
    print_line("")
    for verdict in verdicts:
        if verdict.can:
            print_line(f"can      {verdict.what}")
        else:
            remedy = f" -> {verdict.remedy}" if verdict.remedy else ""
            print_line(f"can not  {verdict.what}: {verdict.reason}{remedy}")


def _kernels(kernels: Mapping[str, Any] | None) -> str:
    if kernels is None:
        return "none"
    if not kernels["cuda"]:
        return f"{kernels['cpu_level']}; no CUDA kernels in this build"
    return f"{kernels['cpu_level']}; CUDA, {kernels['cuda_devices']} GPUs found"


def _cores(machine: Mapping[str, Any]) -> str:
    quota = machine["cpu_quota"]
    limit = f", quota {quota:g}" if quota is not None else ""
    return f"{machine['cores']}{limit}; {machine['threads']} threads are used"


def _gb(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / 1e9:.1f} GB"
