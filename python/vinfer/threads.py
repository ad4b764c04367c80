"""How many CPU threads this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_threads() -> int:
    """Cores that this process may run on, at least 1.

    Its CPU affinity, lowered to the CPU quota of its control group (a container's limit), which the
    count of cores does not show: with more threads than quota all of them are stopped for the rest
    of each period, in the middle of a run.
    """
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """CPU time per time that the control groups of this process allow, in cores.

    Args:
        membership: the file that names the process's groups.
        root: where control groups are mounted (version 2, or version 1 with ``cpu`` below it).

    Returns:
        The lowest quota on the way from the process's group to the root; None without one.
    """
    quotas = []
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _upwards(root, group)]
        elif "cpu" in controllers.split(","):
            # The mount is named after all its controllers, or linked as "cpu".
            for mount in {root / controllers, root / "cpu"}:
                quotas += [_quota_v1(folder) for folder in _upwards(mount, group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(mount: Path, group: str) -> list[Path]:
    # In a container the path may be one of the host's, absent here; the mount itself then counts.
    folder = mount / group.strip("/")
    return [folder, *(p for p in folder.parents if p.is_relative_to(mount))]


def _quota_v2(folder: Path) -> float | None:
    fields = _text(folder / "cpu.max").split()
    return _ratio(fields[0], fields[1]) if len(fields) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        microseconds, per = int(quota), int(period)
    except ValueError:  # "max", or no such file
        return None
    return microseconds / per if microseconds > 0 and per > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
