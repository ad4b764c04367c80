"""The detector as a whole, on tiny graphs whose answers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from detectors import channel_mean_graph, constant_graph, detection_manifest, tiny_bundle

from vinfer.backends import SessionOptions
from vinfer.bundles import (
    BoxesScoresDecode,
    DetectionManifest,
    Nms,
    Preprocess,
    YoloxDecode,
)
from vinfer.errors import BundleSchemaError, ConfigError, ModelOutputError, ShapeError
from vinfer.stages.detect import Detector

CPU = SessionOptions(provider="cpu", threads=1)
MakeDetector = Callable[..., Detector]


@pytest.fixture
def make_detector(tmp_path: Path) -> MakeDetector:
    def make(
        graph: bytes, manifest: DetectionManifest | None = None, **overrides: float
    ) -> Detector:
        bundle = tiny_bundle(tmp_path, graph, manifest or detection_manifest())
        return Detector(bundle, CPU, **overrides)

    return make


def boxes_scores(boxes: object, scores: object) -> bytes:
    return constant_graph(
        {"boxes": np.array([boxes], np.float32), "scores": np.array([scores], np.float32)}
    )


THREE = boxes_scores(
    [[0, 0, 16, 16], [0, 0, 16, 15], [16, 16, 48, 64], [40, 0, 60, 10], [5, 5, 5, 9]],
    [[0.7, 0, 0.6], [0.9, 0, 0], [0, 0.55, 0.4], [0, 0.99, 0], [0, 0, 0.99]],
)
PICTURE = np.zeros((16, 64, 3), np.uint8)


def test_boxes_are_in_source_pixels_clipped_suppressed_and_sorted(
    make_detector: MakeDetector,
) -> None:
    found = make_detector(THREE).detect(PICTURE)
    # Input 32x32 to 64x16: x doubles, y halves. The last two boxes are outside or without area.
    np.testing.assert_allclose(found.boxes, [[0, 0, 32, 7.5], [0, 0, 32, 8], [32, 8, 64, 16]])
    np.testing.assert_allclose(found.scores, np.float32([0.9, 0.6, 0.55]))
    assert [found.name(i) for i in range(3)] == ["cat", "bird", "dog"]
    assert found.track_ids.tolist() == [-1, -1, -1]


def test_thresholds_of_the_call_win_over_the_manifest(make_detector: MakeDetector) -> None:
    assert len(make_detector(THREE, score_threshold=0.58).detect(PICTURE)) == 2
    assert len(make_detector(THREE, score_threshold=0.4).detect(PICTURE)) == 4
    assert len(make_detector(THREE, iou_threshold=1.0).detect(PICTURE)) == 4
    assert len(make_detector(THREE, max_detections=1).detect(PICTURE)) == 1


def test_class_agnostic_suppression_comes_from_the_manifest(make_detector: MakeDetector) -> None:
    nms = Nms(score_threshold=0.5, iou_threshold=0.5, class_agnostic=True)
    found = make_detector(THREE, detection_manifest(nms=nms)).detect(PICTURE)
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(("color", "order"), [("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])])
def test_channel_order_is_the_manifests(
    make_detector: MakeDetector, color: str, order: list[int]
) -> None:
    manifest = detection_manifest(
        preprocess=Preprocess(size=(32, 32), mode="stretch", color=color),
        nms=Nms(score_threshold=0, iou_threshold=0.5),
    )
    image = np.zeros((10, 10, 3), np.uint8)
    image[:] = (250, 100, 50)
    found = make_detector(channel_mean_graph(), manifest).detect(image)
    assert found.labels.tolist() == order
    np.testing.assert_allclose(found.scores, np.array([250, 100, 50]) / 255, rtol=1e-5)


def test_decode_is_chosen_by_the_manifest(make_detector: MakeDetector) -> None:
    out = np.zeros((1, 21, 8), np.float32)
    out[0, 5] = [0.5, 0.5, 0, 0, 1, 0, 0.75, 0]  # stride 8, column 1, row 1
    manifest = detection_manifest(
        preprocess=Preprocess(size=(32, 32), mode="pad", align="top_left"),
        decode=YoloxDecode(output="output"),
    )
    found = make_detector(constant_graph({"output": out}), manifest).detect(
        np.zeros((64, 32, 3), np.uint8)
    )
    np.testing.assert_allclose(found.boxes, [[16, 16, 32, 32]], rtol=1e-6)
    assert found.labels.tolist() == [1]


def test_steps_give_what_detect_gives(make_detector: MakeDetector) -> None:
    detector = make_detector(THREE)
    first, second = detector.prepare(PICTURE), detector.prepare(np.zeros((32, 32, 3), np.uint8))
    raw_first, raw_second = detector.infer(first), detector.infer(second)
    later = detector.finish(second, raw_second)
    np.testing.assert_array_equal(
        detector.finish(first, raw_first).boxes, detector.detect(PICTURE).boxes
    )
    assert later.boxes.max() == 32


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (4320, 7680, 3)])
@pytest.mark.parametrize("mode", ["pad", "stretch"])
def test_any_size_of_picture(
    make_detector: MakeDetector, shape: tuple[int, int, int], mode: str
) -> None:
    manifest = detection_manifest(preprocess=Preprocess(size=(32, 32), mode=mode))
    graph = boxes_scores([[-100, -100, 100, 100]], [[0.9, 0, 0]])
    found = make_detector(graph, manifest).detect(np.zeros(shape, np.uint8))
    np.testing.assert_allclose(found.boxes, [[0, 0, shape[1], shape[0]]])


def test_nothing_found_is_empty_with_the_vocabulary(make_detector: MakeDetector) -> None:
    found = make_detector(THREE, score_threshold=1.0).detect(PICTURE)
    assert len(found) == 0
    assert found.names == ("cat", "dog", "bird")


def test_nan_in_the_output_is_an_error(make_detector: MakeDetector) -> None:
    detector = make_detector(boxes_scores([[0, 0, np.nan, 1]], [[0.9, 0, 0]]))
    with pytest.raises(ModelOutputError, match='"boxes": 1 of 4 values are NaN'):
        detector.detect(PICTURE)


def test_labels_that_do_not_fit_the_graph_are_an_error(make_detector: MakeDetector) -> None:
    detector = make_detector(THREE, detection_manifest(labels=("cat", "dog")))
    with pytest.raises(ModelOutputError, match=r"found float32 \[1, 5, 3\], expected .* 2\]"):
        detector.detect(PICTURE)


def test_grey_picture_is_refused(make_detector: MakeDetector) -> None:
    with pytest.raises(ShapeError, match="grey picture"):
        make_detector(THREE).detect(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", -0.1),
        ("score_threshold", float("nan")),
        ("iou_threshold", 1.5),
        ("max_detections", 0),
    ],
)
def test_settings_out_of_range(make_detector: MakeDetector, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: found {value}, expected"):
        make_detector(THREE, **{name: value})


def test_two_inputs_are_refused(make_detector: MakeDetector) -> None:
    manifest = detection_manifest()
    doubled = manifest.model_copy(
        update={"inputs": (manifest.inputs[0], manifest.inputs[0].model_copy(update={"name": "b"}))}
    )
    with pytest.raises(BundleSchemaError, match="expected one, the picture"):
        make_detector(THREE, doubled)


def test_the_same_picture_gives_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    bundle = tiny_bundle(
        tmp_path,
        channel_mean_graph(),
        detection_manifest(
            decode=BoxesScoresDecode(boxes="boxes", scores="scores", normalized=False),
            nms=Nms(score_threshold=0, iou_threshold=0.5),
        ),
    )
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    found = [
        Detector(bundle, SessionOptions(provider="cpu", threads=threads)).detect(image)
        for threads in (1, 2)
    ]
    assert found[0].scores.tobytes() == found[1].scores.tobytes()


def test_close_may_be_called_twice_and_describe_says_what_runs(
    make_detector: MakeDetector,
) -> None:
    with make_detector(THREE) as detector:
        assert detector.describe().providers == ("CPUExecutionProvider",)
    detector.close()
