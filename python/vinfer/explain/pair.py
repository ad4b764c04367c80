"""The score of one pair and predicate: among those of a frame, and with something changed."""

from __future__ import annotations

import numpy as np

from vinfer.stages.relate import Relator
from vinfer.types import Detections, Event, Relations, UInt8Array

Box = tuple[float, float, float, float]


def pair_score(
    relations: Relations, subject: int, predicate: str, object_: int, *, symmetric: bool
) -> float:
    """The best score of a pair, as events count it.

    Args:
        relations: of one frame.
        subject, object_: indices into the frame's detections.
        predicate: its name.
        symmetric: whether the other direction counts, too.

    Returns:
        0 where the pair is not among the relations.
    """
    directions = [(subject, object_), (object_, subject)] if symmetric else [(subject, object_)]
    of_predicate = relations.predicates == relations.names.index(predicate)
    scores = [
        relations.scores[of_predicate & (relations.pairs == direction).all(1)]
        for direction in directions
    ]
    return float(np.concatenate(scores).max(initial=0.0))


class PairScorer:
    """Scores an event's pair on its best frame, alone and exactly, whatever ``min_score`` is.

    A relation model looks at each pair for itself: other objects of the frame change nothing.

    Attributes:
        needs_image: whether the model looks at the picture.
        symmetric: whether the predicate holds in both directions or in none.
    """

    def __init__(self, relator: Relator, event: Event) -> None:
        """Args: relator: the model; event: a final one, with the boxes of its best frame."""
        self._relator = relator
        self._event = event
        self.needs_image = relator.needs_image
        self.symmetric = event.predicate in relator.manifest.symmetric

    def score(
        self,
        image: UInt8Array,
        *,
        subject: Box | None = None,
        object_: Box | None = None,
        reverse: bool = False,
    ) -> float:
        """The score; may be called from several threads at once.

        Args:
            image: uint8 ``[H, W, 3]`` RGB.
            subject, object_: boxes in place of the event's, xyxy in pixels.
            reverse: of the object as the subject.
        """
        event = self._event
        boxes = [subject or event.subject.box, object_ or event.object.box]
        pair = Detections.untracked(
            np.array(boxes, np.float32),
            np.ones(2, np.float32),
            np.arange(2, dtype=np.int32),
            (event.subject.label, event.object.label),
        )
        relations = self._relator.relate(pair, image, min_score=0.0)
        first, second = (1, 0) if reverse else (0, 1)
        return pair_score(relations, first, event.predicate, second, symmetric=self.symmetric)
