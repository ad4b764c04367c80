"""Arrays of other libraries pass without a copy, both ways; `out` is written in place."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from vinfer import _native, ops
from vinfer.errors import (
    BackendError,
    DTypeError,
    InputError,
    ProviderUnavailableError,
    ShapeError,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

RNG = np.random.default_rng(70)
FEATURES = RNG.standard_normal((2, 5, 12, 20)).astype(np.float32)
BOXES = np.array([[3, 5, 90, 70], [0, 0, 200, 160], [30.5, 1, 31, 150]], np.float32)
IMAGES = np.array([0, 1, 1], np.int64)
PICTURE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def calls(convert: Any) -> dict[str, Any]:
    features, boxes, images = convert(FEATURES), convert(BOXES), convert(IMAGES)
    picture = convert(PICTURE)
    return {
        "roi_align": lambda **more: ops.roi_align(features, boxes, images, 3, 1 / 16, **more),
        "positional_maps": lambda **more: ops.positional_maps(boxes, boxes, 3, **more),
        "weldon_pool": lambda **more: ops.weldon_pool(features, 4, 4, **more),
        "letterbox": lambda **more: ops.letterbox(picture, 16, **more)[0],
    }


OPS = ["roi_align", "positional_maps", "weldon_pool", "letterbox"]


@pytest.mark.parametrize("op", OPS)
def test_torch_in_torch_out(op: str) -> None:
    result = calls(torch.from_numpy)[op]()
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), calls(np.asarray)[op]())


@pytest.mark.parametrize("op", OPS)
def test_jax_in_jax_out(op: str) -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    result = calls(jax.numpy.asarray)[op]()
    assert isinstance(result, jax.Array)
    np.testing.assert_array_equal(np.asarray(result), calls(np.asarray)[op]())


def test_nothing_is_copied_on_the_way_in_or_out() -> None:
    """A megabyte's worth of maps, held by torch: the result lies where `out` lies."""
    out = torch.empty((3, 5, 3, 3))
    address = out.data_ptr()
    result = ops.roi_align(
        torch.from_numpy(FEATURES),
        torch.from_numpy(BOXES),
        torch.from_numpy(IMAGES),
        3,
        1 / 16,
        out=out,
    )
    assert result is out
    assert out.data_ptr() == address
    np.testing.assert_array_equal(out.numpy(), ops.roi_align(FEATURES, BOXES, IMAGES, 3, 1 / 16))


@pytest.mark.parametrize("op", OPS)
def test_out_is_written_and_returned(op: str) -> None:
    call = calls(np.asarray)[op]
    expected = call()
    out = np.full_like(expected, np.nan)
    assert call(out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("op", OPS)
def test_out_can_be_a_part_of_a_batch(op: str) -> None:
    call = calls(np.asarray)[op]
    expected = call()
    batch = np.zeros((3, *expected.shape), np.float32)
    call(out=batch[1])
    np.testing.assert_array_equal(batch[1], expected)
    assert not batch[0].any()
    assert not batch[2].any()


@pytest.mark.parametrize("op", OPS)
def test_an_unfit_out_is_refused(op: str) -> None:
    call = calls(np.asarray)[op]
    shape = call().shape
    for out, error, text in (
        (np.zeros((*shape[:-1], shape[-1] + 1), np.float32), ShapeError, "out: found shape"),
        (np.zeros(shape, np.float64), DTypeError, "out: found dtype float64, expected float32"),
        (np.zeros((*shape, 2), np.float32)[..., 0], InputError, "out: found .* not contiguous"),
        ([0.0], DTypeError, "out: found list"),
    ):
        with pytest.raises(error, match=text):
            call(out=out)
    frozen = np.zeros(shape, np.float32)
    frozen.setflags(write=False)
    with pytest.raises(InputError, match="read-only"):
        call(out=frozen)


def test_other_memory_layouts_of_torch_are_taken() -> None:
    channels_last = torch.from_numpy(FEATURES).to(memory_format=torch.channels_last)
    result = ops.weldon_pool(channels_last, 3, 3)
    np.testing.assert_array_equal(result.numpy(), ops.weldon_pool(FEATURES, 3, 3))


def test_what_a_library_does_not_give_away() -> None:
    with pytest.raises(InputError, match="x: its library could not give it"):
        ops.weldon_pool(torch.from_numpy(FEATURES).requires_grad_(), 3, 3)
    with pytest.raises(DTypeError, match="x: "):
        ops.weldon_pool(torch.from_numpy(FEATURES).to(torch.bfloat16), 3, 3)


class OnADevice:
    """An array of a library for some other accelerator."""

    shape = (1, 1, 2, 2)

    def __init__(self, device: int) -> None:
        self._device = device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, *, stream: Any = None) -> Any:
        raise BufferError("no")


def test_other_devices_are_refused() -> None:
    with pytest.raises(InputError, match="x: found an array on DLPack device 10, expected the CPU"):
        ops.weldon_pool(OnADevice(10), 1, 1)
    with pytest.raises(InputError, match="x: its library could not give it"):
        ops.weldon_pool(OnADevice(2), 1, 1)


class DLManagedTensor(ctypes.Structure):
    """The unversioned struct of DLPack's C ABI, a DLTensor and its owner."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class OnAGpu:
    """An array that says it is on a GPU; its memory is nobody's."""

    def __init__(self, array: Any) -> None:
        self.shape = array.shape
        self._shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        code = {"i": 0, "u": 1, "f": 2}[array.dtype.kind]
        self._tensor = DLManagedTensor(
            data=0x1000,
            device_type=2,
            ndim=array.ndim,
            type_code=code,
            bits=8 * array.itemsize,
            lanes=1,
            shape=self._shape,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: Any = None) -> Any:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self._tensor), b"dltensor", None)


@pytest.mark.parametrize("op", OPS)
def test_arrays_on_a_gpu_need_the_cuda_kernels(op: str) -> None:
    if _native.num_cuda_devices():
        pytest.skip("there is a GPU, and these arrays are not on it")
    call = calls(OnAGpu)[op]
    if _native.cuda_was_built():
        with pytest.raises(BackendError, match=rf"^{op}: .*CUDA"):
            call()
    else:
        with pytest.raises(ProviderUnavailableError, match=rf"^{op}: .*no CUDA kernels; build it"):
            call()


def test_arrays_on_different_devices_are_refused() -> None:
    with pytest.raises(InputError, match="roi_align: found arrays on different devices"):
        ops.roi_align(FEATURES, OnAGpu(BOXES), IMAGES, 3, 1 / 16)
    with pytest.raises(InputError, match="positional_maps: found arrays on different devices"):
        ops.positional_maps(BOXES, OnAGpu(BOXES), 3)
    with pytest.raises(InputError, match="letterbox: found arrays on different devices"):
        ops.letterbox(ops.Nv12(PICTURE[..., 0], OnAGpu(PICTURE[::2, :, 0])), 16)


@pytest.mark.parametrize("stream", [-1, "0", 1.5])
def test_a_stream_is_an_address(stream: Any) -> None:
    with pytest.raises(InputError, match="stream: found"):
        ops.weldon_pool(FEATURES, 1, 1, stream=stream)
