"""The relator on tiny graphs whose answers are known."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vinfer.backends import SessionOptions, load
from vinfer.bundles import (
    Bundle,
    EventThresholds,
    PicturePreprocess,
    Provenance,
    RelationManifest,
    TensorSpec,
    write_bundle,
)
from vinfer.errors import (
    BundleSchemaError,
    ConfigError,
    DTypeError,
    InputError,
    InvalidBoxError,
    ModelOutputError,
    ShapeError,
)
from vinfer.stages.relate import Relator
from vinfer.stages.relation_inputs import relation_inputs
from vinfer.types import Detections, Relations

CPU = SessionOptions(provider="cpu", threads=1)
LABELS = ("person", "bike", "cup")
PREDICATES = ("ride", "on")
ROLES = {
    "subject_labels": "s",
    "object_labels": "o",
    "subject_boxes": "sb",
    "object_boxes": "ob",
}
TABLE = np.full((3, 3, 2), 0.01, np.float32)
TABLE[0, 1] = 0.9, 0.3  # person-bike
TABLE[0, 2] = 0.3, 0.05  # person-cup
TABLE[2, 0] = 0.3, 0.0  # cup-person


def table_graph(table: np.ndarray) -> bytes:
    """Scores looked up by both labels; the boxes are read and change nothing."""
    nodes = [
        helper.make_node("Unsqueeze", ["s", "one"], ["s1"]),
        helper.make_node("Unsqueeze", ["o", "one"], ["o1"]),
        helper.make_node("Concat", ["s1", "o1"], ["so"], axis=1),
        helper.make_node("GatherND", ["table", "so"], ["looked_up"]),
        helper.make_node("Add", ["sb", "ob"], ["both"]),
        helper.make_node("ReduceMin", ["both"], ["least"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["least", "zero"], ["nothing"]),
        helper.make_node("Add", ["looked_up", "nothing"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("s", TensorProto.INT64, ["m"]),
        helper.make_tensor_value_info("o", TensorProto.INT64, ["m"]),
        helper.make_tensor_value_info("sb", TensorProto.FLOAT, ["m", 4]),
        helper.make_tensor_value_info("ob", TensorProto.FLOAT, ["m", 4]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["m", table.shape[2]])]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    graph = helper.make_graph(nodes, "table", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def manifest(**changes: Any) -> RelationManifest:
    fields: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "inputs": [TensorSpec(name=name, dtype="float32", shape=("m",)) for name in ROLES.values()],
        "outputs": [TensorSpec(name="scores", dtype="float32", shape=("m", 2))],
        "files": {},
        "provenance": Provenance(source="test", created_by="test", trained_on="nothing"),
        "licence": "Apache-2.0",
        "labels": LABELS,
        "aliases": {"bicycle": "bike", "cup": "person"},
        "predicates": PREDICATES,
        "input_roles": ROLES,
        "detector": "any",
        "events": {"ride": EventThresholds()},
    }
    return RelationManifest(**{**fields, **changes})


def relator(
    folder: Path, table: np.ndarray = TABLE, min_score: float = 0.05, **changes: Any
) -> Relator:
    path = write_bundle(
        folder / "tiny.vinfer", manifest(**changes), {"model.onnx": table_graph(table)}
    )
    return Relator(Bundle.open(path), CPU, min_score=min_score)


def objects(
    *names: str, vocabulary: tuple[str, ...] = ("zebra", "cup", "bicycle", "person")
) -> Detections:
    n = len(names)
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4) + np.float32([0, 0, 10, 10])
    labels = np.array([vocabulary.index(name) for name in names], np.int32)
    return Detections.untracked(boxes, np.full(n, 0.5, np.float32), labels, vocabulary)


def test_order_is_score_then_subject_object_predicate(tmp_path: Path) -> None:
    found = relator(tmp_path).relate(objects("zebra", "cup", "person", "bicycle"))
    rows = [
        (*pair, found.name(k), round(float(found.scores[k]), 4))
        for k, pair in enumerate(found.pairs.tolist())
    ]
    # Three scores of 0.3; 0.05 is in; the class "cup" is the model's own, not the alias.
    assert rows == [
        (2, 3, "ride", 0.9),
        (1, 2, "ride", 0.3),
        (2, 1, "ride", 0.3),
        (2, 3, "on", 0.3),
        (2, 1, "on", 0.05),
    ]
    assert found.pairs.dtype == found.predicates.dtype == np.int32


def test_min_score_is_inclusive_in_float32(tmp_path: Path) -> None:
    found = relator(tmp_path, min_score=0.9).relate(objects("person", "bicycle"))
    assert found.to_dict() == [
        {"subject": 0, "predicate": "ride", "object": 1, "score": float(np.float32(0.9))}
    ]
    assert len(relator(tmp_path, min_score=0.0).relate(objects("person", "bicycle"))) == 4


def test_two_objects_of_one_class_are_paired_but_none_with_itself(tmp_path: Path) -> None:
    found = relator(tmp_path).relate(objects("bicycle", "person", "person"))
    rides = found.select(found.predicates == 0)
    assert rides.pairs.tolist() == [[1, 0], [2, 0]]
    everything = relator(tmp_path, min_score=0.0).relate(objects("person", "person"))
    assert sorted(map(tuple, everything.pairs.tolist())) == [(0, 1), (0, 1), (1, 0), (1, 0)]


@pytest.mark.parametrize("names", [(), ("person",), ("zebra", "zebra"), ("person", "zebra")])
def test_fewer_than_two_known_objects_do_not_run_the_graph(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    stage = relator(tmp_path)
    stage.close()  # running would be an error
    found = stage.relate(objects(*names))
    assert len(found) == 0
    assert found.names == PREDICATES


def test_another_vocabulary_is_mapped_again(tmp_path: Path) -> None:
    stage = relator(tmp_path)
    assert len(stage.relate(objects("person", "bicycle"))) == 2
    other = ("bike", "person")
    found = stage.relate(objects("person", "bike", vocabulary=other))
    assert found.pairs.tolist() == [[0, 1], [0, 1]]
    assert len(stage.relate(objects("person", "bicycle"))) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "found 1 values that are not finite and 0 outside"),
        (np.inf, "found 1 values that are not finite and 0 outside"),
        (1.5, "found 0 values that are not finite and 1 outside"),
        (-0.1, "found 0 values that are not finite and 1 outside"),
    ],
)
def test_scores_that_are_no_probabilities_are_an_error(
    tmp_path: Path, value: float, text: str
) -> None:
    table = TABLE.copy()
    table[0, 1, 1] = value
    stage = relator(tmp_path, table)
    with pytest.raises(ModelOutputError, match=text) as caught:
        stage.relate(objects("person", "bicycle"))
    assert "tiny@1" in str(caught.value)


def test_another_number_of_predicates_is_an_error(tmp_path: Path) -> None:
    stage = relator(tmp_path, predicates=("ride", "on", "in"))
    with pytest.raises(ModelOutputError, match=r"found float32 \[2, 2\], expected float32 \[2, 3"):
        stage.relate(objects("person", "bicycle"))


@pytest.mark.parametrize(
    "box",
    [[0, 0, np.nan, 5], [0, 0, np.inf, 5], [np.inf, 0, np.inf, 5], [3, 0, 2, 5], [0, 5, 2, 4]],
)
def test_bad_boxes_are_an_error(tmp_path: Path, box: list[float]) -> None:
    found = objects("person", "bicycle")
    found.boxes[1] = box
    with pytest.raises(InvalidBoxError, match="at index 1"):
        relator(tmp_path).relate(found)


def test_bundles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"min_score: found 1\.5"):
        relator(tmp_path, min_score=1.5)
    with pytest.raises(BundleSchemaError, match="the graph has inputs"):
        relator(tmp_path, input_roles={**ROLES, "object_boxes": "sb"})
    more = [TensorSpec(name=name, dtype="float32", shape=("m",)) for name in ("scores", "x")]
    with pytest.raises(BundleSchemaError, match=r"the graph has output \['scores'\]"):
        relator(tmp_path, outputs=more, scores="x")


def test_threads_with_different_vocabularies_do_not_mix(tmp_path: Path) -> None:
    stage = relator(tmp_path)
    wrong: list[object] = []

    def work(vocabulary: tuple[str, ...], bike: str) -> None:
        for _ in range(200):
            pairs = stage.relate(objects("person", bike, vocabulary=vocabulary)).pairs.tolist()
            if pairs != [[0, 1], [0, 1]]:
                wrong.append(pairs)

    threads = [
        threading.Thread(target=work, args=arguments)
        for arguments in (
            (("person", "bicycle"), "bicycle"),
            (("bike", "zebra", "person"), "bike"),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# A graph that looks at the picture: its answers are what it was fed with.
SEEN = ("subject x2", "object label", "mean", "boxes", "height", "width")
PICTURE_ROLES = {
    "images": "i",
    "boxes": "b",
    "box_images": "bi",
    "labels": "l",
    "pairs": "p",
}


def echo_graph() -> bytes:
    """Six columns, each over 100 but the mean: see `SEEN`."""
    node = helper.make_node
    per_pair = ["s_x2", "o_label", "mean_m", "boxes_m", "height_m", "width_m"]
    nodes = [
        node("Gather", ["p", "c0"], ["s"], axis=1),
        node("Gather", ["p", "c1"], ["o"], axis=1),
        node("Gather", ["b", "s"], ["s_box"], axis=0),
        node("Gather", ["s_box", "c2"], ["x2"], axis=1),
        node("Gather", ["l", "o"], ["o_l"], axis=0),
        node("Gather", ["bi", "o"], ["o_i"], axis=0),
        node("Add", ["o_l", "o_i"], ["label"]),
        node("Cast", ["label"], ["label_f"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["label_f", "c1_"], ["label_2"]),
        node("Unsqueeze", ["x2", "c1_"], ["x2_2"]),
        node("Mul", ["x2_2", "percent"], [per_pair[0]]),
        node("Mul", ["label_2", "percent"], [per_pair[1]]),
        node("Mul", [per_pair[1], "zero"], ["nothing"]),
        node("ReduceMean", ["i"], ["mean"], keepdims=0),
        node("Add", ["nothing", "mean"], [per_pair[2]]),
        node("Shape", ["b"], ["b_shape"]),
        node("Shape", ["i"], ["i_shape"]),
    ]
    for name, shape, axis in (("boxes", "b", 0), ("height", "i", 2), ("width", "i", 3)):
        nodes += [
            node("Gather", [f"{shape}_shape", f"c{axis}"], [name], axis=0),
            node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT),
            node("Mul", [f"{name}_f", "percent"], [f"{name}_p"]),
            node("Add", ["nothing", f"{name}_p"], [f"{name}_m"]),
        ]
    nodes.append(node("Concat", per_pair, ["scores"], axis=1))
    info = helper.make_tensor_value_info
    inputs = [
        info("i", TensorProto.FLOAT, ["N", 3, "H", "W"]),
        info("b", TensorProto.FLOAT, ["n", 4]),
        info("bi", TensorProto.INT64, ["n"]),
        info("l", TensorProto.INT64, ["n"]),
        info("p", TensorProto.INT64, ["m", 2]),
    ]
    constants = [
        *(numpy_helper.from_array(np.array(k, np.int64), f"c{k}") for k in range(4)),
        numpy_helper.from_array(np.array([1], np.int64), "c1_"),
        numpy_helper.from_array(np.array(0.01, np.float32), "percent"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    outputs = [info("scores", TensorProto.FLOAT, ["m", 6])]
    graph = helper.make_graph(nodes, "echo", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def seeing_manifest() -> RelationManifest:
    return manifest(
        inputs=[
            TensorSpec(name=name, dtype="float32", shape=("m",)) for name in PICTURE_ROLES.values()
        ],
        outputs=[TensorSpec(name="scores", dtype="float32", shape=("m", 6))],
        predicates=SEEN,
        events={},
        input_roles=PICTURE_ROLES,
        picture=PicturePreprocess(
            short_side=20, long_side=50, mean=(0, 0, 51), std=(255, 255, 255)
        ),
    )


def seeing(folder: Path) -> Relator:
    path = write_bundle(folder / "seeing.vinfer", seeing_manifest(), {"model.onnx": echo_graph()})
    return Relator(Bundle.open(path), CPU, min_score=0)


def echoed(found: Relations, pair: tuple[int, int]) -> dict[str, float]:
    return {
        found.name(k): float(found.scores[k])
        for k in range(len(found))
        if tuple(found.pairs[k].tolist()) == pair
    }


def test_a_model_that_sees_the_picture_is_fed_as_in_training(tmp_path: Path) -> None:
    stage = seeing(tmp_path)
    assert stage.needs_image
    found = objects("person", "zebra", "cup", "bicycle")
    # In pixels of the frame; the first one leaves it at the right.
    found.boxes[:] = [[10, 5, 95, 30], [0, 0, 5, 5], [0, 0, 30, 40], [8, 0, 60, 20]]
    image = np.full((40, 80, 3), 102, np.uint8)  # 40 x 80 becomes 20 x 40
    relations = stage.relate(found, image)
    assert len(relations) == 6 * 6  # of three known objects, in both orders
    common = {
        "mean": pytest.approx(1 / 3, abs=1e-6),  # (102 + 102 + 51) / 3 / 255
        "boxes": pytest.approx(0.03),  # that of the zebra stays out
        "height": pytest.approx(0.20),
        "width": pytest.approx(0.40),
    }
    for pair, x2, label in (((0, 2), 0.40, 2), ((2, 3), 0.15, 1), ((3, 0), 0.30, 0)):
        assert echoed(relations, pair) == {
            "subject x2": pytest.approx(x2),
            "object label": pytest.approx(label / 100),
            **common,
        }


def test_the_long_side_limits_the_size(tmp_path: Path) -> None:
    image = np.zeros((10, 101, 3), np.uint8)
    image[..., 2] = 255
    relations = seeing(tmp_path).relate(objects("person", "cup"), image)
    row = echoed(relations, (0, 1))
    assert row["height"] == pytest.approx(0.05)
    assert row["width"] == pytest.approx(0.50)


def test_the_picture_must_be_there_and_be_one(tmp_path: Path) -> None:
    stage = seeing(tmp_path)
    image = np.zeros((40, 80, 3), np.uint8)
    with pytest.raises(InputError, match=r"image: found none.*relate\(detections, image\)"):
        stage.relate(objects("person", "cup"))
    with pytest.raises(ShapeError, match="grey picture"):
        stage.relate(objects("person", "cup"), image[..., 0])
    with pytest.raises(DTypeError, match="found float64"):
        stage.relate(objects("person", "cup"), image / 255)  # type: ignore[arg-type]
    stage.close()  # running would be an error
    assert len(stage.relate(objects("person", "zebra"), image)) == 0


def test_pairs_alone_need_no_picture(tmp_path: Path) -> None:
    stage = relator(tmp_path)
    assert not stage.needs_image
    found = objects("person", "bicycle")
    image = np.zeros((4, 4, 3), np.uint8)
    assert stage.relate(found).to_dict() == stage.relate(found, image).to_dict()


@pytest.mark.parametrize("make", [manifest, seeing_manifest])
def test_a_sample_is_what_the_graph_takes(make: Callable[[], RelationManifest]) -> None:
    model = table_graph(TABLE) if make is manifest else echo_graph()
    inputs = relation_inputs(make())
    first, second = inputs.sample(3), inputs.sample(3)
    with contextlib.closing(load(model, CPU)) as session:
        (scores,) = session.run(first).values()
    assert len(scores) == 20
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
