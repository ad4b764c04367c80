"""What `vinfer inspect` shows of a bundle."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from vinfer.bundles import Bundle, DetectionManifest, describe_bundle, write_bundle
from vinfer.errors import BundleError

onnx = pytest.importorskip("onnx")


@pytest.fixture
def graph() -> bytes:
    """Two nodes of the standard domain and one of ours, 12 parameters."""
    helper = onnx.helper
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3])
    boxes = helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, ["n", 4])
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, [3, 4], [0.5] * 12)
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("WeldonPool", ["b"], ["boxes"], domain="vinfer"),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], [boxes], [weight]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("vinfer", 1)],
        ir_version=9,
        producer_name="a test",
    )
    return bytes(model.SerializeToString())


def test_describe(tmp_path: Path, manifest: DetectionManifest, graph: bytes) -> None:
    files = {"model.onnx": graph, "card.md": b"# A card\n"}
    bundle = Bundle.open(write_bundle(tmp_path / "a.vinfer", manifest, files))
    facts = describe_bundle(bundle)

    assert json.loads(json.dumps(facts)) == facts
    assert facts["identity"] == "dot-detector@1.2.0"
    assert facts["digest"] == bundle.digest
    assert facts["size"] == len(graph) + 9
    assert facts["files"] == [
        {"name": "card.md", "size": 9, "sha256": hashlib.sha256(b"# A card\n").hexdigest()},
        {"name": "model.onnx", "size": len(graph), "sha256": hashlib.sha256(graph).hexdigest()},
    ]
    assert facts["card"] == "# A card\n"
    assert facts["manifest"]["schema"] == "vinfer.bundle/1"
    assert facts["manifest"]["nms"]["iou_threshold"] == 0.5
    assert "files" not in facts["manifest"]
    assert facts["graph"] == {
        "name": "model.onnx",
        "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 3, 64, 96]}],
        "outputs": [
            {"name": "boxes", "dtype": "float32", "shape": [1, "a", 4]},
            {"name": "scores", "dtype": "float32", "shape": [1, "a", 2]},
        ],
        "ir_version": 9,
        "opsets": {"ai.onnx": 17, "vinfer": 1},
        "producer": "a test",
        "num_nodes": 3,
        "nodes": {"MatMul": 1, "Relu": 1, "vinfer.WeldonPool": 1},
        "num_parameters": 12,
    }


def test_without_onnx(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    graph = describe_bundle(Bundle.open(packed))["graph"]
    assert "vinfer[export]" in graph["note"]
    assert "num_nodes" not in graph
    assert graph["inputs"][0]["name"] == "image"


def test_not_an_onnx_graph(packed: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx of dot-detector@1\.2\.0 is not an ONNX"):
        describe_bundle(Bundle.open(packed))
