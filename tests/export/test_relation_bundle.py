"""A relation network as a bundle: what the engine computes is what the network was trained for."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

from vinfer.backends import SessionOptions, load
from vinfer.bundles import Bundle, EventThresholds, PicturePreprocess, RelationManifest
from vinfer.errors import ConfigError, ModelOutputError, TrainingError
from vinfer.export.relation_bundle import (
    BundleText,
    check_graph,
    checked_graph,
    pack_relation_graph,
    scored_graph,
)
from vinfer.export.trained_relations import export_trained_relations, picture_preprocess
from vinfer.stages.relate import Relator
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.relation_config import parse_training_config
from vinfer.training.relation_network import NetworkConfig, RelationNetwork
from vinfer.training.relation_scoring import score_pairs
from vinfer.training.relation_training import train_relations
from vinfer.training.sprites import CLASSES, PREDICATES, make_sprite_data
from vinfer.training.training_folder import load_trained
from vinfer.types import Detections

CPU = SessionOptions(provider="cpu", threads=1)
SETTINGS = BatchSettings(short_side=96, long_side=112)
TEXT = BundleText("slim", "1.2.3", "sprites-detector", "nothing", "Apache-2.0", limits="All of it.")
CONTENT = {
    "data": {"kind": "sprites", "train_pictures": 20, "validation_pictures": 10},
    "network": {"trunk": "slim", "filters": 8, "features": 8, "embedding_size": 4},
    "batches": {"pictures": 8, "short_side": 64, "long_side": 64},
    "epochs": 1,
    "threads": 1,
}


@pytest.fixture(scope="module")
def network() -> RelationNetwork:
    torch.manual_seed(0)
    made = RelationNetwork(
        NetworkConfig(8, 9, trunk="slim", filters=6, features=5, embedding_size=4)
    ).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        elif isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, 0, 2)
    return made


@pytest.fixture(scope="module")
def picture() -> PicturePreprocess:
    return picture_preprocess(SETTINGS, SETTINGS.short_side, SETTINGS.long_side)


@pytest.fixture(scope="module")
def graph(network: RelationNetwork, picture: PicturePreprocess) -> bytes:
    return checked_graph(network, classes=CLASSES, predicates=PREDICATES, picture=picture)


Pack = Callable[..., Path]


@pytest.fixture
def pack(graph: bytes, picture: PicturePreprocess, tmp_path: Path) -> Pack:
    def make(**changes: Any) -> Path:
        fields: dict[str, Any] = {
            "classes": CLASSES,
            "predicates": PREDICATES,
            "picture": picture,
            "text": TEXT,
            "events": {"hits": EventThresholds(on=0.7, off=0.5)},
            "symmetric": ["linked_to"],
            "quality": {"events": {"f1": 0.91234567, "clips": 3}},
        }
        return pack_relation_graph(tmp_path / "slim.vinfer", graph, **{**fields, **changes})

    return make


def test_the_engine_scores_as_training_does(network: RelationNetwork, pack: Pack) -> None:
    data = make_sprite_data(4, 11, size=(130, 200))
    expected = score_pairs(network, data, SETTINGS)
    assert np.ptp(expected.scores) > 0.2
    assert data.read is not None
    with Relator(Bundle.open(pack()), CPU, min_score=0) as relator:
        for number, each in enumerate(data.pictures):
            objects = Detections.untracked(
                each.boxes,
                np.ones(len(each.boxes), np.float32),
                each.labels.astype(np.int32),
                CLASSES,
            )
            found = relator.relate(objects, data.read(each))
            rows = expected.pairs[:, 0] == number
            scores = np.zeros((len(each.boxes), len(each.boxes), len(PREDICATES)), np.float32)
            scores[found.pairs[:, 0], found.pairs[:, 1], found.predicates] = found.scores
            first, second = expected.pairs[rows, 1:].T
            np.testing.assert_allclose(
                scores[first, second], expected.scores[rows], rtol=0, atol=1e-5
            )


def test_the_bundle_says_what_it_is(pack: Pack) -> None:
    bundle = Bundle.open(pack())
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)
    assert manifest.picture is not None
    assert (manifest.picture.short_side, manifest.picture.long_side) == (96, 112)
    assert manifest.picture.mean == pytest.approx((123.675, 116.28, 103.53))
    assert manifest.symmetric == ("linked_to",)
    card = bundle.card()
    for text in (
        "# slim 1.2.3",
        "| `hits` | 0.7 | 0.5 | 0 | 0.2 s | 0.3 s |",
        "- events: f1 0.9123, clips 3",
        "**Limits.** All of it.",
    ):
        assert text in card
    read = onnx.load_model_from_string(bundle.graph())
    assert [value.name for value in read.graph.output] == ["scores"]


def test_the_same_graph_is_the_same_bytes(pack: Pack) -> None:
    first = pack().read_bytes()
    assert pack().read_bytes() == first


def test_what_can_not_stand_in_a_manifest_is_refused(pack: Pack) -> None:
    with pytest.raises(ConfigError, match=r"events: found \['flies'\]"):
        pack(events={"flies": EventThresholds()})
    with pytest.raises(ConfigError, match="allowed_precisions"):
        pack(allowed_precisions=["float64"])


def identity_graph() -> onnx.ModelProto:
    """Logits ``[m, 3]`` are the boxes' first three columns."""
    info = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Gather", ["boxes", "columns"], ["logits"], axis=1)]
    columns = onnx.helper.make_tensor("columns", onnx.TensorProto.INT64, [3], [0, 1, 2])
    made = onnx.helper.make_graph(
        nodes,
        "identity",
        [info("boxes", onnx.TensorProto.FLOAT, ["n", 4])],
        [info("logits", onnx.TensorProto.FLOAT, ["m", 3])],
        [columns],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(made, opset_imports=opset, ir_version=9)


def test_background_is_left_out_and_unused_inputs_are_there() -> None:
    config = NetworkConfig(2, 2, trunk="slim", head="softmax_bg")
    model = scored_graph(identity_graph(), types.SimpleNamespace(config=config))  # type: ignore[arg-type]
    assert [value.name for value in model.graph.input] == [
        *("images", "boxes", "box_images", "labels", "pairs")
    ]
    session = load(model.SerializeToString(), CPU)
    found = session.run(
        {
            "images": np.zeros((1, 3, 4, 4), np.float32),
            "boxes": np.float32([[0, 1, 2, 9]]),
            "box_images": np.zeros(1, np.int64),
            "labels": np.zeros(1, np.int64),
            "pairs": np.zeros((1, 2), np.int64),
        }
    )
    shares = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    np.testing.assert_allclose(found["scores"], [shares[:2]], rtol=1e-6)


def test_a_graph_of_other_numbers_is_not_packed(
    network: RelationNetwork, graph: bytes, picture: PicturePreprocess
) -> None:
    model = onnx.load_model_from_string(graph)
    # The output of logits is back.
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["m", 9])
    )
    assert check_graph(model, network, picture) < 1e-5
    biggest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(biggest) * np.float32(3)
    biggest.CopyFrom(onnx.numpy_helper.from_array(values, biggest.name))
    with pytest.raises(ModelOutputError, match="logits of the graph: found a difference of"):
        check_graph(model, network, picture)


def test_a_finished_training_becomes_a_bundle(
    tmp_path: Path, graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_training_config(CONTENT)
    result = train_relations(config, tmp_path / "out")
    trained = load_trained(tmp_path / "out")
    assert trained.config == config
    assert (trained.classes, trained.predicates) == (CLASSES, PREDICATES)
    assert trained.map_star == result.map_star
    # Another export would take seconds; this graph has the same inputs and outputs.
    monkeypatch.setattr("vinfer.export.trained_relations.checked_graph", lambda *_, **__: graph)
    steps: list[str] = []
    path = export_trained_relations(
        tmp_path / "out",
        name="made",
        detector="sprites-detector",
        num_clips=1,
        output=tmp_path / "made.vinfer",
        progress=steps.append,
    )
    manifest = Bundle.open(path).manifest
    assert isinstance(manifest, RelationManifest)
    assert manifest.symmetric == ("linked_to",)
    assert manifest.picture is not None
    # Stills of 128x128 were seen at half size: so are frames of 144x192.
    assert (manifest.picture.short_side, manifest.picture.long_side) == (72, 96)
    assert manifest.quality["validation pictures"]["mAP*"] == round(result.map_star, 4)
    assert len(steps) == 3


def test_a_bundle_says_what_its_trunk_was_trained_on_before(
    tmp_path: Path, graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vinfer.export.trained_relations.checked_graph", lambda *_, **__: graph)
    first = train_relations(parse_training_config(CONTENT), tmp_path / "first")
    network = {**CONTENT["network"], "weights": str(first.weights)}
    train_relations(parse_training_config({**CONTENT, "network": network}), tmp_path / "second")

    def trained_on() -> str:
        path = export_trained_relations(
            tmp_path / "second",
            name="made",
            detector="sprites-detector",
            events={},
            output=tmp_path / "made.vinfer",
        )
        return Bundle.open(path).manifest.provenance.trained_on

    said = trained_on()
    assert said.count("synthetic pictures (docs/sprites.md)") == 2
    assert "; its trunk before on " in said
    (tmp_path / "first" / "training.json").unlink()
    assert trained_on().endswith("; its trunk started from network.pt")


def test_a_folder_that_is_none_of_a_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="vinfer train relations --output"):
        load_trained(tmp_path)
    for text, message in (
        ("{", "not JSON"),
        ("[]", "not the record"),
        ('{"schema": "other/1"}', "found schema"),
        ('{"schema": "vinfer.training/1"}', "classes"),
    ):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(TrainingError, match=message):
            load_trained(tmp_path)
