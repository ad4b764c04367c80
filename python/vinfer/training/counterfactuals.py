"""Made-up pairs that can't be related: riders moved to where only somebody in front can be.

Labels of pictures rarely hold the near miss that fools a model in a video: somebody who walks past
a parked bicycle covers it as a rider does, but the feet are nearer to the camera, so lower in the
picture than the wheels. In VRD's training labels, 95 % of riders of the four kinds below have their
box end at most 0.09 object heights below the object's. What the copies bring on held-out pictures
is measured in docs/relation-prior.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vinfer.training.relation_data import PairTable
from vinfer.types import Float32Array, Int64Array

GROUNDED = ("bike", "motorbike", "horse", "elephant")
"""What is ridden and stands on the ground. A skateboarder in the air may be anywhere."""

COPIES = 1
"""Of each rider: with more, true riders whose box ends as low as the wheels are lost."""

FEET_BELOW = (0.15, 0.8)
"""How far the box ends below the object's, in object heights."""

SIDEWAYS = (-0.5, 0.5)
"""Horizontal move, in object widths."""

NEARER = (0.9, 1.6)
"""Growth of the box: who stands in front is nearer to the camera."""


def in_front_of_ridden(
    pairs: PairTable,
    rides: npt.NDArray[np.bool_],
    classes: Sequence[str],
    generator: np.random.Generator,
) -> tuple[Int64Array, Float32Array]:
    """Moved copies of the riders.

    Args:
        pairs: the training pairs.
        rides: bool ``[len(pairs)]``.
        classes: VRD's vocabulary.
        generator: decides where the copies go.

    Returns:
        int64 ``[k]``, the pair that each copy was made from, and float32 ``[k, 4]``, the subject's
        new box; the object's stays. The copies are not ridden, and neither "on" the object.
    """
    names = np.array(classes)
    riders = np.flatnonzero(rides & np.isin(names[pairs.object_labels], GROUNDED))
    source = np.repeat(riders, COPIES).astype(np.int64)
    subject, object_ = pairs.subject_boxes[source], pairs.object_boxes[source]
    object_size = object_[:, 2:] - object_[:, :2]
    size = subject[:, 2:] - subject[:, :2]
    size = size * generator.uniform(*NEARER, (len(source), 1))
    centre_x = (subject[:, 0] + subject[:, 2]) / 2
    centre_x = centre_x + generator.uniform(*SIDEWAYS, len(source)) * object_size[:, 0]
    feet = object_[:, 3] + generator.uniform(*FEET_BELOW, len(source)) * object_size[:, 1]
    moved = np.stack(
        [
            centre_x - size[:, 0] / 2,
            feet - size[:, 1],
            centre_x + size[:, 0] / 2,
            feet,
        ],
        1,
    )
    return source, moved.astype(np.float32)
