"""docs/onnxruntime.md and docs/function-bodies.md tell what is the case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodes
import numpy as np
import onnx
import pytest
import runtimes
from onnx import AttributeProto, helper
from runtimes import Runtime, RuntimeFailed

from vinfer.errors import InputError
from vinfer.export import attach_functions
from vinfer.export.functions import PLUGIN

DOCS = Path(__file__).resolve().parents[2] / "docs"
NODES_PAGE = (DOCS / "onnxruntime.md").read_text()
BODIES_PAGE = (DOCS / "function-bodies.md").read_text()
MODELS = {
    "RoiAlign": nodes.roi_align_model(),
    "PositionalMaps": nodes.positional_maps_model(),
    "WeldonPool": nodes.weldon_pool_model(),
    "Letterbox": nodes.letterbox_model(),
}
TYPES = {
    AttributeProto.INT: "int",
    AttributeProto.FLOAT: "float",
    AttributeProto.FLOATS: "floats",
    AttributeProto.STRING: "string",
}


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """The release whose own texts the page shows."""
    running = Runtime(runtimes.SUPPORTED[-1], tmp_path_factory.mktemp("newest"))
    yield running
    running.close()


@pytest.mark.parametrize("op", MODELS)
def test_every_attribute_with_type_and_default(op: str) -> None:
    section = NODES_PAGE.split(f"**`{op}`**")[1].split("**`")[0].split("\n## ")[0]
    listed = {
        name: (kind, default.strip("`"))
        for names, kind, default in re.findall(r"^\| (`.*?`) \| (\w+) \| (\S.*?) \|", section, re.M)
        for name in re.findall(r"`(\w+)`", names)
        if kind in TYPES.values()
    }
    (function,) = attach_functions(MODELS[op]).functions
    attributes = {
        attribute.name: (TYPES[attribute.type], helper.get_attribute_value(attribute))
        for attribute in function.attribute_proto
        if attribute.name not in PLUGIN
    }
    assert listed == {
        name: (kind, f'"{value.decode()}"' if kind == "string" else str(value))
        for name, (kind, value) in attributes.items()
    }


@pytest.mark.parametrize("op", MODELS)
def test_every_input_and_output(op: str) -> None:
    (function,) = attach_functions(MODELS[op]).functions
    assert f"**`{op}`** `({', '.join(function.input)}) -> {function.output[0]}`" in NODES_PAGE


def load_and_run(newest: Runtime, library: Path | None, model: Any, **changes: Any) -> None:
    session, _ = newest.load(model, library)
    newest.run(session, {**nodes.roi_inputs(), **changes})


def assert_shown(newest: Runtime, library: Path | None, model: Any, **changes: Any) -> None:
    with pytest.raises(RuntimeFailed) as failed:
        load_and_run(newest, library, model, **changes)
    text = re.sub(r"from \S+\.onnx", "from model.onnx", str(failed.value).partition(": ")[2])
    assert f"\n{text}\n" in NODES_PAGE


def test_errors_of_the_runtime(newest: Runtime, library: Path) -> None:
    double = nodes.node_model("WeldonPool", {"X": ("float64", None)}, ("float64", None))
    for model in (
        nodes.weldon_pool_model(k_max=0),
        nodes.letterbox_model(mode="crop"),
        nodes.roi_align_model(spatial_scale=1),
        double,
    ):
        assert_shown(newest, library, model)
    outside = nodes.roi_inputs()["batch_indices"] + 3
    assert_shown(newest, library, nodes.roi_align_model(), batch_indices=outside)
    assert_shown(newest, None, nodes.roi_align_model())


def test_errors_of_registering(newest: Runtime, library: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailed) as failed:
        newest.load(nodes.weldon_pool_model(), Path(library.name))
    assert f"\n{str(failed.value).rpartition(' : ')[2]}\n" in NODES_PAGE
    old = Runtime(runtimes.TOO_OLD, tmp_path)
    with pytest.raises(RuntimeFailed) as failed:
        old.load(nodes.weldon_pool_model(), library)
    old.close()
    assert f"\n{str(failed.value).rpartition(' : ')[2]}\n" in NODES_PAGE


def test_misspelt_attribute_is_not_noticed_by_the_runtime(newest: Runtime, library: Path) -> None:
    model = nodes.weldon_pool_model(kmax=3)
    newest.load(model, library)
    with pytest.raises(InputError, match="kmax is no attribute"):
        attach_functions(model)


def test_example_and_its_output(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((program, printed),) = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", BODIES_PAGE, re.S)
    exec(program, {})
    assert capsys.readouterr().out == printed


def test_errors_of_attaching() -> None:
    features: dict[str, tuple[str, Any]] = {"X": ("float32", None)}

    def pool(op: str = "WeldonPool", name: str = "pool", **attributes: Any) -> onnx.ModelProto:
        model = nodes.node_model(op, features, ("float32", None), **attributes)
        model.graph.node[0].name = name
        return model

    too_old = pool()
    too_old.opset_import[0].version = 15
    for model in (
        pool(kmax=3),
        pool(k_max=0),
        pool(alpha=1),
        pool("Letterbox", "fit", mode="crop"),
        pool("MaxPool"),
        too_old,
    ):
        with pytest.raises(InputError) as refused:
            attach_functions(model)
        assert f"\n{refused.value}\n" in BODIES_PAGE


def test_maps_without_rows_and_boxes_of_nan(runtime: Runtime, library: Path) -> None:
    """What a body can't do, as the page has it."""
    empty = {"X": np.zeros((1, 2, 0, 3), np.float32)}
    model = attach_functions(nodes.weldon_pool_model())
    session, _ = runtime.load(model, None)
    assert np.isnan(runtime.run(session, empty)[0]).all()
    session, _ = runtime.load(model, library)
    with pytest.raises(RuntimeFailed, match="expected at least one row and column"):
        runtime.run(session, empty)

    inputs = nodes.roi_inputs()
    inputs["boxes"][2] = np.nan
    model = attach_functions(nodes.roi_align_model(sampling_ratio=2))
    session, _ = runtime.load(model, library)
    assert not runtime.run(session, inputs)[0][2].any()
    session, _ = runtime.load(model, None)
    if runtime.version == "1.32.0":
        with pytest.raises(RuntimeFailed, match="must be finite"):
            runtime.run(session, inputs)
    else:
        assert np.isnan(runtime.run(session, inputs)[0][2]).all()
