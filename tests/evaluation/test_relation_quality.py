"""Every relation metric of two files, against the specification's known values."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_scene_graphs import GOLDEN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.evaluation.relation_quality import evaluate_relations

Document = dict[str, Any]
Write = Callable[[str, Document], Path]

CLASSES = "abcd"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(name: str, document: Document) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"schema": "vinfer-scene-graphs/1"} | document))
        return path

    return call


def objects(labels: list[int], boxes: list[list[float]]) -> list[Document]:
    return [{"class": CLASSES[label], "box": box} for label, box in zip(labels, boxes, strict=True)]


def detected() -> tuple[Document, Document]:
    """The two pictures of the golden recall: predictions on boxes of their own."""
    golden = GOLDEN["sgg_recall"]
    names = ["at", "holds", "under"]
    truth, predicted = {}, {}
    for number, rows in enumerate(golden["gt"]):
        labels = [label for row in rows for label in (row[0], row[2])]
        boxes = [box for row in rows for box in row[3:]]
        truth[f"{number}.jpg"] = {
            "objects": objects(labels, boxes),
            "relations": [[2 * k, names[row[1]], 2 * k + 1] for k, row in enumerate(rows)],
        }
        predicted[f"{number}.jpg"] = {
            "objects": objects(golden["classes"][number], golden["boxes"][number]),
            "relations": [
                [s, names[p], o, score] for score, s, o, p in golden["pred_score_s_o_p"][number]
            ],
        }
    return {"predicates": names, "pictures": truth}, {"pictures": predicted}


def annotated() -> tuple[Document, Document]:
    """The golden mAP family: the twelve ordered pairs of four annotated objects."""
    golden = GOLDEN["map_family"]
    names = golden["predicates"]
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    true, predicted = [], []
    for (i, j), labels, scores in zip(pairs, golden["labels"], golden["scores"], strict=True):
        for name, label, score in zip(names, labels, scores, strict=True):
            predicted.append([i, name, j, score])
            if label:
                true.append([i, name, j])
    boxes = [[10.0 * k, 0.0, 10.0 * k + 9, 9.0] for k in range(4)]
    picture = {"objects": objects([0, 1, 2, 3], boxes), "relations": true}
    truth = {"predicates": names, "pictures": {"0.jpg": picture}}
    return truth, {"pictures": {"0.jpg": {"relations": predicted}}}


def test_recall_and_challenge_known(write: Write) -> None:
    truth, predicted = detected()
    found = evaluate_relations(write("t", truth), write("p", predicted))
    assert (found.pictures, found.relations, found.average_precision) == (2, 5, None)
    golden = GOLDEN["sgg_recall"]["out"]
    for name, case in (
        ("R@20", "constrained@20"),
        ("ngR@20", "unconstrained@20"),
        ("phrase R@20", "constrained_phrase@20"),
        ("phrase ngR@20", "unconstrained_phrase@20"),
    ):
        assert found.recall[name].image_mean == pytest.approx(golden[case]["R_image_mean"])
        assert found.recall[name].pooled == pytest.approx(golden[case]["R_pooled"])
    figures = found.figures()
    assert figures["mR@20"] == pytest.approx(golden["constrained@20"]["mR"])
    assert figures["ng-mR@20"] == pytest.approx(golden["unconstrained@20"]["mR"])
    assert figures["Open Images score"] == pytest.approx(GOLDEN["openimages_vrd"]["score"])
    assert "mAP" not in figures


def test_average_precision_known(write: Write) -> None:
    truth, predicted = annotated()
    found = evaluate_relations(write("t", truth), write("p", predicted), ignored=["under"])
    out = GOLDEN["map_family"]["out"]
    figures = found.figures()
    assert figures["mAP"] == pytest.approx(out["mAP"])
    assert figures["mAP*"] == pytest.approx(out["mAP_star"])
    assert figures["mAP_FG"] == pytest.approx(out["mAP_fg"])
    assert figures["mAP*_FG"] == pytest.approx(out["mAP_star_fg"])
    by_predicate = found.to_dict()["by_predicate"]
    assert [row["ap"] for row in by_predicate.values()] == pytest.approx(out["ap"])
    assert figures["R@100"] is not None


def test_what_was_not_predicted_ranks_last_and_together(write: Write) -> None:
    truth, predicted = annotated()
    predicted["pictures"]["0.jpg"]["relations"] = []
    found = evaluate_relations(write("t", truth), write("p", predicted)).average_precision
    assert found is not None
    # All samples equal: average precision is the share of positives, 3, 2 and 1 of 12.
    assert found.ap == pytest.approx((3 / 12, 2 / 12, 1 / 12))


def test_a_picture_without_predictions_counts(write: Write) -> None:
    truth, predicted = detected()
    del predicted["pictures"]["1.jpg"]
    found = evaluate_relations(write("t", truth), write("p", predicted))
    golden = GOLDEN["sgg_recall"]["out"]["unconstrained@20"]
    assert found.recall["ngR@20"].image_mean == pytest.approx(golden["R_image_mean"] - 0.5)


def test_nothing_true_is_not_defined(write: Write) -> None:
    truth, predicted = annotated()
    truth["pictures"]["0.jpg"]["relations"] = []
    found = evaluate_relations(write("t", truth), write("p", predicted))
    assert set(found.figures().values()) == {None}
    empty = evaluate_relations(
        write("t", {"predicates": ["at"], "pictures": {}}), write("p", {"pictures": {}})
    )
    assert set(empty.figures().values()) == {None}


def test_verified_classes(write: Write) -> None:
    truth, predicted = detected()
    truth["pictures"]["0.jpg"]["verified"] = ["d"]
    # The third best prediction has class d as its subject: now a false positive.
    found = evaluate_relations(write("t", truth), write("p", predicted)).open_images
    assert found.relation.ap[2] is not None
    assert found.relation.ap[2] < GOLDEN["openimages_vrd"]["rel"]["ap"][2]


@given(random=st.randoms(), own_boxes=st.booleans())
@settings(
    derandomize=True,
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_order_in_the_files_does_not_matter(write: Write, random: Any, own_boxes: bool) -> None:
    truth, predicted = detected() if own_boxes else annotated()
    expected = evaluate_relations(write("t", truth), write("p", predicted)).to_dict()
    for document in (truth, predicted):
        names = sorted(document["pictures"])
        random.shuffle(names)
        document["pictures"] = {name: document["pictures"][name] for name in names}
        for picture in document["pictures"].values():
            random.shuffle(picture["relations"])
    found = evaluate_relations(write("t", truth), write("p", predicted)).to_dict()
    assert found == expected


def test_wrong_files(write: Write, tmp_path: Path) -> None:
    truth, predicted = detected()
    good = write("t", truth)
    with pytest.raises(SourceNotFoundError, match="none"):
        evaluate_relations(tmp_path / "none", good)
    (tmp_path / "text").write_text("no")
    with pytest.raises(InputError, match="not JSON"):
        evaluate_relations(good, tmp_path / "text")
    with pytest.raises(InputError, match="found schema 'other/1'"):
        evaluate_relations(good, write("p", {"schema": "other/1"}))
    with pytest.raises(InputError, match="no 'predicates'"):
        evaluate_relations(write("x", {"pictures": {}}), good)
    with pytest.raises(InputError, match=r"ignored: found \['over'\]"):
        evaluate_relations(good, write("p", predicted), ignored=["over"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relations": [[0, "at", 1]]}, r"expected \[subject, predicate, object, score\]"),
        ({"relations": [[0, "at", 0, 0.5]]}, "with itself"),
        ({"relations": [[0, "at", 9, 0.5]]}, "objects 0 and 9, the picture has 7"),
        ({"relations": [[0, "at", -1, 0.5]]}, "found -1, expected the index"),
        ({"relations": [[0, "over", 1, 0.5]]}, "predicate 'over', expected one of at, holds"),
        ({"relations": [[0, "at", 1, float("nan")]]}, "a score that is a number"),
        ({"relations": [[0, "at", 1, 0.5], [0, "at", 1, 0.6]]}, "two scores"),
        ({"relations": [[0, "at", 1, "high"]]}, "could not convert"),
        ({"objects": [{"class": "a", "box": [5, 0, 4, 1]}]}, "x1 <= x2"),
        ({"objects": [{"class": "a", "box": [5, 0, 4]}]}, "four numbers"),
        ({"objects": [{"box": [4, 0, 5, 1]}]}, "no 'class'"),
        ({"relations": None}, "not valid"),
    ],
)
def test_wrong_predictions(write: Write, change: Document, message: str) -> None:
    truth, predicted = detected()
    predicted["pictures"]["0.jpg"] |= change
    with pytest.raises(InputError, match=rf"picture 0\.jpg: .*{message}"):
        evaluate_relations(write("t", truth), write("p", predicted))


def test_predictions_that_do_not_fit(write: Write) -> None:
    truth, predicted = detected()
    predicted["pictures"]["2.jpg"] = {"objects": [], "relations": []}
    with pytest.raises(InputError, match=r"picture 2\.jpg \(1 such\)"):
        evaluate_relations(write("t", truth), write("p", predicted))
    truth, predicted = detected()
    del predicted["pictures"]["1.jpg"]["objects"]
    with pytest.raises(InputError, match="objects in some pictures only"):
        evaluate_relations(write("t", truth), write("p", predicted))
