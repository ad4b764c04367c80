"""The network of the relation prior: two classes and two boxes in, a logit a predicate out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIN_SIZE = 1e-6
"""Pixels. Smaller widths and heights count as this, so that no feature is infinite."""

RELATIVE_RANGE = (-4.0, 5.0)
LOG_RANGE = (-4.0, 4.0)
NUM_FEATURES = 24


def pair_geometry(subject_boxes: Tensor, object_boxes: Tensor) -> Tensor:
    """Where two boxes lie to each other; unchanged by moving or scaling the picture.

    Args:
        subject_boxes, object_boxes: float32 ``[m, 4]``, xyxy in pixels.

    Returns:
        float32 ``[m, 24]``: position and size of both in their union (offset in [-1, 1] and extent
        in [0, 2], the coefficients of the positional maps); IoU, share of the subject and of the
        object that is covered; corners of each in units of the other, clipped to [-4, 5];
        logarithms of the size ratios and of the three aspect ratios, clipped to [-4, 4].
    """
    subject_min, subject_max = subject_boxes[:, :2], subject_boxes[:, 2:]
    object_min, object_max = object_boxes[:, :2], object_boxes[:, 2:]
    subject_size = (subject_max - subject_min).clamp(min=MIN_SIZE)
    object_size = (object_max - object_min).clamp(min=MIN_SIZE)
    union_min = torch.minimum(subject_min, object_min)
    union_max = torch.maximum(subject_max, object_max)
    union_size = (union_max - union_min).clamp(min=MIN_SIZE)
    overlap = torch.minimum(subject_max, object_max) - torch.maximum(subject_min, object_min)
    overlap_area = overlap.clamp(min=0).prod(1, keepdim=True)
    subject_area = subject_size.prod(1, keepdim=True)
    object_area = object_size.prod(1, keepdim=True)
    sizes = torch.cat([subject_size, object_size, union_size], 1)
    logs = torch.cat([subject_size / object_size, sizes[:, 0::2] / sizes[:, 1::2]], 1).log()
    relative = torch.cat(
        [
            (subject_min - object_min) / object_size,
            (subject_max - object_min) / object_size,
            (object_min - subject_min) / subject_size,
            (object_max - subject_min) / subject_size,
        ],
        1,
    )
    return torch.cat(
        [
            2 * (subject_min - union_min) / union_size - 1,
            2 * subject_size / union_size,
            2 * (object_min - union_min) / union_size - 1,
            2 * object_size / union_size,
            overlap_area / (subject_area + object_area - overlap_area),
            overlap_area / subject_area,
            overlap_area / object_area,
            relative.clamp(*RELATIVE_RANGE),
            logs.clamp(*LOG_RANGE),
        ],
        1,
    )


class RelationPrior(nn.Module):
    """Embeddings of both classes and their product, with the geometry, through two hidden layers.

    A linear path from the classes to the logits stands beside, so that what the classes alone say
    needs no hidden unit. Calibration is a scale and an offset a predicate on the logits.

    Args:
        num_classes: of objects.
        num_predicates: outputs.
        embedding, hidden: widths.
        dropout: share of embedding and hidden units that a training step leaves out.
    """

    geometry_mean: Tensor
    geometry_scale: Tensor
    calibration_scale: Tensor
    calibration_offset: Tensor

    def __init__(
        self,
        num_classes: int,
        num_predicates: int,
        *,
        embedding: int = 32,
        hidden: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.subject = nn.Embedding(num_classes, embedding)
        self.object = nn.Embedding(num_classes, embedding)
        self.first = nn.Linear(3 * embedding + NUM_FEATURES, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, num_predicates)
        self.direct = nn.Linear(3 * embedding, num_predicates, bias=False)
        self.dropout = nn.Dropout(dropout)
        for table in (self.subject, self.object):
            nn.init.normal_(table.weight, std=0.3)
        # Most predicates hold for about one pair in a hundred: start there.
        nn.init.constant_(self.last.bias, -4.0)
        self.register_buffer("geometry_mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("geometry_scale", torch.ones(NUM_FEATURES))
        self.register_buffer("calibration_scale", torch.ones(num_predicates))
        self.register_buffer("calibration_offset", torch.zeros(num_predicates))

    def fit_geometry(self, subject_boxes: Tensor, object_boxes: Tensor) -> None:
        """Take mean and spread of the geometry from these pairs; boxes float32 ``[m, 4]``."""
        features = pair_geometry(subject_boxes, object_boxes)
        self.geometry_mean.copy_(features.mean(0))
        self.geometry_scale.copy_(1 / features.std(0).clamp(min=1e-3))

    def forward(
        self,
        subject_labels: Tensor,
        object_labels: Tensor,
        subject_boxes: Tensor,
        object_boxes: Tensor,
    ) -> Tensor:
        """Uncalibrated logits.

        Args:
            subject_labels, object_labels: int64 ``[m]``.
            subject_boxes, object_boxes: float32 ``[m, 4]``, xyxy in pixels.

        Returns:
            float32 ``[m, num_predicates]``.
        """
        geometry = pair_geometry(subject_boxes, object_boxes)
        geometry = (geometry - self.geometry_mean) * self.geometry_scale
        subjects, objects = self.subject(subject_labels), self.object(object_labels)
        classes = self.dropout(torch.cat([subjects, objects, subjects * objects], 1))
        hidden = self.dropout(torch.relu(self.first(torch.cat([classes, geometry], 1))))
        hidden = self.dropout(torch.relu(self.second(hidden)))
        logits: Tensor = self.last(hidden) + self.direct(classes)
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities of logits, both float32 ``[m, num_predicates]``."""
        return torch.sigmoid(logits * self.calibration_scale + self.calibration_offset)
