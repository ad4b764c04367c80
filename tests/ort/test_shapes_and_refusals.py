"""What is known when a model is loaded, and what is refused, then and when it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nodes
import numpy as np
import pytest
import runtimes
from nodes import Shape
from runtimes import Runtime, RuntimeFailed

from vinfer.ort_library import ort_library_path


@pytest.mark.parametrize(
    ("features", "boxes", "batch_indices", "expected"),
    [
        ([2, 8, 20, 30], [5, 4], [5], [5, 8, 7, 5]),
        (["N", "C", "H", "W"], ["R", 4], ["R"], ["R", "C", 7, 5]),
        ([1, 8, "H", "W"], [None, 4], ["K"], ["K", 8, 7, 5]),
        ([1, 8, "H", "W"], [None, 4], [3], [3, 8, 7, 5]),
        ([1, None, "H", "W"], [None, 4], [None], [str, str, 7, 5]),
        (None, ["R", 4], ["R"], ["R", str, 7, 5]),
        (["N", 8, "H", "W"], None, None, [str, 8, 7, 5]),
    ],
)
def test_output_shape_is_inferred(
    runtime: Runtime,
    library: Path,
    features: Shape,
    boxes: Shape,
    batch_indices: Shape,
    expected: list[Any],
) -> None:
    model = nodes.roi_align_model(
        "float32", features, boxes, batch_indices, output_height=7, output_width=5
    )
    _, outputs = runtime.load(model, library)
    found = outputs[0][2]
    # An unknown extent has a name, no two the same: never -1, which would be a literal extent.
    assert len(found) == len(expected)
    for extent, wanted in zip(found, expected, strict=True):
        assert isinstance(extent, str) if wanted is str else extent == wanted
    names = [extent for extent in found if isinstance(extent, str)]
    assert len(set(names)) == len(names)


def test_default_attributes_without_any_on_the_node(runtime: Runtime, library: Path) -> None:
    for model, shape in [
        (nodes.roi_align_model(), ["R", "C", 1, 1]),
        (nodes.positional_maps_model(), ["R", 2, 7, 7]),
        (nodes.weldon_pool_model(), ["N", "C"]),
        (nodes.letterbox_model(), [3, 640, 640]),
    ]:
        del model.graph.node[0].attribute[:]
        assert runtime.load(model, library)[1][0][2] == shape


def test_types_pass_through_nodes_without_a_declared_type(runtime: Runtime, library: Path) -> None:
    """Between two nodes nobody says what the type is: shape inference does."""
    for dtype, tensor_type in [("float32", "tensor(float)"), ("float16", "tensor(float16)")]:
        model = nodes.roi_align_model(dtype, output_height=4, output_width=4)
        pool = nodes.weldon_pool_model(dtype, k_max=2, k_min=2).graph.node[0]
        pool.input[0], pool.output[0] = "pooled", "Y"
        model.graph.node[0].output[0] = "pooled"
        model.graph.node.append(pool)
        session, outputs = runtime.load(model, library)
        assert outputs == [["Y", tensor_type, ["R", "C"]]]
        inputs = nodes.roi_inputs(dtype)
        assert runtime.run(session, inputs)[0].shape == (7, 5)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nodes.roi_align_model(output_height=0), r"output_size is \(0, 1\), expected 1 to 4096"),
        (nodes.roi_align_model(sampling_ratio=-1), "sampling_ratio is -1, expected 1 to 1024"),
        (nodes.roi_align_model(spatial_scale=0.0), "spatial_scale is 0, expected feature-map"),
        (nodes.roi_align_model(spatial_scale=1), "RoiAlign: attribute spatial_scale is of another"),
        (nodes.roi_align_model(output_width=2.0), "RoiAlign: attribute output_width is of another"),
        (
            nodes.roi_align_model(coordinate_transformation_mode="asymmetric"),
            "is 'asymmetric', expected half_pixel or output_half_pixel",
        ),
        (nodes.positional_maps_model(height=5000), r"size is \(5000, 7\), expected 1 to 4096"),
        (nodes.weldon_pool_model(k_max=0), "k_max is 0, expected at least 1"),
        (nodes.weldon_pool_model(k_min=-1), "k_min is -1, expected at least 1, or 0"),
        (nodes.weldon_pool_model(alpha=float("nan")), "alpha is nan, expected a finite weight"),
        (nodes.weldon_pool_model(k_max="many"), "WeldonPool: attribute k_max is of another type"),
        (nodes.letterbox_model(height=0), r"size is \(0, 640\), expected \(height, width\)"),
        (nodes.letterbox_model(mode="crop"), "mode is 'crop', expected pad or stretch"),
        (nodes.letterbox_model(layout=3), "Letterbox: attribute layout is of another type"),
        (nodes.letterbox_model(mean=[1.0]), "mean has 1 values, expected 3, one a channel"),
        (nodes.letterbox_model(mean=[1, 2, 3]), "Letterbox: attribute mean holds no floats"),
        (nodes.letterbox_model(std=[1.0, 0.0, 1.0]), r"std\[1\] is 0, expected a finite divisor"),
        (nodes.letterbox_model(swap_channels=2), "swap_channels is 2, expected 0 or 1"),
    ],
)
def test_bad_attributes_are_refused_when_the_model_is_loaded(
    runtime: Runtime, library: Path, model: Any, text: str
) -> None:
    with pytest.raises(RuntimeFailed, match=text):
        runtime.load(model, library)


def test_bad_input_is_an_error_and_the_session_goes_on(runtime: Runtime, library: Path) -> None:
    anything: Shape = None
    model = nodes.roi_align_model("float32", anything, anything, anything, output_height=2)
    session, _ = runtime.load(model, library, threads=2)
    good = nodes.roi_inputs()
    before = runtime.run(session, good)[0]
    for changes, text in [
        ({"batch_indices": good["batch_indices"] + 3}, r"batch_indices\[\d\] is \d, expected an"),
        ({"batch_indices": good["batch_indices"] - 3}, r"batch_indices\[\d\] is -\d, expected an"),
        ({"batch_indices": good["batch_indices"][:3]}, r"batch_indices has shape \[3\], expected"),
        ({"boxes": good["boxes"][:, :3]}, r"boxes has shape \[7, 3\], expected \[R, 4\]"),
        ({"boxes": good["boxes"][0]}, r"RoiAlign: boxes has shape \[4\], expected \[R, 4\]"),
        ({"X": good["X"][0]}, r"RoiAlign: X has shape \[5, 9, 11\], expected \[N, C, H, W\]"),
        ({"X": good["X"][:, :, :0]}, "expected at least one row and column"),
    ]:
        with pytest.raises(RuntimeFailed, match=text):
            runtime.run(session, {**good, **changes})
        assert runtime.run(session, good)[0].tobytes() == before.tobytes()


def test_bad_input_of_the_other_ops(runtime: Runtime, library: Path) -> None:
    boxes = np.zeros((2, 4), np.float32)
    for model, inputs, text in [
        (
            nodes.node_model(
                "PositionalMaps",
                {"boxes": ("float32", None), "reference": ("float32", None)},
                ("float32", None),
            ),
            {"boxes": boxes, "reference": boxes[:1]},
            r"reference has shape \[1, 4\], expected \[2, 4\]",
        ),
        (
            nodes.weldon_pool_model(),
            {"X": np.zeros((1, 1, 0, 3), np.float32)},
            "expected at least one row and column",
        ),
        (
            nodes.node_model("Letterbox", {"image": ("uint8", None)}, ("float32", None)),
            {"image": np.zeros((4, 4, 4), np.uint8)},
            r"image has shape \[4, 4, 4\], expected \[H, W, 3\]",
        ),
    ]:
        session, _ = runtime.load(model, library)
        with pytest.raises(RuntimeFailed, match=text):
            runtime.run(session, inputs)


@pytest.mark.parametrize(
    ("op", "inputs", "output"),
    [
        ("WeldonPool", {"X": "float64"}, "float64"),
        ("WeldonPool", {"X": "float16"}, "float32"),
        ("RoiAlign", {"X": "float16", "boxes": "float16", "batch_indices": "int64"}, "float16"),
        ("RoiAlign", {"X": "float32", "boxes": "float32", "batch_indices": "int32"}, "float32"),
        ("Letterbox", {"image": "float32"}, "float32"),
    ],
)
def test_other_types_are_refused(
    runtime: Runtime, library: Path, op: str, inputs: dict[str, str], output: str
) -> None:
    typed: dict[str, tuple[str, Shape]] = {name: (dtype, None) for name, dtype in inputs.items()}
    with pytest.raises(RuntimeFailed, match=r"Type Error|NOT_IMPLEMENTED|type"):
        runtime.load(nodes.node_model(op, typed, (output, None)), library)


def test_many_sessions_share_one_registration(runtime: Runtime, library: Path) -> None:
    case = nodes.CASES["weldon_pool"]
    for _ in range(5):
        session, _ = runtime.load(case.model, library)
        runtime.run(session, case.inputs)


def test_without_the_library_the_nodes_are_unknown(runtime: Runtime) -> None:
    with pytest.raises(RuntimeFailed, match="vinfer"):
        runtime.load(nodes.weldon_pool_model(), None)


def test_an_older_runtime_is_told_so(library: Path, tmp_path: Path) -> None:
    old = Runtime(runtimes.TOO_OLD, tmp_path)
    with pytest.raises(RuntimeFailed, match=r"need ONNX Runtime 1\.17 or newer; update it"):
        old.load(nodes.weldon_pool_model(), library)
    old.close()  # it lives


def test_library_exports_one_function_and_needs_no_python(library: Path) -> None:
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert [line.split()[-1] for line in exported] == ["RegisterCustomOps"]
    dynamic = subprocess.run(
        ["readelf", "-d", library], check=True, capture_output=True, text=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "NEEDED" in line]
    allowed = (
        "libstdc++",
        "libgcc_s",
        "libc.",
        "libm.",
        "libpthread",
        "ld-linux",
        "libdl",
        "librt",
    )
    assert all(name.startswith(allowed) for name in needed), needed


def test_path_is_absolute(library: Path) -> None:
    assert library == ort_library_path()
    assert library.is_absolute()
