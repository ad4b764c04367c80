"""What a relation graph is fed with: rows of pairs, or the picture with its objects and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from vinfer.backends.base import Array
from vinfer.bundles import PicturePreprocess, RelationManifest
from vinfer.errors import InputError
from vinfer.stages.preprocess import check_image
from vinfer.stages.resizing import resized_boxes, resized_size, stretched
from vinfer.types import Float32Array, Int64Array, UInt8Array

_SAMPLE_OBJECTS = 5


class RelationInputs(Protocol):
    """How one kind of graph is fed.

    Attributes:
        needs_image: whether `arrays` needs the picture.
    """

    needs_image: bool

    def check(self, image: UInt8Array | None) -> None:
        """Refuse a picture that `arrays` could not take.

        Raises:
            InputError, ShapeError, DTypeError: it is missing, or no picture.
        """
        ...

    def arrays(
        self,
        boxes: Float32Array,
        labels: Int64Array,
        subjects: Int64Array,
        objects: Int64Array,
        image: UInt8Array | None,
    ) -> dict[str, Array]:
        """The graph's inputs.

        Args:
            boxes: float32 ``[n, 4]``, xyxy in pixels of the picture, finite.
            labels: int64 ``[n]``, indices into the manifest's labels; any number for an object
                that is in no pair.
            subjects, objects: int64 ``[m]``, at least one pair, indices into ``boxes``.
            image: uint8 ``[H, W, 3]`` RGB, checked.
        """
        ...

    def sample(self, num_labels: int) -> dict[str, Array]:
        """Made-up inputs of a usual size, for a measurement; the same ones each time."""
        ...


def relation_inputs(manifest: RelationManifest) -> RelationInputs:
    """The kind that a manifest asks for."""
    roles = {str(role): name for role, name in manifest.input_roles.items()}
    if manifest.picture is None:
        return PairInputs(roles)
    return PictureInputs(roles, manifest.picture)


class PairInputs:
    """Classes and boxes of each pair; the picture is not looked at."""

    needs_image = False

    def __init__(self, roles: Mapping[str, str]) -> None:
        self._roles = roles

    def check(self, image: UInt8Array | None) -> None:
        """Anything will do."""

    def arrays(
        self,
        boxes: Float32Array,
        labels: Int64Array,
        subjects: Int64Array,
        objects: Int64Array,
        image: UInt8Array | None,
    ) -> dict[str, Array]:
        """See `RelationInputs.arrays`."""
        return {
            self._roles["subject_labels"]: labels[subjects],
            self._roles["object_labels"]: labels[objects],
            self._roles["subject_boxes"]: boxes[subjects],
            self._roles["object_boxes"]: boxes[objects],
        }

    def sample(self, num_labels: int) -> dict[str, Array]:
        """The pairs of five objects, each class in turn."""
        random = np.random.default_rng(0)
        num_pairs = _SAMPLE_OBJECTS * (_SAMPLE_OBJECTS - 1)
        low = random.uniform(0, 300, (num_pairs, 2, 2))
        boxes = np.concatenate([low, low + random.uniform(20, 300, low.shape)], 2)
        labels = np.arange(2 * num_pairs, dtype=np.int64).reshape(num_pairs, 2) % num_labels
        return {
            self._roles["subject_labels"]: labels[:, 0].copy(),
            self._roles["object_labels"]: labels[:, 1].copy(),
            self._roles["subject_boxes"]: boxes[:, 0].astype(np.float32),
            self._roles["object_boxes"]: boxes[:, 1].astype(np.float32),
        }


class PictureInputs:
    """The whole picture once, its objects once, and pairs of these."""

    needs_image = True

    def __init__(self, roles: Mapping[str, str], picture: PicturePreprocess) -> None:
        self._roles = roles
        self._picture = picture

    def check(self, image: UInt8Array | None) -> None:
        """See `RelationInputs.check`."""
        if image is None:
            raise InputError(
                "image: found none, expected the frame that the objects are on, uint8 [H, W, 3] "
                "RGB; this relation model looks at the picture: pass relate(detections, image)"
            )
        check_image(image)

    def arrays(
        self,
        boxes: Float32Array,
        labels: Int64Array,
        subjects: Int64Array,
        objects: Int64Array,
        image: UInt8Array | None,
    ) -> dict[str, Array]:
        """See `RelationInputs.arrays`. Objects that are in no pair cost nothing: they stay out."""
        assert image is not None
        height, width = image.shape[:2]
        size = self._size(height, width)
        paired = np.unique(np.concatenate([subjects, objects]))
        rows = np.searchsorted(paired, np.stack([subjects, objects], 1))
        return self._named(
            stretched(image, size, self._picture.mean, self._picture.std)[None],
            resized_boxes(boxes[paired], (height, width), size),
            labels[paired],
            rows.astype(np.int64),
        )

    def sample(self, num_labels: int) -> dict[str, Array]:
        """A picture of 16 to 9 as it comes out of the resizing, and all pairs of five objects."""
        random = np.random.default_rng(0)
        height, width = self._size(1080, 1920)
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        low = random.uniform(0, 0.6, (_SAMPLE_OBJECTS, 2))
        boxes = np.hstack([low, low + random.uniform(0.1, 0.4, low.shape)])
        pairs = np.argwhere(~np.eye(_SAMPLE_OBJECTS, dtype=bool))
        return self._named(
            stretched(image, (height, width), self._picture.mean, self._picture.std)[None],
            (boxes * [width, height, width, height]).astype(np.float32),
            np.arange(_SAMPLE_OBJECTS, dtype=np.int64) % num_labels,
            pairs.astype(np.int64),
        )

    def _size(self, height: int, width: int) -> tuple[int, int]:
        return resized_size(
            height,
            width,
            short_side=self._picture.short_side,
            long_side=self._picture.long_side,
        )

    def _named(
        self, images: Float32Array, boxes: Float32Array, labels: Int64Array, pairs: Int64Array
    ) -> dict[str, Array]:
        return {
            self._roles["images"]: images,
            self._roles["boxes"]: boxes,
            self._roles["box_images"]: np.zeros(len(boxes), np.int64),
            self._roles["labels"]: labels,
            self._roles["pairs"]: pairs,
        }
