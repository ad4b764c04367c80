"""Which scores become events: chosen on held-out VRD pictures, confirmed on others afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.bundles import EventThresholds
from vinfer.types import Float32Array

EVENT_PREDICATES = ("ride", "on")
"""The predicates that may become events. The others are scored only: boxes can't tell a bag that is
held from one that is worn, and whether "next to" or "behind" hold can't be judged from labels that
leave most pairs undescribed (docs/relation-prior.md has the figures)."""

LEAST_PRECISION = 0.70
"""Against VRD's incomplete labels, where a true but undescribed relation counts as wrong; on
exhaustively labelled pictures the same thresholds are more precise."""

LEAST_FOUND = 30
"""Held-out pairs at or above a threshold, below which its precision says nothing."""

HYSTERESIS = 0.20
"""An event goes on until the score is this much below the threshold that opened it."""

GRID = tuple(round(0.05 * k, 2) for k in range(10, 20))
"""Candidates: from 0.5, since an event must be more likely true than not."""


@dataclasses.dataclass(frozen=True, slots=True)
class EventPrecision:
    """What a threshold gave on the held-out pictures.

    Attributes:
        threshold: scores at or above it count.
        found: pairs with such a score.
        right: those of them that the annotators described so.
        described: all pairs that they described so.
    """

    threshold: float
    found: int
    right: int
    described: int

    @property
    def precision(self) -> float:
        """``right / found``; 0 where nothing was found."""
        return self.right / self.found if self.found else 0.0

    def to_dict(self) -> dict[str, float]:
        """JSON-ready record."""
        return dataclasses.asdict(self)


def choose_thresholds(
    scores: Float32Array,
    described: npt.NDArray[np.bool_],
    predicates: Sequence[str],
    *,
    candidates: Sequence[str] = EVENT_PREDICATES,
    least_precision: float = LEAST_PRECISION,
) -> dict[str, EventPrecision]:
    """The lowest threshold of each candidate that is precise enough.

    Args:
        scores: float32 ``[m, predicates]`` in [0, 1], of held-out pairs.
        described: bool ``[m, predicates]``.
        predicates: names of the columns.
        candidates: predicates that may become events.
        least_precision: in (0, 1].

    Returns:
        By predicate; one that reaches ``least_precision`` nowhere, or only on fewer than
        `LEAST_FOUND` pairs, is left out and so never becomes an event.
    """
    chosen = {}
    for name in candidates:
        k = list(predicates).index(name)
        for threshold in GRID:
            found = scores[:, k] >= np.float32(threshold)
            measured = EventPrecision(
                threshold=threshold,
                found=int(found.sum()),
                right=int(described[found, k].sum()),
                described=int(described[:, k].sum()),
            )
            if measured.found >= LEAST_FOUND and measured.precision >= least_precision:
                chosen[name] = measured
                break
    return chosen


def event_thresholds(chosen: Mapping[str, EventPrecision]) -> dict[str, EventThresholds]:
    """The manifest's ``events``."""
    return {
        name: EventThresholds(on=measured.threshold, off=round(measured.threshold - HYSTERESIS, 2))
        for name, measured in chosen.items()
    }
