"""What holds for every verb: help, exit codes, messages, --json, a missing typer."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vinfer
from vinfer import errors
from vinfer.cli import exit_codes
from vinfer.cli.main import main

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]

EXAMPLES = {
    "run": "vinfer run clip.mp4 -o out/",
    "export": "vinfer export ssd-mobilenet-v2-coco",
    "train relation-prior": "vinfer train relation-prior --data vrd/ -o relation-prior.vinfer",
    "inspect": "vinfer inspect relation-prior",
    "eval detection": "vinfer eval detection ssd-mobilenet-v2-coco --annotations "
    "annotations.json --images images/",
    "eval events": "vinfer eval events truth.json out/events.jsonl",
    "eval precision": "vinfer eval precision relations.vinfer --config relations.yaml "
    "-o measured.vinfer",
    "eval relations": "vinfer eval relations truth.json predictions.json",
    "eval vidvrd": "vinfer eval vidvrd truth.json out/events.vidvrd.json",
    "doctor": "vinfer doctor",
}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def error_classes(root: type[errors.VinferError]) -> list[type[errors.VinferError]]:
    return [root, *(c for sub in root.__subclasses__() for c in error_classes(sub))]


def words(text: str) -> str:
    """The text without box drawing and line breaks, to search it whatever the width."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


@pytest.mark.parametrize("verb", EXAMPLES)
def test_help_shows_the_example_and_json(vinfer_command: Command, verb: str) -> None:
    code, out, err = vinfer_command(*verb.split(), "--help")
    assert (code, err) == (0, "")
    assert f"Example: {EXAMPLES[verb]}" in words(out)
    assert "--json" in out


@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_are_in_the_manual(verb: str) -> None:
    assert EXAMPLES[verb] in (DOCS / "cli.md").read_text()


@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_parse(
    vinfer_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """In an empty folder each fails for want of its files, none for its usage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VINFER_BUNDLES", str(tmp_path))
    if verb == "export":
        monkeypatch.setattr("vinfer.export.export", _no_download)
    code, _, err = vinfer_command(*shlex.split(EXAMPLES[verb])[1:])
    assert "Usage:" not in err
    assert code != exit_codes.UNEXPECTED, err


def _no_download(*arguments: Any, **options: Any) -> Path:
    raise errors.BundleError("no network in tests")


def test_help_lists_verbs_and_exit_codes(vinfer_command: Command) -> None:
    code, out, _ = vinfer_command("--help")
    assert code == 0
    for verb in ("run", "export", "train", "inspect", "eval", "doctor"):
        assert re.search(rf"^│? *{verb} ", out, re.MULTILINE), verb
    for number, meaning in exit_codes.MEANING.items():
        assert f"{number} {meaning}" in words(out)


def test_the_manual_lists_the_same_exit_codes() -> None:
    manual = (DOCS / "cli.md").read_text()
    for number, meaning in exit_codes.MEANING.items():
        assert f"| {number} | {meaning} |" in manual


def test_no_arguments_show_help(vinfer_command: Command) -> None:
    code, out, err = vinfer_command()
    assert code == exit_codes.USAGE
    assert "Usage: vinfer" in out + err


def test_version(vinfer_command: Command) -> None:
    assert vinfer_command("--version")[:2] == (0, f"vinfer {vinfer.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [("rum",), ("run",), ("run", "a.mp4", "--strid", "2"), ("run", "a.mp4", "--stride", "0")],
)
def test_wrong_usage(vinfer_command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = vinfer_command(*arguments)
    assert code == exit_codes.USAGE
    assert "Usage:" in err
    assert out == ""


@pytest.mark.parametrize("kind", error_classes(errors.VinferError))
def test_each_error_has_its_exit_code_and_no_traceback(
    vinfer_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[errors.VinferError],
) -> None:
    def fail(name: str) -> Path:
        raise kind("found this, expected that; do so")

    monkeypatch.setattr("vinfer.bundles.find_bundle", fail)
    code, out, err = vinfer_command("inspect", "x")
    assert code == kind.exit_code
    assert code in exit_codes.MEANING
    assert (out, err) == ("", "vinfer: found this, expected that; do so\n")


@pytest.mark.parametrize("where", ["front", "end", "environment"])
def test_debug_shows_the_traceback(
    vinfer_command: Command, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    arguments = ["inspect", "no-such-bundle"]
    if where == "environment":
        monkeypatch.setenv("VINFER_DEBUG", "1")
    else:
        arguments.insert(0 if where == "front" else 2, "--debug")
    code, _, err = vinfer_command(*arguments)
    assert code == errors.BundleNotFoundError.exit_code
    assert "Traceback (most recent call last)" in err
    assert "find_bundle" in err


def test_an_unexpected_error_says_how_to_report_it(
    vinfer_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Path:
        raise RuntimeError("boom")

    monkeypatch.setattr("vinfer.bundles.find_bundle", fail)
    code, _, err = vinfer_command("inspect", "x")
    assert code == exit_codes.UNEXPECTED
    assert err.startswith("vinfer: unexpected RuntimeError: boom\n")
    assert "--debug" in err
    assert "Traceback" not in err


def test_an_error_is_json_too(vinfer_json: JsonCommand) -> None:
    code, document = vinfer_json("inspect", "no-such-bundle")
    assert code == errors.BundleNotFoundError.exit_code
    assert document["error"]["kind"] == "BundleNotFoundError"
    assert document["error"]["exit_code"] == code
    assert "no-such-bundle" in document["error"]["message"]


def test_a_signal_before_the_work_ends_it(
    vinfer_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):

        def interrupted(name: str, number: signal.Signals = number) -> Path:
            signal.raise_signal(number)
            raise AssertionError("the signal was swallowed")

        monkeypatch.setattr("vinfer.bundles.find_bundle", interrupted)
        code, _, err = vinfer_command("inspect", "x")
        assert (code, err) == (expected, f"vinfer: {number.name}\n")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_without_typer_there_is_a_hint(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.startswith(("vinfer.cli.app", "vinfer.cli.run"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    code = main(["doctor"])
    assert code == exit_codes.MISSING
    assert capfd.readouterr().err == (
        "vinfer: the command line needs the package typer: pip install 'vinfer[video]'\n"
    )


def test_help_is_light() -> None:
    """Counted in modules: what a verb needs is imported when the verb runs."""
    code = (
        "import sys; from vinfer.cli.main import main; main(['run', '--help'])\n"
        "print(*{n.partition('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "onnx", "onnxruntime", "av", "cv2", "supervision", "sqlalchemy", "trackers"}
    assert not heavy & set(done.stderr.split())


def test_the_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vinfer.cli.main", "inspect", "no-such-bundle", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == errors.BundleNotFoundError.exit_code
    assert json.loads(done.stdout)["error"]["kind"] == "BundleNotFoundError"
