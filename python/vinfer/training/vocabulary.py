"""From VRD's 70 predicates to those that a relation bundle reports; from COCO's classes to VRD's.

Annotators of VRD name one fact in many ways ("on", "sit on" and "ride" for the same cyclist), and
describe worn things from both ends. Events need one name for one fact, so synonyms are merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import TrainingError
from vinfer.training.relation_data import PairTable

PREDICATE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "ride": ("ride",),
    "hold": ("hold", "carry"),
    "wear": ("wear",),
    "on": (
        "on",
        "on the top of",
        "sit on",
        "stand on",
        "park on",
        "lying on",
        "sleep on",
        "rest on",
        "skate on",
        "drive on",
    ),
    "in": ("in", "inside"),
    "under": ("under", "beneath", "below", "stand under", "sit under"),
    "above": ("above", "over"),
    "behind": ("behind", "stand behind", "sit behind", "park behind"),
    "in front of": ("in the front of",),
    "next to": (
        "next to",
        "beside",
        "by",
        "near",
        "adjacent to",
        "stand next to",
        "sit next to",
        "sleep next to",
        "park next",
        "walk next to",
        "walk beside",
    ),
    "has": ("has",),
    "with": ("with",),
    "use": ("use",),
    "look at": ("look", "watch"),
    "at": ("at",),
    "cover": ("cover",),
    "attached to": ("attach to",),
    "touch": ("touch",),
}
"""The reported predicates and what they are made of. VRD's others are rarer than 50 in training or
compare rather than relate ("taller than"): they are learned, but not reported."""

PREDICATES = tuple(PREDICATE_GROUPS)

SYMMETRIC = ("next to",)

RIDDEN = ("bike", "motorbike", "horse", "elephant", "skateboard", "snowboard", "surfboard")
"""A person "on" one of these, or driving it, rides it: ``ride`` alone is reported for the pair."""

WORN = (
    "shirt",
    "glasses",
    "hat",
    "pants",
    "jacket",
    "shoe",
    "shoes",
    "shorts",
    "jeans",
    "coat",
    "helmet",
    "sunglasses",
    "tie",
    "watch",
)
"""One of these "on" a person is worn: the pair is not ``on``, the reverse pair is ``wear``."""

COCO_SHARED = (
    "person",
    "car",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "bench",
    "cat",
    "dog",
    "horse",
    "elephant",
    "bear",
    "giraffe",
    "umbrella",
    "tie",
    "suitcase",
    "skis",
    "snowboard",
    "kite",
    "skateboard",
    "surfboard",
    "bottle",
    "cup",
    "bowl",
    "pizza",
    "chair",
    "bed",
    "laptop",
    "mouse",
    "keyboard",
    "oven",
    "sink",
    "refrigerator",
    "clock",
    "vase",
)
"""COCO classes that VRD has under the same name."""

COCO_ALIASES: Mapping[str, str] = {
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "fire hydrant": "hydrant",
    "backpack": "bag",
    "handbag": "bag",
    "sports ball": "ball",
    "wine glass": "cup",
    "couch": "sofa",
    "potted plant": "plant",
    "dining table": "table",
    "tv": "monitor",
    "cell phone": "phone",
}
"""COCO classes that VRD has under another name."""

COCO_UNKNOWN = (
    "stop sign",
    "parking meter",
    "bird",
    "sheep",
    "cow",
    "zebra",
    "frisbee",
    "baseball bat",
    "baseball glove",
    "tennis racket",
    "fork",
    "knife",
    "spoon",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "donut",
    "cake",
    "toilet",
    "remote",
    "microwave",
    "toaster",
    "book",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)
"""COCO classes without an honest counterpart in VRD (a cow is no horse): they are not paired."""


def reported_labels(
    pairs: PairTable, classes: Sequence[str], predicates: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Which reported predicates the annotations state.

    Args:
        pairs: with all ordered pairs of each picture, as `relation_data.pair_table` makes it.
        classes, predicates: VRD's vocabularies, as in the file.

    Returns:
        bool ``[m, len(PREDICATES)]``. A predicate or class that is not in the file adds nothing.

    Raises:
        TrainingError: none of the reported predicates is in the file's vocabulary.
    """
    column = {name: k for k, name in enumerate(predicates)}
    if not any(name in column for group in PREDICATE_GROUPS.values() for name in group):
        raise TrainingError(
            f"predicates: found {list(predicates)[:5]}..., expected VRD's names such as "
            '"on", "wear", "ride"'
        )
    stated = np.zeros((len(pairs), len(PREDICATES)), bool)
    for k, group in enumerate(PREDICATE_GROUPS.values()):
        for name in group:
            if name in column:
                stated[:, k] |= pairs.annotated[:, column[name]]
    ride, on, wear = (PREDICATES.index(name) for name in ("ride", "on", "wear"))
    names = np.array(classes)
    subjects, objects = names[pairs.subject_labels], names[pairs.object_labels]

    rider = (subjects == "person") & np.isin(objects, RIDDEN)
    drives = pairs.annotated[:, column["drive"]] if "drive" in column else False
    stated[:, ride] |= rider & (stated[:, on] | drives)
    stated[rider, on] = False

    worn = np.isin(subjects, WORN) & (objects == "person")
    stated[pairs.reverse[worn & stated[:, on]], wear] = True
    stated[worn, on] = False
    return stated
