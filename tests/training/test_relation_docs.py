"""docs/relations.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

from vinfer.training.relation_config import RelationTrainingConfig, parse_training_config

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "relations.md").read_text()


def test_the_configuration_on_the_page_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_training_config(yaml.safe_load(block)).epochs == 14


def test_every_key_of_the_table_exists() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE, re.MULTILINE)
    assert len(rows) > 8
    fields = RelationTrainingConfig.model_fields
    for row in rows:
        section = ""
        for key in re.findall(r"`([\w.]+)`", row):
            section, name = key.split(".") if "." in key else (section, key)
            if not section:
                assert name in fields, name
            elif section != "data":  # its keys depend on the kind
                known = type(fields[section].default).model_fields
                assert name in known, key
