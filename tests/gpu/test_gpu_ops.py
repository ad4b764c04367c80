"""The CUDA kernels against the CPU's, which other tests hold to float64 references.

Everything goes through `vinfer.ops` on CUDA tensors of PyTorch; CuPy, JAX and ONNX Runtime's CUDA
provider where they are installed.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vinfer import _native, ops
from vinfer.errors import InputError

torch = pytest.importorskip("torch", reason="the tests of the CUDA kernels use CUDA tensors")

pytestmark = pytest.mark.gpu

# float32: both sum in float32, in different orders. float16: the last of 11 bits of values that
# were rounded from such sums.
TOLERANCES = {
    "float32": {"rtol": 1e-5, "atol": 1e-5},
    "float16": {"rtol": 2e-3, "atol": 1e-3},
}
DTYPES = tuple(TOLERANCES)
SLEEP_CYCLES = 200_000_000  # a tenth of a second: far longer than it takes to enqueue a call


@pytest.fixture(autouse=True)
def _gpu() -> None:
    if not _native.cuda_was_built():
        pytest.skip("this build of vinfer has no CUDA kernels")
    if not _native.num_cuda_devices():
        pytest.skip("no CUDA device")
    if not torch.cuda.is_available():
        pytest.skip("this build of PyTorch has no CUDA, or it finds no device")


def on_gpu(array: npt.NDArray[Any]) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def assert_agree(found: Any, wanted: npt.NDArray[Any], dtype: str = "float32") -> None:
    assert found.is_cuda
    assert str(found.dtype) == f"torch.{dtype}"
    np.testing.assert_allclose(
        found.cpu().numpy().astype(np.float64), wanted.astype(np.float64), **TOLERANCES[dtype]
    )


def make_boxes(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """In a picture of 480x640, some of them beyond its border."""
    generator = np.random.default_rng(seed)
    low = generator.uniform(-40, 400, (count, 2))
    size = generator.uniform(0.5, 300, (count, 2))
    return np.concatenate([low, low + size], axis=1).astype(np.float32)


def roi_inputs(
    dtype: str, num_rois: int = 33, channels: int = 19
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    generator = np.random.default_rng(1)
    features = generator.standard_normal((2, channels, 30, 40), np.float32).astype(dtype)
    indices = np.arange(num_rois, dtype=np.int64) % 2
    return features, make_boxes(num_rois), indices


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(7, 7), (14, 14), (1, 5)])
def test_roi_align_agrees_with_cpu(
    dtype: str, aligned: bool, sampling_ratio: int, size: tuple[int, int]
) -> None:
    features, boxes, indices = roi_inputs(dtype)
    how = (size, 1 / 16, sampling_ratio, aligned)
    wanted = ops.roi_align(features, boxes, indices, *how)
    found = ops.roi_align(on_gpu(features), on_gpu(boxes), on_gpu(indices), *how)
    assert_agree(found, wanted, dtype)


@pytest.mark.parametrize("channels", [1, 3, 32, 64, 130])
def test_roi_align_of_other_widths_agrees_with_cpu(channels: int) -> None:
    features, boxes, indices = roi_inputs("float32", channels=channels)
    wanted = ops.roi_align(features, boxes, indices, 7, 1 / 16, 2)
    assert_agree(
        ops.roi_align(on_gpu(features), on_gpu(boxes), on_gpu(indices), 7, 1 / 16, 2), wanted
    )


@pytest.mark.filterwarnings("ignore:roi_align")
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_of_odd_boxes_agrees_with_cpu(sampling_ratio: int, aligned: bool) -> None:
    features, _, _ = roi_inputs("float32")
    values = [0.0, 16.0, -16.0, 40.5, 640.0, 1e9, -1e30, 3.4e38, math.inf, -math.inf, math.nan]
    boxes = np.array([[a, 8, b, 72] for a in values for b in values], np.float32)
    boxes = np.concatenate([boxes, boxes[:, [1, 0, 3, 2]]])
    indices = np.zeros(len(boxes), np.int64)
    how = (7, 1 / 16, sampling_ratio, aligned)
    wanted = ops.roi_align(features, boxes, indices, *how)
    assert_agree(ops.roi_align(on_gpu(features), on_gpu(boxes), on_gpu(indices), *how), wanted)


def test_no_rois_give_an_empty_result() -> None:
    features, boxes, indices = (on_gpu(array) for array in roi_inputs("float32"))
    pooled = ops.roi_align(features, boxes[:0], indices[:0], 7, 1 / 16)
    assert pooled.is_cuda
    assert tuple(pooled.shape) == (0, 19, 7, 7)
    assert tuple(ops.positional_maps(boxes[:0], boxes[:0], 7).shape) == (0, 2, 7, 7)
    assert tuple(ops.weldon_pool(features[:0], 3, 3).shape) == (0, 19)


@pytest.mark.parametrize("bad", [-1, 2, 2**40, -(2**63)])
def test_a_roi_of_no_picture_gives_zeros(bad: int) -> None:
    features, boxes, indices = roi_inputs("float32")
    changed = indices.copy()
    changed[5] = bad
    found = ops.roi_align(on_gpu(features), on_gpu(boxes), on_gpu(changed), 7, 1 / 16, 2)
    wanted = ops.roi_align(features, boxes, indices, 7, 1 / 16, 2)
    wanted[5] = 0
    assert_agree(found, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [7, 14, (3, 130)])
def test_positional_maps_agrees_with_cpu(dtype: Any, size: int | tuple[int, int]) -> None:
    boxes, other = make_boxes(50), make_boxes(50, seed=1)
    reference = np.concatenate(
        [np.minimum(boxes[:, :2], other[:, :2]), np.maximum(boxes[:, 2:], other[:, 2:])], axis=1
    )
    boxes[3, 0] = math.nan
    reference[4] = 7.0
    wanted = ops.positional_maps(boxes, reference, size, dtype=dtype)
    found = ops.positional_maps(on_gpu(boxes), on_gpu(reference), size, dtype=dtype)
    assert_agree(found, wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 7), (15, 27), (60, 107)])
@pytest.mark.parametrize(
    ("k_max", "k_min", "alpha"), [(1, 0, 1.0), (16, 16, 0.7), (500, 100, -1.0)]
)
def test_weldon_pool_agrees_with_cpu(
    dtype: str, height: int, width: int, k_max: int, k_min: int, alpha: float
) -> None:
    generator = np.random.default_rng(3)
    x = generator.standard_normal((3, 5, height, width), np.float32).astype(dtype)
    x[0, 0] = 1.5  # nothing but ties
    x[0, 1, :, ::2] = -0.0
    x[0, 1, :, 1::2] = 0.0
    x[1, 2, 0, 0] = math.nan
    x[1, 3, -1, -1] = math.inf
    wanted = ops.weldon_pool(x, k_max, k_min, alpha, return_indices=True)
    found = ops.weldon_pool(on_gpu(x), k_max, k_min, alpha, return_indices=True)
    assert_agree(found[0], wanted[0], dtype)
    for positions, expected in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(positions.cpu().numpy(), expected)


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["pad", "stretch"])
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("source", [(48, 85), (301, 17), (64, 64), (1, 1)])
def test_letterbox_agrees_with_cpu(
    dtype: Any, mode: Any, layout: Any, source: tuple[int, int]
) -> None:
    image = picture(*source)
    how: dict[str, Any] = {
        "size": (64, 96),
        "mode": mode,
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "layout": layout,
        "swap_channels": True,
        "dtype": dtype,
    }
    wanted, wanted_transform = ops.letterbox(image, **how)
    found, transform = ops.letterbox(on_gpu(image), **how)
    assert_agree(found, wanted, dtype)
    assert transform == wanted_transform


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("source", [(48, 86), (47, 85)])
def test_nv12_agrees_with_cpu(
    dtype: Any, matrix: Any, full_range: bool, source: tuple[int, int]
) -> None:
    height, width = source
    generator = np.random.default_rng(5)
    # Rows padded to a pitch, as decoders do.
    y = generator.integers(0, 256, (height, 128), np.uint8)
    uv = generator.integers(0, 256, (-(-height // 2), 128), np.uint8)
    how: dict[str, Any] = {"size": (64, 96), "std": (255.0,) * 3, "dtype": dtype}
    wanted, _ = ops.letterbox(ops.Nv12(y, uv, width, matrix, full_range), **how)
    found, _ = ops.letterbox(ops.Nv12(on_gpu(y), on_gpu(uv), width, matrix, full_range), **how)
    assert_agree(found, wanted, dtype)


def test_results_are_written_where_asked() -> None:
    features, boxes, indices = roi_inputs("float32")
    given = [on_gpu(array) for array in (features, boxes, indices)]
    out = torch.empty((33, 19, 7, 7), device="cuda")
    assert ops.roi_align(*given, 7, 1 / 16, 2, out=out) is out
    assert_agree(out, ops.roi_align(features, boxes, indices, 7, 1 / 16, 2))


def test_a_call_is_put_on_the_current_stream_and_does_not_wait() -> None:
    features, boxes, indices = roi_inputs("float32")
    wanted = ops.roi_align(features, boxes, indices, 7, 1 / 16, 2)
    ready = [on_gpu(array) for array in (features, boxes, indices)]
    ops.roi_align(*ready, 7, 1 / 16, 2)  # loads the kernels, which may wait
    late = torch.zeros_like(ready[0])
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(SLEEP_CYCLES)
        late.copy_(ready[0])
        pooled = ops.roi_align(late, ready[1], ready[2], 7, 1 / 16, 2)
        waited = stream.query()
    assert not waited, "the call returned only after the GPU had done what came before it"
    stream.synchronize()
    assert_agree(pooled, wanted)


def test_every_op_follows_the_current_stream() -> None:
    features, boxes, _ = roi_inputs("float32")
    image = picture(48, 85)
    wanted = (
        ops.weldon_pool(features, 16, 16),
        ops.positional_maps(boxes, boxes[::-1].copy(), 7),
        ops.letterbox(image, 64)[0],
    )
    given = [on_gpu(array) for array in (features, boxes, boxes[::-1], image)]
    late = [torch.zeros_like(array) for array in given]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(SLEEP_CYCLES)
        for target, source in zip(late, given, strict=True):
            target.copy_(source)
        found = (
            ops.weldon_pool(late[0], 16, 16),
            ops.positional_maps(late[1], late[2], 7),
            ops.letterbox(late[3], 64)[0],
        )
    stream.synchronize()
    for one, expected in zip(found, wanted, strict=True):
        assert_agree(one, expected)


def test_a_stream_can_be_named() -> None:
    features, boxes, indices = roi_inputs("float32")
    given = [on_gpu(array) for array in (features, boxes, indices)]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    pooled = ops.roi_align(*given, 7, 1 / 16, 2, stream=stream.cuda_stream)
    stream.synchronize()
    assert_agree(pooled, ops.roi_align(features, boxes, indices, 7, 1 / 16, 2))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_gradient_agrees_with_cpu(sampling_ratio: int) -> None:
    _, boxes, indices = roi_inputs("float32")
    gradient = np.random.default_rng(6).standard_normal((33, 19, 7, 7), np.float32)
    how = ((2, 19, 30, 40), 1 / 16, sampling_ratio)
    wanted = ops.roi_align_backward(gradient, boxes, indices, *how)
    found = ops.roi_align_backward(on_gpu(gradient), on_gpu(boxes), on_gpu(indices), *how)
    assert_agree(found, wanted)


def test_autograd_of_the_torch_op_agrees_with_cpu() -> None:
    # vinfer.training registers the operators; it is no dependency of the ops themselves.
    try:
        importlib.import_module("vinfer.training.ops")
    except ImportError as exc:
        pytest.skip(f"vinfer.training does not import here: {exc}")
    features, boxes, indices = roi_inputs("float32")
    gradients = []
    for device in ("cpu", "cuda"):
        leaf = torch.from_numpy(features).to(device).requires_grad_()
        rest = [torch.from_numpy(array).to(device) for array in (boxes, indices)]
        pooled = torch.ops.vinfer.roi_align(leaf, *rest, 7, 7, 1 / 16, 2, True)
        torch.ops.vinfer.weldon_pool(pooled, 4, 4, 1.0).sum().backward()
        gradients.append(leaf.grad.cpu().numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def free_bytes() -> int:
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


def test_big_roi_align_output_is_right_to_its_end() -> None:
    # 4.01e9 bytes: offsets beyond 2^31 and nearly 2^32 bytes, in elements just below 2^30.
    num_rois, channels = 5000, 1024
    if free_bytes() < 6e9:
        pytest.skip("too little GPU memory for a result of 4 GB")
    features = torch.randn((1, channels, 15, 20), device="cuda")
    boxes = on_gpu(make_boxes(num_rois))
    indices = torch.zeros(num_rois, dtype=torch.int64, device="cuda")
    pooled = ops.roi_align(features, boxes, indices, 14, 1 / 32, 2)
    for part in (slice(0, 3), slice(num_rois // 2, num_rois // 2 + 3), slice(-3, None)):
        few = ops.roi_align(features, boxes[part], indices[part], 14, 1 / 32, 2)
        torch.testing.assert_close(pooled[part], few, rtol=0, atol=0)


def test_big_weldon_pool_input_is_read_to_its_end() -> None:
    # 2.18e9 elements: more than 2^31.
    if free_bytes() < 7e9:
        pytest.skip("too little GPU memory for an input of 4.4 GB")
    x = torch.empty((2, 2**18, 64, 65), dtype=torch.float16, device="cuda").normal_()
    pooled = ops.weldon_pool(x, 16, 16)
    few = ops.weldon_pool(x[1:, -3:].contiguous(), 16, 16)
    torch.testing.assert_close(pooled[1:, -3:], few, rtol=0, atol=0)


def test_big_features_are_read_to_their_end() -> None:
    # 2.2e9 elements of float16: a picture's offset is beyond 2^31.
    if free_bytes() < 7e9:
        pytest.skip("too little GPU memory for features of 4.4 GB")
    features = torch.empty((9, 1024, 480, 500), dtype=torch.float16, device="cuda").normal_()
    boxes = on_gpu(make_boxes(4))
    last = torch.full((4,), 8, dtype=torch.int64, device="cuda")
    pooled = ops.roi_align(features, boxes, last, 7, 1.0, 2)
    alone = ops.roi_align(features[8:].contiguous(), boxes, torch.zeros_like(last), 7, 1.0, 2)
    torch.testing.assert_close(pooled, alone, rtol=0, atol=0)


def test_a_tensor_that_is_not_contiguous_is_refused() -> None:
    features, boxes, indices = roi_inputs("float32")
    turned = on_gpu(features.transpose(0, 1, 3, 2)).transpose(2, 3)
    with pytest.raises(InputError, match="not contiguous"):
        ops.roi_align(turned, on_gpu(boxes), on_gpu(indices), 7, 1 / 16, 2)


def test_arrays_of_both_devices_are_refused() -> None:
    features, boxes, indices = roi_inputs("float32")
    with pytest.raises(InputError, match="different devices"):
        ops.roi_align(on_gpu(features), boxes, on_gpu(indices), 7, 1 / 16)


def test_arrays_of_cupy_pass_both_ways() -> None:
    cupy = pytest.importorskip("cupy")
    features, boxes, indices = roi_inputs("float32")
    given = [cupy.asarray(array) for array in (features, boxes, indices)]
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.runtime.deviceSynchronize()
    with stream:
        pooled = ops.roi_align(*given, 7, 1 / 16, 2)
    stream.synchronize()
    assert isinstance(pooled, cupy.ndarray)
    wanted = ops.roi_align(features, boxes, indices, 7, 1 / 16, 2)
    np.testing.assert_allclose(cupy.asnumpy(pooled), wanted, **TOLERANCES["float32"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arrays_of_jax_pass_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = pytest.importorskip("jax")
    try:
        device = jax.devices("gpu")[0]
    except RuntimeError as exc:
        pytest.skip(f"JAX finds no GPU: {exc}")
    x = np.random.default_rng(7).standard_normal((2, 5, 15, 27), np.float32)
    pooled = ops.weldon_pool(jax.device_put(x, device), 16, 16)
    assert isinstance(pooled, jax.Array)
    np.testing.assert_allclose(
        np.asarray(pooled), ops.weldon_pool(x, 16, 16), **TOLERANCES["float32"]
    )


def test_onnxruntime_runs_our_node_on_the_gpu() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    import vinfer

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider: it is the CPU package")
    helper = onnx.helper
    attributes = {
        "output_height": 7,
        "output_width": 7,
        "sampling_ratio": 2,
        "spatial_scale": 1 / 16,
        "coordinate_transformation_mode": "half_pixel",
    }
    names = ["X", "rois", "batch_indices"]
    node = helper.make_node("RoiAlign", names, ["Y"], domain="vinfer", **attributes)
    float_type, int_type = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    inputs = [
        helper.make_tensor_value_info("X", float_type, ["N", "C", "H", "W"]),
        helper.make_tensor_value_info("rois", float_type, ["R", 4]),
        helper.make_tensor_value_info("batch_indices", int_type, ["R"]),
    ]
    output = helper.make_tensor_value_info("Y", float_type, None)
    graph = helper.make_graph([node], "roi_align", inputs, [output])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("vinfer", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(vinfer.ort_library_path()))
    # Without CPU fallback: a node without a CUDA kernel is an error, not a slow success.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CUDAExecutionProvider"]
    )
    if session.get_providers()[0] != "CUDAExecutionProvider":
        pytest.skip("onnxruntime could not load its CUDA provider on this machine")
    features, boxes, indices = roi_inputs("float32")
    feed = dict(zip(names, (features, boxes, indices), strict=True))
    (found,) = session.run(None, feed)
    wanted = ops.roi_align(features, boxes, indices, 7, 1 / 16, 2)
    np.testing.assert_allclose(found, wanted, **TOLERANCES["float32"])
