"""Detection: a picture in, boxes with class scores out, as the bundle's manifest says."""

from __future__ import annotations

import dataclasses

import numpy as np

from vinfer.backends import SessionInfo, SessionOptions, load
from vinfer.bundles import Bundle
from vinfer.bundles.manifest import DetectionManifest, Nms
from vinfer.closing import Closing
from vinfer.errors import BundleSchemaError, ConfigError, ModelOutputError
from vinfer.ops import LetterboxTransform
from vinfer.stages.decode import Outputs, make_decoder
from vinfer.stages.nms import above_threshold, suppress
from vinfer.stages.preprocess import preprocess
from vinfer.types import Detections, Float32Array, UInt8Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A picture as the network takes it.

    Attributes:
        pixels: float32 ``[1, 3, h, w]``, the graph's input.
        transform: maps boxes in pixels of ``pixels`` back to the source picture.
    """

    pixels: Float32Array
    transform: LetterboxTransform


class Detector(Closing):
    """Runs one detection bundle.

    `detect` does it all; `prepare`, `infer` and `finish` are its three steps, so that a caller can
    overlap one picture's inference with the others' steps. They keep no state between pictures.

    Args:
        bundle: its manifest's task must be ``detection``.
        options: where and how to run the graph.
        score_threshold, iou_threshold, max_detections: in place of the manifest's; None keeps it.

    Raises:
        BundleSchemaError: the bundle is of another task, or its graph does not take one picture.
        ConfigError: a threshold is out of range.
        BackendError: the graph can't be loaded.

    Example:
        >>> detector = Detector(Bundle.open(find_bundle("ssd-mobilenet-v2-coco")), SessionOptions())
        >>> detector.detect(image).to_dict()
    """

    def __init__(
        self,
        bundle: Bundle,
        options: SessionOptions,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> None:
        manifest = bundle.manifest
        if not isinstance(manifest, DetectionManifest):
            raise BundleSchemaError(
                f'{bundle.identity}: found task "{manifest.task}", expected "detection"; '
                "give a detector's bundle"
            )
        if len(manifest.inputs) != 1:
            raise BundleSchemaError(
                f"{bundle.identity}: found inputs {[spec.name for spec in manifest.inputs]}, "
                "expected one, the picture"
            )
        self._identity = bundle.identity
        self._manifest = manifest
        self._nms = _merged(manifest.nms, score_threshold, iou_threshold, max_detections)
        self._decode = make_decoder(manifest)
        self._session = load(bundle.graph(), options)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes; `Detections.labels` are indices into them."""
        return self._manifest.labels

    @property
    def category_ids(self) -> tuple[int, ...] | None:
        """COCO category id of each class, where the bundle states them."""
        return self._manifest.category_ids

    @property
    def nms(self) -> Nms:
        """The thresholds in force."""
        return self._nms

    def describe(self) -> SessionInfo:
        """What really runs the graph."""
        return self._session.describe()

    def detect(self, image: UInt8Array) -> Detections:
        """Objects of one picture.

        Args:
            image: uint8 ``[H, W, 3]`` RGB, any size from 1x1.

        Returns:
            Untracked objects by descending score; boxes lie inside the picture and have an area.

        Raises:
            ShapeError, DTypeError: ``image`` is something else; the message says how to convert it.
            ModelOutputError: the graph gave NaN, infinity or another shape than promised.
        """
        prepared = self.prepare(image)
        return self.finish(prepared, self.infer(prepared))

    def prepare(self, image: UInt8Array) -> Prepared:
        """Resize and normalise as the manifest says. Arguments and errors as for `detect`."""
        pixels, transform = preprocess(image, self._manifest.preprocess)
        return Prepared(pixels[None], transform)

    def infer(self, prepared: Prepared) -> Outputs:
        """The graph's raw outputs by name."""
        return self._session.run({self._manifest.inputs[0].name: prepared.pixels})

    def finish(self, prepared: Prepared, raw: Outputs) -> Detections:
        """Decode, threshold, map back to the picture, suppress. Errors as for `detect`."""
        try:
            boxes, scores = self._decode(raw)
        except ModelOutputError as exc:
            raise ModelOutputError(f"{self._identity}, {exc}") from exc
        found = above_threshold(boxes, scores, self._nms.score_threshold)
        # Suppression after clipping: what counts is the overlap that can be seen.
        found = dataclasses.replace(found, boxes=prepared.transform.to_source(found.boxes))
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        found = found.select(np.flatnonzero((sides > 0).all(1)))
        kept = suppress(
            found,
            self._nms.iou_threshold,
            max_detections=self._nms.max_detections,
            class_agnostic=self._nms.class_agnostic,
        )
        found = found.select(kept)
        return Detections.untracked(found.boxes, found.scores, found.labels, self.names)

    def close(self) -> None:
        """Free the session; may be called twice."""
        self._session.close()


def _merged(
    nms: Nms,
    score_threshold: float | None,
    iou_threshold: float | None,
    max_detections: int | None,
) -> Nms:
    for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{name}: found {value}, expected a number in [0, 1]")
    if max_detections is not None and max_detections < 1:
        raise ConfigError(f"max_detections: found {max_detections}, expected 1 or more")
    given = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_detections": max_detections,
    }
    return nms.model_copy(update={name: v for name, v in given.items() if v is not None})
