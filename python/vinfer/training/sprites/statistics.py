"""What is in a set of synthetic pictures: counts, the share of unrelated pairs, the balance."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from vinfer.training.sprites.stills import SpriteData
from vinfer.training.sprites.units import TWINNED


@dataclasses.dataclass(frozen=True, slots=True)
class SpriteStatistics:
    """Counts of a set.

    Attributes:
        num_pictures, num_objects, num_pairs: pairs are ordered.
        num_related: pairs with at least one relation.
        relations: by predicate.
        units, twins: layouts made for a predicate with its relation, and without; `linked_to` is
            one layout and two relations.
        classes: objects by class.
    """

    num_pictures: int
    num_objects: int
    num_pairs: int
    num_related: int
    relations: Mapping[str, int]
    units: Mapping[str, int]
    twins: Mapping[str, int]
    classes: Mapping[str, int]

    @property
    def unrelated_share(self) -> float:
        """Of all ordered pairs."""
        return 1 - self.num_related / self.num_pairs

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {
            **dataclasses.asdict(self),
            "unrelated_share": round(self.unrelated_share, 4),
        }


def sprite_statistics(data: SpriteData) -> SpriteStatistics:
    """Count what is in a set."""
    pairs = related = 0
    relations: collections.Counter[str] = collections.Counter()
    classes: collections.Counter[str] = collections.Counter()
    for picture in data.pictures:
        pairs += len(picture.labels) * (len(picture.labels) - 1)
        triplets = picture.triplets.tolist()
        related += len({(s, o) for s, _, o in triplets})
        relations.update(data.predicates[p] for _, p, _ in triplets)
        classes.update(data.classes[label] for label in picture.labels.tolist())
    placed = [pair for scene in data.scenes for pair in scene.pairs]
    units = collections.Counter(pair.kind for pair in placed if pair.related)
    twins = collections.Counter(pair.kind for pair in placed if not pair.related)
    return SpriteStatistics(
        num_pictures=len(data.pictures),
        num_objects=classes.total(),
        num_pairs=pairs,
        num_related=related,
        relations={name: relations[name] for name in data.predicates},
        units={name: units[name] for name in data.predicates},
        twins={name: twins[name] for name in TWINNED},
        classes={name: classes[name] for name in data.classes},
    )
