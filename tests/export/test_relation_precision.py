"""`vinfer eval precision`: a bundle is measured in fewer bits, and says so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, EventThresholds, PicturePreprocess, find_bundle
from vinfer.cli import exit_codes
from vinfer.cli.main import main
from vinfer.errors import BundleSchemaError, InputError, TrainingError
from vinfer.evaluation.events import evaluate_events
from vinfer.export.relation_bundle import BundleText, checked_graph, pack_relation_graph
from vinfer.export.relation_precision import measure_precisions, write_precisions
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.training.clip_thresholds import events_of, score_clip, seen_objects
from vinfer.training.relation_config import parse_training_config
from vinfer.training.relation_network import RelationNetwork
from vinfer.training.relation_scoring import score_pairs
from vinfer.training.sprites import make_clip

CONFIG = {
    "data": {"kind": "sprites", "train_pictures": 6, "validation_pictures": 12},
    "network": {"trunk": "slim", "filters": 6, "features": 5, "embedding_size": 4},
    "batches": {"pictures": 4, "short_side": 64, "long_side": 64},
}
CLIP = make_clip(5, num_frames=20, kinds=["on"])
Prepared = tuple[RelationNetwork, Bundle, Any, Any, Any]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    config = parse_training_config(CONFIG)
    calibration, validation = config.data.load()
    torch.manual_seed(0)
    network = RelationNetwork(config.network.config(validation)).eval()
    torch.nn.init.normal_(network.classifier.weight)
    settings = config.batch_settings()
    fields: dict[str, Any] = {
        "classes": validation.classes,
        "predicates": validation.predicates,
        "picture": PicturePreprocess(short_side=64, long_side=64),
    }
    path = pack_relation_graph(
        tmp_path_factory.mktemp("bundles") / "untrained.vinfer",
        checked_graph(network, **fields),
        text=BundleText("untrained", "1.0.0", "sprites-detector", "nothing", "Apache-2.0"),
        events={"on": EventThresholds()},
        quality={"kept": 1},
        **fields,
    )
    return network, Bundle.open(path), calibration, validation, settings


@pytest.fixture(scope="module")
def measured(prepared: Prepared) -> tuple[dict[str, Any], Any]:
    _, bundle, calibration, validation, settings = prepared
    return measure_precisions(
        bundle,
        calibration,
        validation,
        settings,
        ignored=("under",),
        max_loss=1.0,
        threads=1,
        clips=[CLIP],
    )


def test_the_float32_figure_is_that_of_pytorch(prepared: Prepared, measured: Any) -> None:
    network, _, _, validation, settings = prepared
    quality = score_pairs(network, validation, settings).quality(validation.predicates, ("under",))
    assert measured[0]["float32"]["metrics"]["mAP*"] == pytest.approx(quality.mean_star, abs=1e-4)
    assert measured[0]["data"] == {"pictures": 12, "calibration_pictures": 6, "clips": 1}


def test_events_are_counted_as_the_bundle_finds_them(prepared: Prepared, measured: Any) -> None:
    bundle = prepared[1]
    options = SessionOptions(provider="cpu")
    followed = Bundle.open(find_bundle("sprites-detector"))
    with Relator(bundle, options) as relator, Detector(followed, options) as detector:
        scored = score_clip(relator, CLIP, seen_objects(CLIP, detector))
    events = events_of(scored, bundle.manifest.events, ())
    f1 = evaluate_events([scored.truth], events).overall.f1
    assert measured[0]["float32"]["metrics"]["event F1"] == pytest.approx(f1, abs=1e-6)
    assert all("event F1" in each["metrics"] for each in measured[0]["variants"])


def test_differences_are_of_logits(measured: Any) -> None:
    report, variants = measured
    assert all("logits" in _outputs(variant.graph) for variant in variants)
    float16 = next(each for each in report["variants"] if each["precision"] == "float16")
    assert 0 < float16["largest_difference"] < 0.1


def test_the_report_is_in_the_new_bundle(prepared: Prepared, measured: Any, tmp_path: Path) -> None:
    bundle = prepared[1]
    report, variants = measured
    written = Bundle.open(write_precisions(bundle, report, variants, tmp_path / "new.vinfer"))
    assert written.manifest.quality == {"kept": 1, "precision": report}
    assert written.graph() == bundle.graph()
    assert written.card().startswith(bundle.card())
    added = written.card().removeprefix(bundle.card())
    figures = ", ".join(f"{k} {v:.4g}" for k, v in report["float32"]["metrics"].items())
    assert f"| float32 |  | {figures} |  |" in added
    assert added.count("| int8 |") == sum(e["precision"] == "int8" for e in report["variants"])
    # Where the processor has no bfloat16 it is emulated, and refused.
    [bfloat16] = [each for each in report["variants"] if each["precision"] == "bfloat16"]
    assert f"| bfloat16 | {bfloat16['backend']} |" in added
    is_emulated = bfloat16["how"] == "emulated"
    assert ("refused: not measured as it runs" in added) == is_emulated
    assert bfloat16["accepted"] != is_emulated
    again = Bundle.open(write_precisions(written, report, variants, tmp_path / "again.vinfer"))
    assert again.card() == written.card()
    assert written.manifest.version == "1.0.0"
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_an_accepted_graph_is_packed_under_its_own_version(
    prepared: Prepared, measured: Any, tmp_path: Path
) -> None:
    report, variants = measured
    path = write_precisions(prepared[1], report, variants, tmp_path / "int8.vinfer", use="int8")
    written = Bundle.open(path)
    assert written.identity == "untrained@1.0.0+int8"
    assert _outputs(written.graph()) == ["scores"]
    kinds = {node.op_type for node in onnx.load_from_string(written.graph()).graph.node}
    assert "QuantizeLinear" in kinds
    assert len(written.graph()) < 0.7 * len(prepared[1].graph())


def test_a_refused_graph_is_not_packed(prepared: Prepared, measured: Any, tmp_path: Path) -> None:
    report, variants = measured
    refused = [
        {**each, "accepted": False, "reason": "mAP* -0.2"} if each["precision"] == "int8" else each
        for each in report["variants"]
    ]
    target = tmp_path / "int8.vinfer"
    with pytest.raises(InputError, match=r"int8 was refused in onnxruntime: mAP\* -0\.2; use"):
        write_precisions(prepared[1], {**report, "variants": refused}, variants, target, use="int8")
    assert not target.exists()


def test_data_of_another_vocabulary_and_models_without_pictures_are_refused(
    prepared: Prepared, tiny_relations: Bundle
) -> None:
    _, bundle, calibration, validation, settings = prepared
    other = dataclasses.replace(validation, classes=("a", *validation.classes[1:]))
    with pytest.raises(
        TrainingError, match=r"validation data: found 8 classes, number 0 is \['a'\]"
    ):
        measure_precisions(bundle, calibration, other, settings)
    with pytest.raises(BundleSchemaError, match="takes no picture"):
        measure_precisions(tiny_relations, calibration, validation, settings)


def test_pictures_without_relations_can_not_tell(prepared: Prepared) -> None:
    _, bundle, calibration, validation, settings = prepared
    empty = [
        dataclasses.replace(picture, triplets=np.empty((0, 3), np.int64))
        for picture in validation.pictures[:2]
    ]
    nothing = dataclasses.replace(validation, pictures=empty)
    with pytest.raises(InputError, match=r"mAP\*: found nan with the float32 graph"):
        measure_precisions(bundle, calibration, nothing, settings)


@pytest.fixture
def tiny_relations(tmp_path: Path) -> Bundle:
    from tiny_bundles import pack_relations, relation_graph

    return Bundle.open(pack_relations(tmp_path, relation_graph()))


def test_the_command_prints_and_writes(
    prepared: Prepared, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "relations.yaml", tmp_path / "new.vinfer"
    config.write_text(json.dumps(CONFIG))  # which is YAML, too
    arguments = [
        "eval",
        "precision",
        str(prepared[1].path),
        "--config",
        str(config),
        "--clips",
        "1",
    ]
    assert main([*arguments, "--max-loss", "1", "--threads", "1", "-o", str(output)]) == 0
    shown = capfd.readouterr().out
    assert "int8" in shown
    assert "accepted" in shown
    assert "event F1" in shown
    assert f"Written to {output}" in shown.replace("\n", "")
    assert Bundle.open(output).manifest.quality["precision"]["max_loss"] == 1
    assert main([*arguments, "--use", "int8"]) == exit_codes.USAGE
    assert "--use int8 needs a bundle to write: add --output FILE" in capfd.readouterr().err


def _outputs(graph: bytes) -> list[str]:
    return [value.name for value in onnx.load_from_string(graph).graph.output]
