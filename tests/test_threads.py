"""The number of threads: affinity and the quota of the control group."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vinfer import threads


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def quota_of(tmp_path: Path) -> Callable[..., float | None]:
    """The quota for a membership file and files below the mount."""

    def quota(membership: str, files: dict[str, str]) -> float | None:
        write(tmp_path / "cgroup", membership)
        for name, text in files.items():
            write(tmp_path / "sys" / name, text)
        return threads.cpu_quota(tmp_path / "cgroup", tmp_path / "sys")

    return quota


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param("0::/a/b", {"a/b/cpu.max": "150000 100000"}, 1.5, id="v2"),
        pytest.param("0::/a/b", {"a/b/cpu.max": "max 100000"}, None, id="v2 without"),
        pytest.param(
            "0::/a/b",
            {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "cpu.max": "300000 100000"},
            0.5,
            id="v2 lowest of the parents",
        ),
        pytest.param("0::/", {"cpu.max": "200000 100000"}, 2.0, id="v2 in a container"),
        pytest.param("0::/host/only", {"cpu.max": "200000 100000"}, 2.0, id="v2 host's path"),
        pytest.param(
            "4:memory:/m\n3:cpu,cpuacct:/x",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000",
            },
            2.5,
            id="v1",
        ),
        pytest.param(
            "2:cpuacct:/y\n1:cpu:/x",
            {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"},
            None,
            id="v1 without",
        ),
        pytest.param("nonsense", {}, None, id="nonsense"),
        pytest.param("0::/", {"cpu.max": "10 0"}, None, id="no period"),
        pytest.param("0::/", {"cpu.max": "a b c"}, None, id="not numbers"),
    ],
)
def test_quota(
    quota_of: Callable[..., float | None],
    membership: str,
    files: dict[str, str],
    expected: float | None,
) -> None:
    assert quota_of(membership, files) == expected


def test_no_control_groups(tmp_path: Path) -> None:
    assert threads.cpu_quota(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("cores", "quota", "expected"),
    [(8, None, 8), (8, 2.0, 2), (8, 2.5, 3), (8, 0.2, 1), (2, 16.0, 2), (1, None, 1)],
)
def test_usable_threads(
    cores: int, quota: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert threads.usable_threads() == expected
