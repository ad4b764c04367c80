"""`vinfer train sprites-detector`: a tiny training, and counts that can't be."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from vinfer import errors

Command = Callable[..., tuple[int, str, str]]

pytest.importorskip("torch")
sprite_detector = pytest.importorskip("vinfer.export.sprite_detector")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--pictures", "0"),
        ("--pictures", "-5"),
        ("--pictures", "1000000"),
        ("--epochs", "0"),
        ("--seed", "-1"),
    ],
)
def test_counts_that_can_not_be_are_refused(
    vinfer_command: Command, tmp_path: Path, option: str, value: str
) -> None:
    out = tmp_path / "d.vinfer"
    code, _, err = vinfer_command("train", "sprites-detector", "-o", out, option, value)
    assert code == errors.ConfigError.exit_code
    assert f"{option.strip('-')}: found {value}, expected" in err
    assert not out.exists()


def test_the_command_trains_and_prints_what_it_measured(
    vinfer_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(sprite_detector.make_sprite_detector, num_held_out=1)
    monkeypatch.setattr(sprite_detector, "make_sprite_detector", quick)
    out = tmp_path / "d.vinfer"
    code, text, notes = vinfer_command(
        "train", "sprites-detector", "-o", out, "--pictures", "3", "--epochs", "1"
    )
    assert code == 0
    assert "1 epochs on 3 pictures" in notes
    assert text.splitlines()[-1] == f"bundle: {out}"
    assert out.is_file()
