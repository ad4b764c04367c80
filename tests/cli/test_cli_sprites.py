"""`vinfer sprites`: what it writes and prints; what is drawn has its own tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]

pytest.importorskip("av")


def test_stills_and_clips(vinfer_command: Command, tmp_path: Path) -> None:
    code, text, _ = vinfer_command(
        "sprites", tmp_path, "--stills", "3", "--clips", "2", "--frames", "20", "--seed", "5"
    )
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == [
        f"sprites-5-{k}.png" for k in range(3)
    ]
    assert len(json.loads((tmp_path / "annotations.json").read_text())["images"]) == 3
    assert json.loads((tmp_path / "relations.json").read_text())["exhaustive"] is True
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == [
        "sprites-5.json",
        "sprites-5.mp4",
        "sprites-6.json",
        "sprites-6.mp4",
    ]
    lines = text.splitlines()
    assert lines[0] == "predicate\trelations\tunits\ttwins"
    assert lines[1].startswith("on\t")
    assert lines[1].endswith("\t-")
    assert "3 pictures, " in lines[10]
    assert "% of them unrelated" in lines[10]
    assert lines[-1].startswith(f"{tmp_path / 'clips' / 'sprites-6.mp4'}: 20 frames, ")


def test_json(vinfer_json: JsonCommand, tmp_path: Path) -> None:
    code, document = vinfer_json("sprites", tmp_path, "--stills", "2", "--clips", "1")
    assert code == 0
    assert document["stills"]["num_pictures"] == 2
    assert document["clips"][0]["frames"] == 60


def test_nothing_asked_for_and_settings_out_of_range(
    vinfer_command: Command, tmp_path: Path
) -> None:
    code, _, err = vinfer_command("sprites", tmp_path)
    assert code == 2
    assert "found neither --stills nor --clips" in err
    code, _, err = vinfer_command("sprites", tmp_path, "--stills", "1", "--noise", "99")
    assert code == 2
    assert "noise: found 99, expected 0 to 64" in err
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    code, _, err = vinfer_command("sprites", tmp_path / "file", "--stills", "1")
    assert code == 5
    assert "choose another path" in err
