"""`vinfer train`: what it passes on and prints; the training has its own tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vinfer import errors
from vinfer.cli import exit_codes

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]

pytest.importorskip("torch")


def test_arguments_are_passed_on_and_the_report_is_shown(
    vinfer_command: Command,
    vinfer_json: JsonCommand,
    tmp_path: Path,
    tiny_bundles: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vinfer.training import relation_prior
    from vinfer.training.relation_prior import TrainingReport
    from vinfer.training.thresholds import EventPrecision

    calls = []

    def fake(
        data_dir: Path, output: Path, *, seed: int, progress: Callable[[int, int, float], None]
    ) -> TrainingReport:
        calls.append((data_dir, output, seed))
        progress(1, 2, 0.5)
        return TrainingReport(
            bundle=output,
            seed=seed,
            epochs=7,
            num_pairs=1000,
            num_held_out=200,
            held_out_loss=0.25,
            seconds=1.5,
            events={"ride": EventPrecision(0.6, 40, 30, 50)},
            skipped={"box without area": 2},
        )

    monkeypatch.setattr(relation_prior, "train", fake)
    out = tmp_path / "r.vinfer"
    arguments = ("train", "relation-prior", "--data", tmp_path)
    code, text, notes = vinfer_command(*arguments, "-o", out, "--seed", "3")
    assert code == 0
    assert text.splitlines()[1:] == ["ride\t0.60\t0.750\t30\t40", f"bundle: {out}"]
    assert "7 epochs on 1000 pairs in 1.5 s; log loss 0.2500 on 200 held-out pairs" in notes
    assert "rows left out: 2 box without area" in notes
    code, document = vinfer_json(*arguments)
    assert code == 0
    assert document["events"]["ride"]["right"] == 30
    assert calls == [
        (tmp_path, out, 3),
        (tmp_path, tiny_bundles / "relation-prior.vinfer", 0),
    ]


def test_a_folder_without_labels(vinfer_command: Command, tmp_path: Path) -> None:
    code, _, err = vinfer_command("train", "relation-prior", "--data", tmp_path)
    assert code == errors.TrainingError.exit_code == exit_codes.TRAINING
    assert "train.json" in err
