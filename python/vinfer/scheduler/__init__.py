"""When work is done: what runs ahead and what waits."""

from vinfer.scheduler.prefetch import Prefetch

__all__ = ["Prefetch"]
