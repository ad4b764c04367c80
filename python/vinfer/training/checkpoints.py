"""A training's state on disk: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vinfer.errors import OutputError, TrainingError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the file by a new one; whoever reads it gets one of the two, never a part.

    Raises:
        OutputError: it can't be written; the old file is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as exc:  # PyTorch raises RuntimeError on a full disk
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the checkpoint can't be written: {exc}") from exc


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; numbers and tensors only, no code is run.

    Raises:
        TrainingError: it is not there, damaged, or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise TrainingError(f"{path}: no such file; expected a checkpoint") from exc
    except Exception as exc:  # unpickling damaged bytes raises whatever it hits upon
        raise TrainingError(
            f"{path}: not a readable checkpoint ({exc}); delete it to start anew"
        ) from exc
    if not isinstance(state, dict):
        raise TrainingError(f"{path}: found a {type(state).__name__}, expected a checkpoint")
    return state
