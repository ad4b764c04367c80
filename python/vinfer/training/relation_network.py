"""The visual relationship network: a picture and its objects in, a logit a pair and predicate out.

After "Visual Relationship Classification with Negative-Sample Mining" (R. de Moura Estevao Filho,
J. G. R. C. Gomes, L. de Oliveira Nunes, ICIP 2020): a trunk on the whole picture, RoIAlign of
subject, object and their union, a second stage for each RoI, positional maps, two convolutions for
the pair, class embeddings. What the paper leaves open is written down in docs/relations.md.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from vinfer.errors import TrainingError
from vinfer.training import torch_ops
from vinfer.training.relation_trunks import freeze_batch_norm, make_trunk

Head = Literal["sigmoid", "softmax_bg"]
Embedding = Literal["linear", "bilinear"]

ROI_BINS = 14
PAIR_BINS = 7
SAMPLING_RATIO = 2
ROLES = 3  # subject, object, union


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What the network is made of.

    Attributes:
        num_classes, num_predicates: sizes of the vocabularies.
        trunk: a name of `relation_trunks.TRUNKS`.
        visual: look at the picture; without it the maps and embeddings are all there is.
        coord: append the positional maps.
        union_extent: side of the square, in pixels of the network's input, that the union's own
            maps are relative to. None: relative to the union itself, so that they are the same for
            every pair and nothing but the picture says how large it is: enough where predicates do
            not depend on distances.
        embedding: append the class embeddings.
        filters: of the two pair convolutions.
        features: of the visual feature vector.
        embedding_size: of each of the two class embeddings.
        embedding_form: "bilinear" appends the product of the two, so that the classifier can tell
            a pair of classes from the sum of its parts.
        head: "sigmoid" scores each predicate alone; "softmax_bg" adds a background class, and the
            predicates of a pair exclude each other.
    """

    num_classes: int
    num_predicates: int
    trunk: str = "resnet18"
    visual: bool = True
    coord: bool = True
    union_extent: float | None = None
    embedding: bool = True
    filters: int = 512
    features: int = 512
    embedding_size: int = 64
    embedding_form: Embedding = "linear"
    head: Head = "sigmoid"

    def __post_init__(self) -> None:
        if not (self.visual or self.coord or self.embedding):
            raise TrainingError(
                "network: visual, coord and embedding are all off; expected one of them at least"
            )


class PairConvolutions(nn.Module):
    """``[m, C, 7, 7]`` to ``[m, features]``: two 3x3 convolutions, the mean, a linear layer."""

    def __init__(self, channels: int, filters: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.fc = nn.Linear(filters, features)

    def forward(self, pair: Tensor) -> Tensor:
        pair = torch.relu(self.bn1(self.conv1(pair)))
        pair = torch.relu(self.bn2(self.conv2(pair)))
        return torch.relu(self.fc(pair.mean(dim=(2, 3))))


class RelationNetwork(nn.Module):
    """See the module's docstring.

    In training, BatchNorm of a trunk that is made for published weights is frozen.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = make_trunk(config.trunk) if config.visual else None
        per_role = (self.trunk.roi_channels if self.trunk is not None else 0) + 2 * config.coord
        width = 0
        self.pair: PairConvolutions | None = None
        if per_role:
            self.pair = PairConvolutions(ROLES * per_role, config.filters, config.features)
            width += config.features
        if config.embedding:
            self.subject_embedding = nn.Embedding(config.num_classes, config.embedding_size)
            self.object_embedding = nn.Embedding(config.num_classes, config.embedding_size)
            width += (3 if config.embedding_form == "bilinear" else 2) * config.embedding_size
        self.classifier = nn.Linear(width, config.num_predicates + (config.head == "softmax_bg"))

    def train(self, mode: bool = True) -> RelationNetwork:
        super().train(mode)
        if mode and self.trunk is not None and self.trunk.pretrained:
            freeze_batch_norm(self.trunk)
        return self

    def forward(
        self, images: Tensor, boxes: Tensor, box_images: Tensor, labels: Tensor, pairs: Tensor
    ) -> Tensor:
        """Logits of ordered pairs.

        Args:
            images: float32 ``[N, 3, H, W]``, normalised; smaller pictures are padded with zeros
                right and below.
            boxes: float32 ``[n, 4]``, xyxy in pixels of ``images``, clipped to the picture.
            box_images: int64 ``[n]``, image of each box.
            labels: int64 ``[n]``, class of each box.
            pairs: int64 ``[m, 2]``, subject and object as indices into ``boxes``, of one image.

        Returns:
            float32 ``[m, predicates]``, and one more column, the background, with "softmax_bg".
        """
        return self.pair_logits(self.picture_features(images), boxes, box_images, labels, pairs)

    def picture_features(self, images: Tensor) -> Tensor | None:
        """The part of `forward` that does not depend on objects; None with ``visual`` off."""
        return None if self.trunk is None else self.trunk.picture(images)

    def pair_logits(
        self,
        picture: Tensor | None,
        boxes: Tensor,
        box_images: Tensor,
        labels: Tensor,
        pairs: Tensor,
    ) -> Tensor:
        """The rest of `forward`, of what `picture_features` gave."""
        subjects, objects = pairs[:, 0], pairs[:, 1]
        parts = []
        if self.pair is not None:
            parts.append(self.pair(self._pair_maps(picture, boxes, box_images, subjects, objects)))
        if self.config.embedding:
            subject = self.subject_embedding(labels[subjects])
            object_ = self.object_embedding(labels[objects])
            parts += [subject, object_]
            if self.config.embedding_form == "bilinear":
                parts.append(subject * object_)
        logits: Tensor = self.classifier(torch.cat(parts, 1))
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """Probabilities ``[m, predicates]`` in [0, 1] of what `forward` gave."""
        if self.config.head == "softmax_bg":
            return logits.softmax(1)[:, : self.config.num_predicates]
        return logits.sigmoid()

    def loss(self, logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        """Mean over the pairs; binary cross-entropy is the mean over the predicates, too.

        Args:
            logits: what `forward` gave.
            targets: float32 ``[m, predicates]``, 1 where the predicate holds.
            known: bool ``[m, predicates]``; a target where it is False does not count. With
                "softmax_bg" it must hold everywhere in a pair, or the pair does not count.
        """
        if self.config.head == "sigmoid":
            terms = nn.functional.binary_cross_entropy_with_logits(
                logits, targets, reduction="none"
            )
            return (terms * known).sum() / known.sum()
        background = (targets.sum(1, keepdim=True) == 0).to(targets)
        shares = torch.cat([targets, background], 1)
        # A pair with several labels gives each an equal share of its one term.
        shares = shares / shares.sum(1, keepdim=True)
        terms = nn.functional.cross_entropy(logits, shares, reduction="none")
        whole = known.all(1)
        return (terms * whole).sum() / whole.sum()

    def _pair_maps(
        self,
        picture: Tensor | None,
        boxes: Tensor,
        box_images: Tensor,
        subjects: Tensor,
        objects: Tensor,
    ) -> Tensor:
        """``[m, 3 * (C + 2), 7, 7]``: features and positions of subject, object and union."""
        unions = union_boxes(boxes[subjects], boxes[objects])
        subject, object_, union = self._roi_features(
            picture, boxes, box_images, subjects, objects, unions
        )
        maps = []
        for features, of, reference in (
            (subject, boxes[subjects], unions),
            (object_, boxes[objects], unions),
            (union, unions, self._union_reference(unions)),
        ):
            if features is not None:
                maps.append(features)
            if self.config.coord:
                maps.append(torch_ops.positional_maps(of, reference, [PAIR_BINS, PAIR_BINS]))
        return torch.cat(maps, 1)

    def _union_reference(self, unions: Tensor) -> Tensor:
        if self.config.union_extent is None:
            return unions
        corner = unions[:, :2]
        return torch.cat([corner, corner + self.config.union_extent], 1)

    def _roi_features(
        self,
        picture: Tensor | None,
        boxes: Tensor,
        box_images: Tensor,
        subjects: Tensor,
        objects: Tensor,
        unions: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
        if picture is None:
            return None, None, None
        if torch.compiler.is_exporting():
            # As it is defined, each pair with RoIs of its own: export/ rewrites the graph.
            return (
                self._rois(picture, boxes[subjects], box_images[subjects]),
                self._rois(picture, boxes[objects], box_images[objects]),
                self._rois(picture, unions, box_images[subjects]),
            )
        # Features depend on the box only, and the union of (i, j) is that of (j, i).
        num_boxes = boxes.shape[0]
        low, high = torch.minimum(subjects, objects), torch.maximum(subjects, objects)
        keys, order = torch.unique(low * num_boxes + high, return_inverse=True)
        first, second = keys // num_boxes, keys % num_boxes
        features = self._rois(
            picture,
            torch.cat([boxes, union_boxes(boxes[first], boxes[second])]),
            torch.cat([box_images, box_images[first]]),
        )
        # Not indexing: the gradient of that adds in the order in which threads come.
        return (
            features.index_select(0, subjects),
            features.index_select(0, objects),
            features.index_select(0, num_boxes + order),
        )

    def _rois(self, picture: Tensor, rois: Tensor, roi_images: Tensor) -> Tensor:
        assert self.trunk is not None
        pooled = torch_ops.roi_align(
            picture,
            rois,
            roi_images,
            [ROI_BINS, ROI_BINS],
            1.0 / self.trunk.stride,
            SAMPLING_RATIO,
            True,
        )
        return self.trunk.rois(pooled)


def union_boxes(first: Tensor, second: Tensor) -> Tensor:
    """The smallest boxes around both, ``[m, 4]`` xyxy."""
    return torch.cat(
        [torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])], 1
    )
