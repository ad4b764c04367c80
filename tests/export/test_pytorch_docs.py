"""docs/pytorch.md: its examples run and print what the page says, and its table has the schemas."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import real_parts

from vinfer.errors import ProviderUnavailableError
from vinfer.ort_library import ort_library_path

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)
if importlib.util.find_spec("onnxscript") is None:
    pytest.skip("onnxscript is not installed (extra train)", allow_module_level=True)

import torch

import vinfer.training.torch_ops  # noqa: F401 (registers the ops)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pytorch.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """The tensors are small, and PyTorch's threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_the_examples_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ort_library_path()
    except ProviderUnavailableError as exc:
        real_parts.missing(str(exc))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    assert len(EXAMPLES) == PAGE.count("```python") == 2
    for code, printed in EXAMPLES:
        exec(code, namespace)
        assert capsys.readouterr().out == printed


def test_the_table_has_the_arguments_of_the_ops() -> None:
    for name in ("roi_align", "positional_maps", "weldon_pool", "letterbox"):
        (row,) = re.findall(rf"^\| `{name}\((.*)\)` \|", PAGE, re.MULTILINE)
        schema = getattr(torch.ops.vinfer, name).default._schema
        assert re.findall(r"(\w+)(?:=|,|$)", re.sub(r"=(\[.*?\]|[^,]*)", "=", row)) == [
            argument.name for argument in schema.arguments
        ]
        defaults = dict(re.findall(r"(\w+)=(\[.*?\]|[^,]*)", row))
        assert {key: eval(value) for key, value in defaults.items()} == {
            argument.name: argument.default_value
            for argument in schema.arguments
            if argument.has_default_value()
        }
