"""A stream of random integers that starts at a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from vinfer.training.key64 import key64

T = TypeVar("T")


class KeyedRandom:
    """Integers only, so that what is made of them is the same on every platform.

    The k-th number is ``key64(key64(*key), k)``: two streams with different keys share nothing, and
    a picture is the same whatever was made before it.
    """

    def __init__(self, *key: int) -> None:
        self._key = key64(*key)
        self._count = 0

    def below(self, limit: int) -> int:
        """A number in ``[0, limit)``; the bias is below ``limit / 2**64``."""
        value = (key64(self._key, self._count) * limit) >> 64
        self._count += 1
        return value

    def between(self, low: int, high: int) -> int:
        """A number in ``[low, high]``."""
        return low + self.below(high - low + 1)

    def chance(self, numerator: int, denominator: int) -> bool:
        """True with probability ``numerator / denominator``."""
        return self.below(denominator) < numerator

    def sign(self) -> int:
        """-1 or 1."""
        return 2 * self.below(2) - 1

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order
