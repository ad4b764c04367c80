"""Average precision of a detector on annotations in COCO's format."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle
from vinfer.errors import (
    ConfigError,
    MissingDependencyError,
    SourceNotFoundError,
    UnsupportedSourceError,
)
from vinfer.stages.detect import Detector
from vinfer.types import UInt8Array

SCORE_THRESHOLD = 0.001
"""Boxes below it hardly change average precision and cost most of the time."""

MAX_DETECTIONS = 100
"""What COCO counts in a picture."""

Progress = Callable[[int, int], None]
"""Takes the number of pictures done and of all."""


@dataclasses.dataclass(frozen=True, slots=True)
class DetectionQuality:
    """COCO's figures, each in [0, 1]; None where the pictures hold no such object.

    Attributes:
        num_images: pictures that were evaluated.
        ap: average precision, mean over IoU .50:.05:.95 and classes.
        ap50, ap75: at IoU .50 and .75.
        ap_small, ap_medium, ap_large: of objects below 32x32, up to 96x96 and above, in pixels.
        ar100: average recall with 100 detections a picture.
        per_class: ``ap`` of each class that the pictures hold.
    """

    num_images: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar100: float | None
    per_class: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return dataclasses.asdict(self)


def evaluation_detector(bundle: Bundle, options: SessionOptions) -> Detector:
    """A detector with the thresholds that average precision needs."""
    return Detector(bundle, options, score_threshold=SCORE_THRESHOLD, max_detections=MAX_DETECTIONS)


def evaluate_detection(
    detector: Detector,
    annotations: Path,
    images: Path,
    *,
    split: str | None = None,
    progress: Progress | None = None,
) -> DetectionQuality:
    """Run a detector over the pictures and compare (pycocotools, boxes).

    Args:
        detector: as `evaluation_detector` makes it.
        annotations: JSON in COCO's format.
        images: the folder that its file names are in.
        split: only pictures whose ``split`` field is this; None takes all.
        progress: called after each picture.

    Raises:
        ConfigError: the detector drops boxes that count, its classes are not those of the
            annotations, or no picture is in ``split``.
        SourceNotFoundError: the annotations or a picture are not there.
        UnsupportedSourceError: the annotations are not in COCO's format, or a picture can't be
            decoded.
        MissingDependencyError: pycocotools or OpenCV is not installed.
    """
    if (
        detector.nms.score_threshold > SCORE_THRESHOLD
        or detector.nms.max_detections < MAX_DETECTIONS
    ):
        raise ConfigError(
            f"detector: found score_threshold {detector.nms.score_threshold} and max_detections "
            f"{detector.nms.max_detections}, expected at most {SCORE_THRESHOLD} and at least "
            f"{MAX_DETECTIONS}: what is dropped counts as missed; use evaluation_detector"
        )
    truth = _read_annotations(annotations)
    category_ids = _category_ids(detector, truth)
    image_ids = _image_ids(truth, split)
    records: list[dict[str, Any]] = []
    for done, image_id in enumerate(image_ids, 1):
        found = detector.detect(_read_image(images / truth.imgs[image_id]["file_name"]))
        records += found.to_coco(image_id, category_ids)
        if progress is not None:
            progress(done, len(image_ids))
    return _score(truth, records, image_ids)


def _read_annotations(path: Path) -> Any:
    """The annotations as `pycocotools.coco.COCO`."""
    try:
        from pycocotools.coco import COCO
    except ImportError as exc:
        raise MissingDependencyError(
            "pycocotools is not installed, and average precision needs it; "
            "install it with: pip install 'vinfer[eval]'"
        ) from exc
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no such file, expected annotations in COCO's format")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(path))
        missing = {"images", "annotations", "categories"} - truth.dataset.keys()
    except (AssertionError, KeyError, TypeError, ValueError) as exc:
        raise UnsupportedSourceError(
            f"{path}: not annotations in COCO's format ({type(exc).__name__}: {exc})"
        ) from exc
    if missing:
        raise UnsupportedSourceError(
            f"{path}: {sorted(missing)} missing, expected annotations in COCO's format"
        )
    return truth


def _category_ids(detector: Detector, truth: Any) -> Sequence[int]:
    """Category id of each of the detector's classes, by the bundle or else by name."""
    ids = detector.category_ids
    if ids is None:
        by_name = {category["name"]: category["id"] for category in truth.cats.values()}
        # Ids are positive: a class that the annotations lack matches nothing.
        ids = tuple(by_name.get(name, -1) for name in detector.names)
    if not set(ids) & set(truth.cats):
        raise ConfigError(
            f"none of the detector's classes ({', '.join(detector.names[:3])}, ...) is in the "
            "annotations; give annotations of the classes that it was trained on"
        )
    return ids


def _image_ids(truth: Any, split: str | None) -> list[int]:
    pictures = truth.dataset["images"]
    chosen = [p["id"] for p in pictures if split is None or p.get("split") == split]
    if not chosen:
        known = sorted({str(p["split"]) for p in pictures if "split" in p})
        raise ConfigError(f'split: found no picture in "{split}", the annotations have {known}')
    return chosen


def _read_image(path: Path) -> UInt8Array:
    """uint8 ``[H, W, 3]`` RGB; grey is repeated, alpha dropped, EXIF rotation ignored like COCO."""
    try:
        import cv2
    except ImportError as exc:
        raise MissingDependencyError.of("OpenCV", "video", exc) from exc
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no such picture, named in the annotations")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise UnsupportedSourceError(
            f"{path}: found a file that is not a picture, or a damaged one"
        )
    return np.ascontiguousarray(picture[:, :, ::-1], np.uint8)


def _score(truth: Any, records: list[dict[str, Any]], image_ids: list[int]) -> DetectionQuality:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = COCO()
    if records:
        with contextlib.redirect_stdout(io.StringIO()):
            found = truth.loadRes(records)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75, small, medium, large = (_figure(value) for value in evaluation.stats[:6])
    # [IoU, recall, class, area range (0: all), detections (-1: 100)], -1 where nothing is to find.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {
        truth.cats[category]["name"]: float(precision[:, :, i].mean())
        for i, category in enumerate(evaluation.params.catIds)
        if precision[:, :, i].max() > -1
    }
    return DetectionQuality(
        num_images=len(image_ids),
        ap=ap,
        ap50=ap50,
        ap75=ap75,
        ap_small=small,
        ap_medium=medium,
        ap_large=large,
        ar100=_figure(evaluation.stats[8]),
        per_class=per_class,
    )


def _figure(value: float) -> float | None:
    return None if value < 0 else float(value)
