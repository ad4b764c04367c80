"""Merged predicates, and where each of COCO's classes goes."""

from pathlib import Path

import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.export.coco import COCO_LABELS
from vinfer.training.relation_data import pair_table
from vinfer.training.vocabulary import (
    COCO_ALIASES,
    COCO_SHARED,
    COCO_UNKNOWN,
    PREDICATE_GROUPS,
    PREDICATES,
    RIDDEN,
    SYMMETRIC,
    WORN,
    reported_labels,
)
from vinfer.training.vrd import load_vrd

SAMPLE = Path(__file__).with_name("vrd_sample.json")


def stated(sample: Path) -> set[tuple[str, str, str]]:
    split = load_vrd(sample)
    pairs = pair_table(split)
    labels = reported_labels(pairs, split.classes, split.predicates)
    return {
        (
            split.classes[pairs.subject_labels[row]],
            PREDICATES[k],
            split.classes[pairs.object_labels[row]],
        )
        for row, k in zip(*np.nonzero(labels), strict=True)
    }


def test_one_name_for_one_fact() -> None:
    assert stated(SAMPLE) == {
        ("person", "ride", "bike"),  # "sit on"
        ("person", "wear", "shirt"),  # "wear", and "shirt on person" the other way round
        ("person", "next to", "bike"),
        ("cup", "on", "table"),
        ("cup", "next to", "cup"),
    }


def test_worn_things_are_stated_by_the_reverse_pair_alone(tmp_path: Path) -> None:
    text = SAMPLE.read_text().replace("[0, 1, 2], ", "")
    (tmp_path / "train.json").write_text(text)
    assert ("person", "wear", "shirt") in stated(tmp_path / "train.json")


def test_a_file_with_other_predicates_is_refused() -> None:
    split = load_vrd(SAMPLE)
    with pytest.raises(TrainingError, match="expected VRD's names"):
        reported_labels(pair_table(split), split.classes, ("likes",) * len(split.predicates))


def test_no_predicate_is_merged_into_two() -> None:
    merged = [name for group in PREDICATE_GROUPS.values() for name in group]
    assert len(merged) == len(set(merged))
    assert set(SYMMETRIC) <= set(PREDICATES)


def test_each_coco_class_is_mapped_or_left_out_on_purpose() -> None:
    placed = [*COCO_SHARED, *COCO_ALIASES, *COCO_UNKNOWN]
    assert len(placed) == len(set(placed)) == 80
    assert set(placed) == set(COCO_LABELS)


def test_names_are_those_of_the_real_labels(shared_data: Path) -> None:
    split = load_vrd(shared_data / "vrd" / "train.json.gz")
    classes = set(split.classes)
    assert {*COCO_SHARED, *COCO_ALIASES.values(), *RIDDEN, *WORN} <= classes
    assert not classes & {*COCO_UNKNOWN, *COCO_ALIASES}
    assert {name for group in PREDICATE_GROUPS.values() for name in group} <= set(split.predicates)
