"""Video visual relation detection and tagging as VidVRD and VidOR measure them.

Follows the data sets' public evaluator (VidVRD-helper, ``evaluation/visual_relation_detection.py``)
in what counts as right and what is averaged; equal scores, which it leaves in the order of the
file, are put in an order of their own here, so that the file's does not matter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError
from vinfer.evaluation.relations import ap_voc

Triplet = tuple[str, str, str]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RelationInstance:
    """A relation with the trajectories of its subject and object.

    Attributes:
        triplet: class of the subject, predicate, class of the object.
        score: any number; higher is more likely. Not used of a true one.
        first_frame: the frame of the trajectories' first boxes.
        subject_trajectory, object_trajectory: float64 ``[frames, 4]``, a box a frame: left, top,
            right, bottom in pixels that all belong to the box.
    """

    triplet: Triplet
    score: float
    first_frame: int
    subject_trajectory: npt.NDArray[np.float64]
    object_trajectory: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class VidvrdQuality:
    """Figures over the videos with a true relation; None where there is none.

    Attributes:
        videos: how many there are.
        relations: true relations in them.
        mean_ap: mean over videos of the detection's average precision (VOC 2010).
        recall: by K: true relations found by the first K predictions of each video, over all.
        precision: by K: mean over videos of the share of right triplets among the first K different
            ones, boxes and times aside; of fewer where a video has fewer, 0 where it has none.
        ap_by_video: the average precisions.
    """

    videos: int
    relations: int
    mean_ap: float | None
    recall: dict[int, float | None]
    precision: dict[int, float | None]
    ap_by_video: dict[str, float]


def evaluate_vidvrd(
    truth: Mapping[str, Sequence[RelationInstance]],
    predictions: Mapping[str, Sequence[RelationInstance]],
    *,
    viou_threshold: float = 0.5,
    recall_at: Sequence[int] = (50, 100),
    precision_at: Sequence[int] = (1, 5, 10),
) -> VidvrdQuality:
    """Relation detection and tagging (Shang et al., ACM MM 2017, section 5.1).

    A prediction is right if a true relation of its triplet that is still free has a volume IoU of
    at least ``viou_threshold`` with it for the subject and for the object; of several it takes the
    one whose smaller volume IoU is the largest. The higher score chooses first.

    Args:
        truth: true relations by video; videos without one are skipped.
        predictions: by video; those of other videos are left out.
        viou_threshold: in (0, 1].
        recall_at, precision_at: numbers of predictions, 1 or more.

    Raises:
        InputError: an argument is out of range, a score is NaN, or no prediction is of a video of
            the truth.
    """
    if not 0 < viou_threshold <= 1:
        raise InputError(f"viou_threshold: found {viou_threshold}, expected a number in (0, 1]")
    if min([*recall_at, *precision_at], default=1) < 1:
        raise InputError(
            f"recall_at, precision_at: found {[*recall_at, *precision_at]}, expected 1 or more"
        )
    if truth and predictions and not truth.keys() & predictions.keys():
        raise InputError(
            f"found predictions of {', '.join(sorted(predictions)[:3])} and true relations of "
            f"{', '.join(sorted(truth)[:3])}; expected the same names of videos"
        )
    aps: dict[str, float] = {}
    found = dict.fromkeys(recall_at, 0)
    shares: dict[int, list[float]] = {k: [] for k in precision_at}
    relations = 0
    for video in sorted(name for name, these in truth.items() if these):
        true = sorted(truth[video], key=_identity)
        ranked = sorted(_scored(predictions.get(video, ()), video), key=_rank)
        hits = detection_hits(true, ranked, viou_threshold)
        relations += len(true)
        aps[video] = ap_voc(np.array([p.score for p in ranked]), hits, len(true)) or 0.0
        for k in recall_at:
            found[k] += int(hits[:k].sum())
        tags = list(dict.fromkeys(p.triplet for p in ranked))
        right = {t.triplet for t in true}
        for k in precision_at:
            best = tags[:k]
            shares[k].append(sum(tag in right for tag in best) / len(best) if best else 0.0)
    return VidvrdQuality(
        videos=len(aps),
        relations=relations,
        mean_ap=_mean(list(aps.values())),
        recall={k: found[k] / relations if relations else None for k in recall_at},
        precision={k: _mean(shares[k]) for k in precision_at},
        ap_by_video=aps,
    )


def detection_hits(
    true: Sequence[RelationInstance], ranked: Sequence[RelationInstance], viou_threshold: float
) -> npt.NDArray[np.bool_]:
    """bool ``[ranked]``: which predictions of a video, the best first, find a true relation."""
    free = list(true)
    hits = np.zeros(len(ranked), bool)
    for rank, predicted in enumerate(ranked):
        fitting = [t for t in free if t.triplet == predicted.triplet]
        overlaps = [pair_viou(t, predicted) for t in fitting]
        best = max(range(len(fitting)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= viou_threshold:
            hits[rank] = True
            free = [t for t in free if t is not fitting[best]]
    return hits


def pair_viou(first: RelationInstance, second: RelationInstance) -> float:
    """The smaller of the volume IoUs of the subjects and of the objects."""
    starts = first.first_frame, second.first_frame
    return min(
        volume_iou(first.subject_trajectory, second.subject_trajectory, *starts),
        volume_iou(first.object_trajectory, second.object_trajectory, *starts),
    )


def volume_iou(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], a_first: int, b_first: int
) -> float:
    """Volume shared by two trajectories over the volume that either covers.

    Args:
        a, b: float64 ``[frames, 4]``, left, top, right, bottom in pixels of the box.
        a_first, b_first: the frames of their first boxes.

    Returns:
        In [0, 1]; 0 where both are empty.
    """
    start, end = max(a_first, b_first), min(a_first + len(a), b_first + len(b))
    shared = 0.0
    if start < end:
        both_a, both_b = a[start - a_first : end - a_first], b[start - b_first : end - b_first]
        low = np.maximum(both_a[:, :2], both_b[:, :2])
        shared = _volume(np.concatenate([low, np.minimum(both_a[:, 2:], both_b[:, 2:])], 1))
    union = _volume(a) + _volume(b) - shared
    return shared / union if union > 0 else 0.0


def _volume(boxes: npt.NDArray[np.float64]) -> float:
    # Right and bottom are pixels of the box.
    return float((boxes[:, 2:] - boxes[:, :2] + 1).clip(min=0).prod(1).sum())


def _rank(instance: RelationInstance) -> tuple[float, Triplet, int, bytes, bytes]:
    """The best first; what is equal in score is told apart by everything else."""
    return (-instance.score, *_identity(instance))


def _identity(instance: RelationInstance) -> tuple[Triplet, int, bytes, bytes]:
    return (
        instance.triplet,
        instance.first_frame,
        instance.subject_trajectory.tobytes(),
        instance.object_trajectory.tobytes(),
    )


def _scored(instances: Sequence[RelationInstance], video: str) -> Sequence[RelationInstance]:
    for instance in instances:
        if math.isnan(instance.score):
            raise InputError(f"{video}: found a score that is NaN, expected numbers")
    return instances


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
