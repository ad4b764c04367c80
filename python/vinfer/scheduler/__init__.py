"""When work is done: what runs ahead, beside what, and in which order results come back."""

from vinfer.scheduler.ordered_map import OrderedMap

__all__ = ["OrderedMap"]
