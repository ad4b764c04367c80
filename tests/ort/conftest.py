from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import real_parts
import runtimes

from vinfer.errors import ProviderUnavailableError
from vinfer.ort_library import ort_library_path


@pytest.fixture(scope="session", params=runtimes.SUPPORTED)
def runtime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[runtimes.Runtime]:
    """Every supported release in turn, one process for all tests."""
    running = runtimes.Runtime(request.param, tmp_path_factory.mktemp(request.param))
    yield running
    running.close()


@pytest.fixture(scope="session")
def library() -> Path:
    try:
        return ort_library_path()
    except ProviderUnavailableError as exc:
        real_parts.missing(str(exc))
