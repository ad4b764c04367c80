"""Average precision: of tiny detectors whose figures are known, and of the real ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from detectors import constant_graph, detection_manifest, tiny_bundle

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, DetectionManifest, find_bundle
from vinfer.errors import (
    BundleError,
    BundleNotFoundError,
    ConfigError,
    MissingDependencyError,
    SourceNotFoundError,
    UnsupportedSourceError,
)
from vinfer.evaluation.detection import (
    DetectionQuality,
    evaluate_detection,
    evaluation_detector,
)
from vinfer.export import export, import_yolox
from vinfer.stages.detect import Detector

CPU = SessionOptions(provider="cpu")
SSD = "ssd-mobilenet-v2-coco"
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "bird"}]


def write_annotations(
    folder: Path, objects: list[tuple[int, int, list[float]]], num_images: int = 2
) -> Path:
    """Pictures 1.. of 32x32 and objects (picture, category, xywh)."""
    pictures = []
    for number in range(1, num_images + 1):
        name = f"{number}.png"
        cv2.imwrite(str(folder / name), np.full((32, 32), 128, np.uint8))  # grey on purpose
        split = "val" if number == 1 else "train"
        pictures.append(
            {"id": number, "file_name": name, "width": 32, "height": 32, "split": split}
        )
    annotations = [
        {
            "id": i,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for i, (image, category, box) in enumerate(objects, 1)
    ]
    path = folder / "annotations.json"
    dataset = {"images": pictures, "annotations": annotations, "categories": CATEGORIES}
    path.write_text(json.dumps(dataset))
    return path


def tiny_detector(
    folder: Path, boxes: object, scores: object, manifest: DetectionManifest | None = None
) -> Detector:
    graph = constant_graph(
        {"boxes": np.array([boxes], np.float32), "scores": np.array([scores], np.float32)}
    )
    manifest = manifest or detection_manifest(category_ids=(7, 9, 11))
    return evaluation_detector(tiny_bundle(folder, graph, manifest), CPU)


BOXES = [[2, 2, 12, 12], [10, 10, 30, 30]]
SCORES = [[0.9, 0, 0], [0, 0.8, 0]]
BOTH = [(1, 7, [2, 2, 10, 10]), (1, 9, [10, 10, 20, 20])]


def test_perfect_detector_has_average_precision_one(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path, BOTH, num_images=1)
    seen: list[tuple[int, int]] = []
    quality = evaluate_detection(
        tiny_detector(tmp_path, BOXES, SCORES),
        annotations,
        tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert quality.num_images == 1
    figures = [quality.ap, quality.ap50, quality.ap75, quality.ar100, quality.ap_small]
    assert figures == pytest.approx([1] * 5)
    assert quality.ap_medium is quality.ap_large is None
    assert quality.per_class == {"cat": pytest.approx(1), "dog": pytest.approx(1)}
    assert seen == [(1, 1)]
    assert json.loads(json.dumps(quality.to_dict()))["ap_large"] is None


def test_box_of_iou_064_counts_for_three_of_ten_thresholds(tmp_path: Path) -> None:
    # 8x8 inside 10x10: IoU .64, right at .50, .55 and .60.
    annotations = write_annotations(tmp_path, [(1, 7, [2, 2, 10, 10])], num_images=1)
    detector = tiny_detector(tmp_path, [[2, 2, 10, 10]], [[0.9, 0, 0]])
    quality = evaluate_detection(detector, annotations, tmp_path)
    assert quality.ap == pytest.approx(0.3)
    assert (quality.ap50, quality.ap75) == (pytest.approx(1), pytest.approx(0))


def test_missed_class_halves_the_mean(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path, BOTH, num_images=1)
    detector = tiny_detector(tmp_path, BOXES[:1], SCORES[:1])
    quality = evaluate_detection(detector, annotations, tmp_path)
    assert quality.ap == pytest.approx(0.5)
    assert quality.per_class == {"cat": pytest.approx(1), "dog": 0}


def test_split_takes_its_pictures_only(tmp_path: Path) -> None:
    # The cat of the second picture is missed: of 101 recall levels, 0 to .5 are reached.
    annotations = write_annotations(tmp_path, [*BOTH, (2, 7, [20, 2, 5, 5])])
    detector = tiny_detector(tmp_path, BOXES, SCORES)
    of_val = evaluate_detection(detector, annotations, tmp_path, split="val")
    of_all = evaluate_detection(detector, annotations, tmp_path)
    assert (of_val.num_images, of_all.num_images) == (1, 2)
    assert of_val.ap == pytest.approx(1)
    assert of_all.ap == pytest.approx((51 / 101 + 1) / 2)
    with pytest.raises(ConfigError, match=r'no picture in "test", .*\[\'train\', \'val\'\]'):
        evaluate_detection(detector, annotations, tmp_path, split="test")


def test_detector_that_finds_nothing_has_average_precision_zero(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path, BOTH)
    detector = tiny_detector(tmp_path, BOXES, np.zeros((2, 3)))
    quality = evaluate_detection(detector, annotations, tmp_path)
    assert quality.ap == quality.ar100 == 0


def test_classes_are_matched_by_name_without_category_ids(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path, BOTH, num_images=1)
    manifest = detection_manifest(labels=("cat", "dog", "unicorn"))
    quality = evaluate_detection(
        tiny_detector(tmp_path, BOXES, SCORES, manifest), annotations, tmp_path
    )
    assert quality.ap == pytest.approx(1)
    strangers = detection_manifest(labels=("a", "b", "c"))
    with pytest.raises(ConfigError, match=r"none of the detector's classes \(a, b, c"):
        evaluate_detection(tiny_detector(tmp_path, BOXES, SCORES, strangers), annotations, tmp_path)


def test_thresholds_that_would_hide_detections_are_refused(tmp_path: Path) -> None:
    annotations = write_annotations(tmp_path, BOTH)
    bundle = tiny_bundle(
        tmp_path,
        constant_graph(
            {"boxes": np.zeros((1, 1, 4), np.float32), "scores": np.zeros((1, 1, 3), np.float32)}
        ),
        detection_manifest(),
    )
    with pytest.raises(ConfigError, match=r"found score_threshold 0\.5"):
        evaluate_detection(Detector(bundle, CPU), annotations, tmp_path)


def test_bad_input_is_named(tmp_path: Path) -> None:
    detector = tiny_detector(tmp_path, BOXES, SCORES)
    with pytest.raises(SourceNotFoundError, match="absent"):
        evaluate_detection(detector, tmp_path / "absent.json", tmp_path)
    for text in ("not json", "[]", '{"images": []}'):
        bad = tmp_path / "bad.json"
        bad.write_text(text)
        with pytest.raises(UnsupportedSourceError, match="COCO's format"):
            evaluate_detection(detector, bad, tmp_path)
    annotations = write_annotations(tmp_path, BOTH)
    (tmp_path / "1.png").write_bytes(b"not a picture")
    with pytest.raises(UnsupportedSourceError, match=r"1\.png"):
        evaluate_detection(detector, annotations, tmp_path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(SourceNotFoundError, match=r"1\.png"):
        evaluate_detection(detector, annotations, tmp_path)


@pytest.mark.parametrize(
    ("module", "extra"), [("pycocotools.coco", r"vinfer\[eval\]"), ("cv2", r"vinfer\[video\]")]
)
def test_missing_packages_name_their_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    annotations = write_annotations(tmp_path, BOTH)
    detector = tiny_detector(tmp_path, BOXES, SCORES)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=extra):
        evaluate_detection(detector, annotations, tmp_path)


@pytest.fixture(scope="session")
def ssd_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The exported detector: the one on this machine, else made now."""
    try:
        path = find_bundle(SSD)
    except BundleNotFoundError:
        try:
            path = export(SSD, tmp_path_factory.mktemp("ssd") / f"{SSD}.vinfer")
        except BundleError as exc:
            pytest.skip(f"no {SSD} bundle, and its weights can't be had: {exc}")
    return Bundle.open(path)


@pytest.fixture(scope="session")
def yolox_bundle(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("yolox") / "yolox-nano.vinfer"
    return Bundle.open(import_yolox(shared_data / "weights" / "yolox_nano.onnx", output=output))


def measure(bundle: Bundle, shared_data: Path) -> DetectionQuality:
    folder = shared_data / "coco_open"
    with evaluation_detector(bundle, CPU) as detector:
        return evaluate_detection(
            detector, folder / "annotations.json", folder / "images", split="val2017"
        )


def stated(shared_data: Path) -> Any:
    return json.loads((shared_data / "ssd" / "RESULTS.json").read_text())["coco_open_val2017_36"]


def test_ssd_reaches_the_stated_average_precision(ssd_bundle: Bundle, shared_data: Path) -> None:
    quality = measure(ssd_bundle, shared_data)
    assert quality.num_images == 36
    assert quality.ap is not None
    assert round(quality.ap, 3) >= stated(shared_data)["AP"] == 0.33
    assert ssd_bundle.manifest.quality["coco_open val2017"] == pytest.approx(
        {
            "images": 36,
            "AP": quality.ap,
            "AP50": quality.ap50,
            "AP75": quality.ap75,
            "AP_small": quality.ap_small,
            "AP_medium": quality.ap_medium,
            "AP_large": quality.ap_large,
            "AR100": quality.ar100,
        },
        abs=0.002,
    )


def test_yolox_reaches_the_stated_average_precision(
    yolox_bundle: Bundle, shared_data: Path
) -> None:
    quality = measure(yolox_bundle, shared_data)
    assert quality.ap is not None
    assert quality.ap50 is not None
    assert round(quality.ap, 3) >= 0.322
    assert round(quality.ap50, 3) >= 0.499


def test_a_bicycle_and_its_rider_are_found(
    ssd_bundle: Bundle, yolox_bundle: Bundle, shared_data: Path
) -> None:
    path = shared_data / "coco_open" / "images" / "000000261888.jpg"
    image = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
    for bundle in (ssd_bundle, yolox_bundle):
        with Detector(bundle, CPU) as detector:
            found = detector.detect(image)
        assert {"person", "bicycle"} <= {found.name(i) for i in range(len(found))}
