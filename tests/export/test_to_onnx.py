"""Modules that use the ops, exported, and run by ONNX Runtime with vinfer's kernels and without."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import real_parts

from vinfer.errors import (
    BackendError,
    InputError,
    MissingDependencyError,
    ProviderUnavailableError,
)
from vinfer.export import to_onnx
from vinfer.ort_library import ort_library_path

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)
if importlib.util.find_spec("onnxscript") is None:
    pytest.skip("onnxscript is not installed (extra train)", allow_module_level=True)

import torch
from torch import Tensor

import vinfer.training.torch_ops  # noqa: F401 (registers the ops)

ops = torch.ops.vinfer

Model = onnx.ModelProto
NAMES = ["picture", "frames", "boxes", "batch_indices", "reference"]
OUR_OPS = {"Letterbox", "PositionalMaps", "RoiAlign", "WeldonPool"}
PLUGIN = {"plugin_namespace": b"vinfer", "plugin_version": b"1"}


class EveryOp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.mix = torch.nn.Conv2d(6 + 2, 5, 3, padding=1)

    def forward(
        self, picture: Tensor, frames: Tensor, boxes: Tensor, batch_indices: Tensor, ref: Tensor
    ) -> tuple[Tensor, Tensor]:
        network_image = ops.letterbox(picture, [24, 40], mean=[127.5] * 3, std=[127.5] * 3)
        pooled = ops.roi_align(self.stem(frames), boxes, batch_indices, [7, 5], 0.25, 2)
        maps = ops.positional_maps(boxes, ref, [7, 5])
        mixed = self.mix(torch.cat([pooled, maps], 1))
        return network_image, ops.weldon_pool(mixed, 4, 3, 0.7)


class Calls(torch.nn.Module):
    """One function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def inputs_of(
    picture: tuple[int, int], frames: tuple[int, int, int], num_boxes: int, seed: int = 0
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    images, height, width = frames
    low = torch.rand(num_boxes, 2, generator=generator) * 40 - 5
    boxes = torch.cat([low, low + 2 + torch.rand(num_boxes, 2, generator=generator) * 40], 1)
    return (
        torch.randint(0, 256, (*picture, 3), dtype=torch.uint8, generator=generator),
        torch.randn(images, 3, height, width, generator=generator),
        boxes,
        torch.randint(0, images, (num_boxes,), generator=generator),
        boxes + torch.tensor([-3.0, -2.0, 5.0, 9.0]),
    )


def export_every_op(opset: int) -> Model:
    free, num_boxes = torch.export.Dim.DYNAMIC, torch.export.Dim("num_boxes")
    return to_onnx(
        EveryOp().eval(),
        inputs_of((30, 50), (2, 64, 48), 6),
        input_names=NAMES,
        output_names=["network_image", "scores"],
        dynamic_shapes=(
            {0: free, 1: free},
            {0: free, 2: free, 3: free},
            {0: num_boxes},
            {0: num_boxes},
            {0: num_boxes},
        ),
        opset=opset,
    )


def export_one(function: Callable[..., Any], x: Tensor, **changed: Any) -> Model:
    options = {"input_names": ["x"], "output_names": ["y"], **changed}
    return to_onnx(Calls(function).eval(), (x,), **options)


@pytest.fixture(scope="module", params=[18, 19, 20])
def exported(request: pytest.FixtureRequest) -> Model:
    return export_every_op(request.param)


@pytest.fixture(params=["bodies", "kernels"])
def library(request: pytest.FixtureRequest) -> Path | None:
    """None leaves plain ONNX Runtime, which knows the standard operators only."""
    if request.param == "bodies":
        return None
    try:
        return ort_library_path()
    except ProviderUnavailableError as exc:
        real_parts.missing(str(exc))


def session_of(
    model: Model, library: Path | None, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if library is not None:
        options.register_custom_ops_library(str(library))
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def our_nodes(model: Model) -> dict[str, dict[str, Any]]:
    return {
        node.op_type: {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in model.graph.node
        if node.domain == "vinfer"
    }


# ---- what is in the file ----


def test_nodes_of_the_graph(exported: Model, request: pytest.FixtureRequest) -> None:
    assert [(node.domain, node.op_type) for node in exported.graph.node] == [
        ("vinfer", "Letterbox"),
        ("", "Conv"),
        ("vinfer", "RoiAlign"),
        ("vinfer", "PositionalMaps"),
        ("", "Concat"),
        ("", "Conv"),
        ("vinfer", "WeldonPool"),
    ]
    assert [value.name for value in exported.graph.input] == NAMES
    assert [value.name for value in exported.graph.output] == ["network_image", "scores"]
    assert {function.name for function in exported.functions} == OUR_OPS
    assert exported.ir_version == 9
    opset = request.node.callspec.params["exported"]
    imported = {entry.domain: entry.version for entry in exported.opset_import}
    assert imported == {"": opset, "vinfer": 1}


def test_attributes_of_the_nodes(exported: Model) -> None:
    assert our_nodes(exported) == {
        "Letterbox": {
            "height": 24,
            "width": 40,
            "mode": b"pad",
            "mean": [127.5] * 3,
            "std": [127.5] * 3,
            "pad_value": 114.0,
            "layout": b"chw",
            "align": b"center",
            "rounding": b"nearest",
            "swap_channels": 0,
            **PLUGIN,
        },
        "RoiAlign": {
            "output_height": 7,
            "output_width": 5,
            "sampling_ratio": 2,
            "spatial_scale": 0.25,
            "coordinate_transformation_mode": b"half_pixel",
            **PLUGIN,
        },
        "PositionalMaps": {"height": 7, "width": 5, **PLUGIN},
        "WeldonPool": {"k_max": 4, "k_min": 3, "alpha": float(np.float32(0.7)), **PLUGIN},
    }


def test_axes_are_free_where_they_were_said_to_be(exported: Model) -> None:
    shapes = {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in [*exported.graph.input, *exported.graph.output]
    }
    for name in ("boxes", "batch_indices", "reference", "scores"):
        assert shapes[name][0] == "num_boxes"
    assert all(isinstance(side, str) for side in shapes["picture"][:2])
    assert [isinstance(side, str) for side in shapes["frames"]] == [True, False, True, True]
    assert shapes["network_image"] == [3, 24, 40]
    assert shapes["scores"][1] == 5


def test_the_file_tells_nothing_of_the_machine(exported: Model) -> None:
    written = exported.SerializeToString()
    assert Path(__file__).name.encode() not in written
    assert str(Path(torch.__file__).parent).encode() not in written


# ---- what it computes ----


@pytest.mark.parametrize(
    ("picture", "frames", "num_boxes"),
    [
        ((30, 50), (2, 64, 48), 6),
        ((21, 90), (3, 33, 71), 9),
        ((60, 7), (1, 120, 40), 1),
        ((1, 1), (2, 64, 48), 0),
    ],
)
def test_agrees_with_pytorch(
    exported: Model,
    library: Path | None,
    picture: tuple[int, int],
    frames: tuple[int, int, int],
    num_boxes: int,
) -> None:
    inputs = inputs_of(picture, frames, num_boxes, seed=num_boxes)
    with torch.no_grad():
        expected = EveryOp().eval()(*inputs)
    feeds = {name: tensor.numpy() for name, tensor in zip(NAMES, inputs, strict=True)}
    found = session_of(exported, library).run(None, feeds)
    assert found[0].shape == (3, 24, 40)
    assert found[1].shape == (num_boxes, 5)
    for ours, torchs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, torchs.numpy(), rtol=0, atol=1e-4)


def test_kernels_run_with_the_library_and_bodies_without(
    exported: Model, library: Path | None, tmp_path: Path
) -> None:
    session = session_of(exported, library, tmp_path / "profile")
    inputs = inputs_of((30, 50), (2, 64, 48), 6)
    session.run(None, {name: tensor.numpy() for name, tensor in zip(NAMES, inputs, strict=True)})
    events = json.loads(Path(session.end_profiling()).read_text())
    executed = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    assert {args["provider"] for args in executed} == {"CPUExecutionProvider"}
    # ONNX Runtime changes the layout for its convolutions.
    names = [args["op_name"] for args in executed if not args["op_name"].startswith("Reorder")]
    if library is not None:
        assert sorted(names) == sorted([*OUR_OPS, "Conv", "Concat", "Conv"])
    else:
        # The body of our RoiAlign has the standard one in it.
        assert OUR_OPS & set(names) == {"RoiAlign"}
        assert set(names) >= {"TopK", "IsNaN", "Reshape", "Where"}


SETTINGS: dict[str, Any] = {
    "mode": "stretch",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "pad_value": 7.5,
    "layout": "hwc",
    "align": "top_left",
    "rounding": "floor",
    "swap_channels": True,
}


def unusual_settings(picture: Tensor) -> tuple[Tensor, ...]:
    """All that differ from the defaults; float16; two nodes of one op."""
    network_image = ops.letterbox(picture, [12, 16], **SETTINGS)
    boxes = torch.tensor([[1.0, 2.0, 9.0, 11.0], [-4.0, 0.0, 30.0, 14.0]])
    pooled = ops.roi_align(
        network_image.permute(2, 0, 1)[None].half(),
        boxes,
        torch.zeros(2, dtype=torch.int64),
        [3, 4],
        0.5,
        sampling_ratio=0,
        aligned=False,
    )
    return network_image, pooled, ops.weldon_pool(pooled, 2, 0), ops.weldon_pool(pooled, 1, 3)


PICTURE = torch.randint(
    0, 256, (15, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


@pytest.fixture(scope="module")
def unusual() -> Model:
    names = ["image", "pooled", "highest", "both"]
    return export_one(unusual_settings, PICTURE, output_names=names)


def test_settings_reach_the_nodes(unusual: Model) -> None:
    nodes = our_nodes(unusual)
    assert nodes["RoiAlign"] == {
        "output_height": 3,
        "output_width": 4,
        "sampling_ratio": 0,
        "spatial_scale": 0.5,
        "coordinate_transformation_mode": b"output_half_pixel",
        **PLUGIN,
    }
    texts = {"mode": b"stretch", "layout": b"hwc", "align": b"top_left", "rounding": b"floor"}
    assert texts.items() <= nodes["Letterbox"].items()
    assert nodes["Letterbox"]["swap_channels"] == 1
    for name in ("mean", "std", "pad_value"):
        np.testing.assert_array_equal(nodes["Letterbox"][name], np.float32(SETTINGS[name]))
    assert [
        [onnx.helper.get_node_attr_value(node, name) for name in ("k_max", "k_min", "alpha")]
        for node in unusual.graph.node
        if node.op_type == "WeldonPool"
    ] == [[2, 0, 1.0], [1, 3, 1.0]]


def test_settings_reach_the_kernel_and_the_body(unusual: Model, library: Path | None) -> None:
    found = session_of(unusual, library).run(None, {"x": PICTURE.numpy()})
    for ours, torchs in zip(found, unusual_settings(PICTURE), strict=True):
        assert ours.dtype == torchs.numpy().dtype
        # float16 keeps 11 bits.
        tolerance = 1e-4 if ours.dtype == np.float32 else 2**-9
        np.testing.assert_allclose(ours, torchs.numpy(), rtol=0, atol=tolerance)


# ---- refusals ----

X = torch.linspace(-1, 1, 60).reshape(1, 3, 4, 5)


def pool(x: Tensor) -> Tensor:
    pooled: Tensor = ops.weldon_pool(x, 3, 2)
    return pooled


@pytest.mark.parametrize("opset", [17, 21])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(InputError, match=f"opset: found {opset}, expected 18 to 20"):
        export_one(pool, X, opset=opset)


def test_too_many_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"input_names: found 2, expected 1, .* inputs: x"):
        export_one(pool, X, input_names=["x", "boxes"])


def test_settings_that_a_kernel_refuses_are_refused() -> None:
    with pytest.raises(InputError, match=r"WeldonPool .*: k_max: found 0, expected at least 1"):
        export_one(lambda x: ops.weldon_pool(x, 0, 2), X)


def test_sizes_that_follow_from_an_input_are_refused() -> None:
    boxes, images = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([0])
    with pytest.raises(BackendError, match="output_size: found a size that follows from an input"):
        export_one(
            lambda x: ops.roi_align(x, boxes, images, [x.shape[2], 2], 1.0),
            X,
            dynamic_shapes=({2: torch.export.Dim.DYNAMIC},),
        )


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: torch.linalg.eigvalsh(x[0, 0, :, :4]), "No ONNX function found for .*eig"),
        (lambda x: ops.weldon_pool(x[0], 1, 1), r"x: found shape \[3, 4, 5\], expected rank 4"),
    ],
    ids=["no such operator", "not the op's input"],
)
def test_what_pytorch_can_not_export(function: Callable[..., Any], text: str) -> None:
    with pytest.raises(BackendError, match=f"PyTorch can't export the module: .*{text}") as caught:
        export_one(function, X)
    assert isinstance(caught.value.__cause__, torch.onnx.OnnxExporterError)


def test_nothing_is_said_of_packages_that_are_not_needed() -> None:
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger("torch.onnx")
    # PyTorch's own handler writes to the standard error; this one sees what gets there.
    for each in (logger, logging.getLogger("torch")):
        each.addHandler(handler)
    try:
        export_one(pool, X)
    finally:
        for each in (logger, logging.getLogger("torch")):
            each.removeHandler(handler)
    assert [record.getMessage() for record in told if "torchvision" in record.getMessage()] == []


def test_missing_onnxscript_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"onnxscript.*pip install 'vinfer\[train\]'"):
        export_one(pool, X)
