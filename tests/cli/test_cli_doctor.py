"""`vinfer doctor`: facts of this machine, and the verdicts for any facts."""

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import vinfer
from vinfer.cli import exit_codes, machine
from vinfer.cli.doctor import judge

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]

ALL = {
    "run",
    "infer on pictures, embedded",
    "decode H.264 and HEVC",
    "annotated video",
    "run on CUDA",
    "run in OpenVINO",
    "PostgreSQL store",
    "export",
    "eval detection",
    "train",
}
GOOD: dict[str, Any] = {
    "vinfer": {"native_problem": None},
    "packages": [
        {"name": name, "extras": list(extras), "version": "1", "problem": None}
        for name, _, extras in machine.PACKAGES
    ],
    "providers": {"cpu": None, "cuda": None},
    "backends": {"onnxruntime": {"problem": None}, "openvino": {"problem": None}},
    "codecs": {"decode": {"h264": True, "hevc": True}, "encode": {"libx264": True}},
    "chosen_bundles": {"relations": {"problem": None}, "detection": {"problem": None}},
}


def without_package(name: str) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        package = next(p for p in facts["packages"] if p["name"] == name)
        package.update(version=None, problem="not installed")

    return change


def changed(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        for key in keys[:-1]:
            facts = facts[key]
        facts[keys[-1]] = to

    return change


def test_with_everything_there_all_is_possible() -> None:
    verdicts = judge(GOOD)
    assert {verdict.what for verdict in verdicts} == ALL
    assert all(verdict.can for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "impossible", "reason", "remedy"),
    [
        (
            changed("vinfer", "native_problem", to="no _native"),
            {"run", "infer on pictures, embedded"},
            "the native module does not load: no _native",
            "pip install --force-reinstall vinfer",
        ),
        (
            without_package("onnxruntime"),
            {"run", "infer on pictures, embedded"},
            "onnxruntime (not installed)",
            "pip install 'vinfer'",
        ),
        (
            without_package("trackers"),
            {"run", "decode H.264 and HEVC", "annotated video", "PostgreSQL store"}
            | {"eval detection"},
            "trackers (not installed)",
            "pip install 'vinfer[video]'",
        ),
        (
            without_package("psycopg"),
            {"PostgreSQL store"},
            "psycopg (not installed)",
            "pip install 'vinfer[postgresql]'",
        ),
        (
            without_package("torch"),
            {"train"},
            "torch (not installed)",
            "pip install 'vinfer[train]'",
        ),
        (
            without_package("onnx"),
            {"run in OpenVINO", "export", "train"},
            "onnx (not installed)",
            "pip install 'vinfer[openvino]'",
        ),
        (
            without_package("openvino"),
            {"run in OpenVINO"},
            "openvino (not installed)",
            "pip install 'vinfer[openvino]'",
        ),
        (
            changed("backends", "openvino", "problem", to="it computed 1 + 1 = 3"),
            {"run in OpenVINO"},
            "it computed 1 + 1 = 3",
            "",
        ),
        (
            without_package("pycocotools"),
            {"eval detection"},
            "pycocotools (not installed)",
            "pip install 'vinfer[eval]'",
        ),
        (
            changed("providers", "cuda", to="CUDA is not in this build; do this; and that"),
            {"run on CUDA"},
            "CUDA is not in this build",
            "do this; and that",
        ),
        (
            changed("codecs", "encode", to={"libx264": False, "mpeg4": False}),
            {"annotated video"},
            "FFmpeg in PyAV can't encode mpeg4",
            "pip install --force-reinstall av",
        ),
        (
            changed("codecs", to={"problem": "broken"}),
            {"decode H.264 and HEVC", "annotated video"},
            "FFmpeg in PyAV can't decode h264, hevc",
            "pip install --force-reinstall av",
        ),
        (
            changed("chosen_bundles", "detection", "problem", to="no bundle 'x'; vinfer export x"),
            {"run", "infer on pictures, embedded"},
            "no bundle 'x'",
            "vinfer export x",
        ),
    ],
)
def test_each_obstacle_stops_what_needs_it(
    change: Callable[[dict[str, Any]], None], impossible: set[str], reason: str, remedy: str
) -> None:
    facts = copy.deepcopy(GOOD)
    change(facts)
    stopped = [verdict for verdict in judge(facts) if not verdict.can]
    assert {verdict.what for verdict in stopped} == impossible
    assert (stopped[0].reason, stopped[0].remedy) == (reason, remedy)


def test_mpeg4_does_for_annotated_video() -> None:
    facts = copy.deepcopy(GOOD)
    facts["codecs"]["encode"] = {"libx264": False, "mpeg4": True}
    assert all(verdict.can for verdict in judge(facts))


def test_a_configuration_that_asks_for_cuda_needs_it() -> None:
    facts = copy.deepcopy(GOOD)
    facts["providers"]["cuda"] = "no driver; get one"
    assert judge(facts)[0].can
    assert not judge(facts, provider="cuda")[0].can


def test_a_configuration_that_asks_for_openvino_needs_it() -> None:
    facts = copy.deepcopy(GOOD)
    without_package("openvino")(facts)
    assert judge(facts, backend="auto")[0].can
    verdict = judge(facts, backend="openvino")[0]
    assert (verdict.what, verdict.remedy) == ("run", "pip install 'vinfer[openvino]'")


def test_this_machine(vinfer_json: JsonCommand, tmp_path: Path, tiny_bundles: Path) -> None:
    config = tmp_path / "vinfer.yaml"
    config.write_text("bundle: tiny-relations\n")
    code, document = vinfer_json("doctor", "--config", config)
    assert code == 0
    assert {v["what"]: v["can"] for v in document["verdicts"]}["run"]
    assert document["vinfer"]["version"] == vinfer.__version__
    assert document["vinfer"]["native"].endswith(".so")
    assert 0 < document["vinfer"]["import_seconds"] < 30
    assert document["machine"]["threads"] >= 1
    assert document["machine"]["memory_bytes"] > 1e8
    assert document["machine"]["bundle_folder"] == str(tiny_bundles)
    assert document["providers"]["cpu"] is None
    backends = document["backends"]
    assert backends["onnxruntime"]["problem"] is None
    assert backends["onnxruntime"]["version"] == onnxruntime.__version__
    assert backends["openvino"]["precisions"][0] == "float32"
    installed = importlib.util.find_spec("openvino") is not None
    assert (backends["openvino"]["problem"] is None) is installed
    assert document["codecs"]["decode"]["h264"]
    assert document["chosen_bundles"]["detection"]["identity"] == "tiny-detector@1.0"
    assert {b["name"] for b in document["bundles"]} >= {"tiny-detector", "tiny-relations"}


def test_without_the_bundle_run_is_impossible(vinfer_command: Command, tmp_path: Path) -> None:
    config = tmp_path / "vinfer.yaml"
    config.write_text("bundle: no-such-bundle\n")
    code, out, _ = vinfer_command("doctor", "-c", config)
    assert code == exit_codes.MISSING
    assert "can not  run: no bundle 'no-such-bundle'" in out
    assert "can      annotated video" in out


def test_a_bundle_of_the_other_task_is_named(
    tiny_bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VINFER_BUNDLES", str(tiny_bundles))
    facts = machine.chosen_bundle_facts("tiny-detector", "tiny-relations")
    assert facts["relations"]["problem"] == "its task is detection, expected relations"
    assert facts["detection"]["problem"] == "its task is relations, expected detection"


def test_a_damaged_bundle_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.vinfer").write_bytes(b"PK")
    monkeypatch.setenv("VINFER_BUNDLES", str(tmp_path))
    bad = next(fact for fact in machine.bundle_facts() if fact["name"] == "bad")
    assert "bad.vinfer" in bad["problem"]


def test_gpus_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_facts() == []
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54.15, 23034 MiB, 8.9'\n")
    script.chmod(0o755)
    assert machine.gpu_facts() == [
        {
            "name": "NVIDIA L4",
            "driver_version": "550.54.15",
            "memory.total": "23034 MiB",
            "compute_cap": "8.9",
        }
    ]
    script.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert machine.gpu_facts() == []


@pytest.mark.parametrize(
    ("cpuinfo", "model", "flags"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx512f sse\n",
            "AMD EPYC",
            ["avx2", "fma", "avx512f"],
        ),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", None, ["asimd", "asimddp"]),
        ("", None, []),
    ],
)
def test_the_processor_is_read_from_cpuinfo(
    cpuinfo: str, model: str | None, flags: list[str]
) -> None:
    assert machine._cpu_facts(cpuinfo) == {"model": model, "flags": flags}


def test_a_broken_package_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brokenpackage.py").write_text("raise OSError('libGL.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        machine,
        "PACKAGES",
        (("broken", "brokenpackage", ("video",)), ("none", "no_such_module", ())),
    )
    assert machine.package_facts() == [
        {
            "name": "broken",
            "extras": ["video"],
            "version": None,
            "problem": "OSError: libGL.so.1: cannot open",
        },
        {"name": "none", "extras": [], "version": None, "problem": "not installed"},
    ]
