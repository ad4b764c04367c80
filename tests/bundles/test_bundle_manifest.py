"""The manifest: what is refused, and that the message names the field."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from vinfer.bundles import (
    DetectionManifest,
    RelationManifest,
    manifest_json,
    parse_manifest,
)
from vinfer.errors import BundleSchemaError

Fields = Callable[..., dict[str, Any]]

PAIRS = {
    "subject_labels": "subject",
    "object_labels": "object",
    "subject_boxes": "subject_box",
    "object_boxes": "object_box",
}
PICTURE = {
    "images": "subject",
    "boxes": "object",
    "box_images": "subject_box",
    "labels": "object_box",
    "pairs": "extra",
}
RESIZED = {"short_side": 128, "long_side": 256}


@pytest.fixture
def relation(fields: Fields) -> Fields:
    """Fields of a relation manifest, with changes given by keyword."""

    def make(**changes: Any) -> dict[str, Any]:
        base = fields(
            inputs=[
                {"name": name, "dtype": "int64", "shape": ["m"]}
                for name in ("subject", "object", "subject_box", "object_box", "extra")
            ],
            outputs=[{"name": "scores", "dtype": "float32", "shape": ["m", 2]}],
        )
        for name in ("preprocess", "decode", "nms"):
            del base[name]
        return base | {
            "schema": "vinfer.bundle/1",
            "task": "relations",
            "predicates": ["on", "next to"],
            "symmetric": ["next to"],
            "input_roles": PAIRS,
            "detector": "dot-detector",
            "events": {"on": {}},
            **changes,
        }

    return make


@pytest.fixture
def detection(fields: Fields) -> Fields:
    """Fields of a detection manifest as they stand in the file."""
    return lambda **changes: fields(schema="vinfer.bundle/1", task="detection") | changes


def test_round_trip(detection: Fields, relation: Fields) -> None:
    for make, kind in ((detection, DetectionManifest), (relation, RelationManifest)):
        manifest = parse_manifest(json.dumps(make()))
        assert isinstance(manifest, kind)
        text = manifest_json(manifest)
        assert text.endswith("}\n")
        assert parse_manifest(text) == manifest
        assert manifest_json(parse_manifest(text.encode())) == text


def test_a_model_that_sees_the_picture(relation: Fields) -> None:
    changes = {"input_roles": PICTURE, "picture": RESIZED, "allowed_precisions": ["float32"]}
    manifest = parse_manifest(json.dumps(relation(**changes)))
    assert isinstance(manifest, RelationManifest)
    assert manifest.picture is not None
    assert manifest.picture.mean == (0.0, 0.0, 0.0)
    assert parse_manifest(manifest_json(manifest)) == manifest


def test_a_model_of_pairs_is_written_as_before_there_were_others(relation: Fields) -> None:
    """So the bundles that exist are the same bytes when they are made again."""
    fields = json.loads(manifest_json(parse_manifest(json.dumps(relation()))))
    assert not {"picture", "allowed_precisions"} & fields.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff\xfe",
        "[" * 100_000,
        "9" * 5000,
        '{"schema": "vinfer.bundle/1", "quality": NaN}',
        '{"schema": "vinfer.bundle/1", "quality": -Infinity}',
    ],
)
def test_not_json(text: str | bytes) -> None:
    with pytest.raises(BundleSchemaError, match="is not JSON"):
        parse_manifest(text)


@pytest.mark.parametrize(
    "schema",
    [
        *(None, 1, "1", "vinfer.event/1", "vinfer.bundle", "vinfer.bundle/", "vinfer.bundle/0"),
        *(
            "vinfer.bundle/1.5",
            "vinfer.bundle/1/2",
            "vinfer.bundle/²",
            f"vinfer.bundle/{'9' * 5000}",
        ),
    ],
)
def test_other_schema(schema: object, detection: Fields) -> None:
    with pytest.raises(BundleSchemaError, match=r'expected "vinfer\.bundle/1"'):
        parse_manifest(json.dumps(detection(schema=schema)))


@pytest.mark.parametrize("text", ["[]", "null", "3", '"text"', "{}"])
def test_not_a_manifest(text: str) -> None:
    with pytest.raises(BundleSchemaError, match="found schema"):
        parse_manifest(text)


def test_newer_schema_says_upgrade(detection: Fields) -> None:
    text = json.dumps(detection(schema="vinfer.bundle/2", unheard_of=1))
    with pytest.raises(BundleSchemaError, match=r'reads up to "vinfer\.bundle/1"; upgrade vinfer'):
        parse_manifest(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "sorting"}, "'sorting'"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"name": "Two Words"}, "name"),
        ({"name": "../up"}, "name"),
        ({"version": ""}, "version"),
        ({"version": "1\n2"}, "version"),
        ({"graph": "../model.onnx"}, "graph"),
        ({"labels": []}, "labels"),
        ({"category_ids": [1]}, "found 1 ids, expected one for each of the 2 labels"),
        ({"outputs": []}, r"decode: found \['boxes', 'scores'\]"),
        ({"files": {"a.bin": {"sha256": "xyz", "size": 1}}}, "sha256"),
        ({"files": {"a.bin": {"sha256": "0" * 64, "size": -1}}}, "size"),
        ({"nms": {"score_threshold": 1.5, "iou_threshold": 0.5}}, "score_threshold"),
        ({"preprocess": {"size": [0, 64], "mode": "pad"}}, "size"),
        ({"preprocess": {"size": [64, 64], "mode": "pad", "std": [1, 0, 1]}}, "std"),
        ({"preprocess": {"size": [64, 64], "mode": "crop"}}, "mode"),
        ({"decode": {"kind": "yolox", "output": "boxes", "strides": []}}, "strides"),
        ({"decode": {"kind": "magic"}}, "magic"),
    ],
)
def test_detection_fields(changes: dict[str, Any], message: str, detection: Fields) -> None:
    with pytest.raises(BundleSchemaError, match=message):
        parse_manifest(json.dumps(detection(**changes)))


def test_overflowing_number(detection: Fields) -> None:
    text = json.dumps(detection()).replace('"iou_threshold": 0.5', '"iou_threshold": 1e999')
    with pytest.raises(BundleSchemaError, match="iou_threshold"):
        parse_manifest(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symmetric": ["beside"]}, r"symmetric: found \['beside'\].*'next to'"),
        ({"events": {"beside": {}}}, r"events: found \['beside'\]"),
        ({"events": {"on": {"on": 0.3, "off": 0.5}}}, r"on \(0\.3\) must not be below off"),
        ({"aliases": {"point": "dit"}}, r"aliases: found \['dit'\].*'dot'"),
        ({"input_roles": PAIRS | {"subject_labels": "nope"}}, r"input_roles: found \['nope'\]"),
        ({"input_roles": {"weather": "subject"}}, "weather"),
        ({"input_roles": {"subject_labels": "subject"}}, "expected all of subject_labels, object"),
        ({"input_roles": PICTURE | PAIRS, "picture": RESIZED}, "or all of images, boxes, box_im"),
        ({"input_roles": PICTURE}, "picture: not there, expected how the picture is resized"),
        ({"picture": RESIZED}, "picture: found it with input_roles of pairs only"),
        (
            {"input_roles": PICTURE, "picture": {"short_side": 9, "long_side": 8}},
            r"long_side \(8\) must not be below short_side \(9\)",
        ),
        ({"input_roles": PICTURE, "picture": RESIZED | {"std": [1, 1, 0]}}, "picture.std"),
        ({"allowed_precisions": ["bfloat16"]}, "expected float32 among them"),
        ({"allowed_precisions": ["float32", "int4"]}, "allowed_precisions"),
        ({"scores": "logits"}, r"scores: found \['logits'\]"),
        ({"predicates": ["on", "on"]}, r"predicates: found \['on'\] more than once"),
        ({"labels": ["dot", "dot"]}, r"labels: found \['dot'\] more than once"),
    ],
)
def test_relation_fields(changes: dict[str, Any], message: str, relation: Fields) -> None:
    with pytest.raises(BundleSchemaError, match=message):
        parse_manifest(json.dumps(relation(**changes)))


def test_many_problems_are_cut_short(detection: Fields) -> None:
    text = json.dumps(detection(**{f"unheard_of_{i}": i for i in range(50)}))
    with pytest.raises(BundleSchemaError, match="and 45 more") as caught:
        parse_manifest(text)
    assert len(str(caught.value)) < 500
