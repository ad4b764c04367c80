"""The ops in PyTorch: against `vinfer.ops`, their gradients, autocast, compiling and refusals."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import references

from vinfer import _native, ops
from vinfer.errors import DTypeError, InputError, ShapeError

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)

import torch
from torch import Tensor

import vinfer.training.torch_ops  # noqa: F401 (registers the ops)

vinfer_ops = torch.ops.vinfer

Call = Callable[..., Tensor]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        if not _native.cuda_was_built():
            pytest.skip("this build of vinfer has no CUDA kernels")
        if not _native.num_cuda_devices() or not torch.cuda.is_available():
            pytest.skip("vinfer or PyTorch finds no CUDA device")
    return str(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors are small, and PyTorch's threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def distinct(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values far enough apart that no small step changes which are the highest."""
    count = int(np.prod(shape))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    return (order.double() * 0.01 - 0.4).reshape(shape).to(dtype)


def random_boxes(count: int, extent: float = 44.0, seed: int = 2) -> Tensor:
    """Inside a picture of 36x44 and over its edges."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * extent - 4
    return torch.cat([low, low + 1 + torch.rand(count, 2, generator=generator) * extent], 1)


FEATURES = random(2, 3, 9, 11)
BOXES = random_boxes(5)
IMAGES = torch.tensor([0, 1, 1, 0, 1])
PICTURE = torch.randint(
    0, 256, (20, 30, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
)
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


# ---- registration ----


ROI_ALIGN_CHECKS = {
    "fixed grid": (FEATURES, BOXES, IMAGES, [3, 2], 0.25, 2, True),
    "adaptive, not aligned": (FEATURES, BOXES, IMAGES, [3, 2], 0.25, 0, False),
    "default settings": (FEATURES, BOXES, IMAGES, [2, 2], 0.25),
    "float16": (FEATURES.half(), BOXES, IMAGES, [3, 2], 0.25, 2),
    "no boxes": (FEATURES, BOXES[:0], IMAGES[:0], [3, 2], 0.25),
    "strided": (
        FEATURES.to(memory_format=torch.channels_last),
        random_boxes(10)[::2],
        IMAGES.repeat(2)[::2],
        [3, 2],
        0.25,
    ),
}


@pytest.mark.parametrize("name", ROI_ALIGN_CHECKS)
@pytest.mark.parametrize("gradient", [True, False])
def test_opcheck_of_roi_align(name: str, gradient: bool, device: str) -> None:
    features, boxes, images, *options = ROI_ALIGN_CHECKS[name]
    # What is strided stays so: `clone` keeps the layout.
    features = features.to(device).clone().requires_grad_(gradient)
    arguments = (features, boxes.to(device), images.to(device), *options)
    torch.library.opcheck(vinfer_ops.roi_align.default, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("options", [(3, 2), (1, 0, 0.7), (100, 100, -1.0)])
def test_opcheck_of_weldon_pool(options: tuple[Any, ...], dtype: torch.dtype, device: str) -> None:
    x = distinct(2, 3, 4, 5, dtype=dtype).to(device).requires_grad_()
    torch.library.opcheck(vinfer_ops.weldon_pool.default, (x, *options))


@pytest.mark.parametrize("count", [5, 0])
@pytest.mark.parametrize("gradient", [True, False])
def test_opcheck_of_positional_maps(count: int, gradient: bool, device: str) -> None:
    boxes = BOXES[:count].to(device).clone().requires_grad_(gradient)
    reference = (BOXES[:count] + torch.tensor([-3.0, -2.0, 5.0, 9.0])).to(device)
    torch.library.opcheck(vinfer_ops.positional_maps.default, (boxes, reference, [3, 2]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "stretch", "layout": "hwc", **IMAGENET},
        {"align": "top_left", "rounding": "floor", "swap_channels": True, "pad_value": 0.0},
    ],
)
def test_opcheck_of_letterbox(options: dict[str, Any], device: str) -> None:
    torch.library.opcheck(vinfer_ops.letterbox.default, (PICTURE.to(device), [16, 24]), options)


def test_opcheck_of_the_gradients_themselves(device: str) -> None:
    grad_pooled = random(5, 3, 3, 2).to(device)
    torch.library.opcheck(
        vinfer_ops.roi_align_backward.default,
        (grad_pooled, BOXES.to(device), IMAGES.to(device), [2, 3, 9, 11], 0.25, 2, True),
    )
    torch.library.opcheck(
        vinfer_ops.weldon_pool_backward.default,
        (random(2, 3).to(device), distinct(2, 3, 4, 5).float().to(device), 3, 2, 0.7),
    )


def test_shapes_are_known_without_data() -> None:
    features, boxes, images, picture = (
        tensor.to("meta") for tensor in (FEATURES, BOXES, IMAGES, PICTURE)
    )
    assert vinfer_ops.roi_align(features.half(), boxes, images, [7, 5], 0.25).shape == (5, 3, 7, 5)
    assert vinfer_ops.roi_align(features.half(), boxes, images, [7, 5], 0.25).dtype == torch.half
    assert vinfer_ops.positional_maps(boxes, boxes, [7, 5]).shape == (5, 2, 7, 5)
    assert vinfer_ops.weldon_pool(features, 3, 2).shape == (2, 3)
    assert vinfer_ops.letterbox(picture, [7, 5]).shape == (3, 7, 5)
    assert vinfer_ops.letterbox(picture, [7, 5], layout="hwc").shape == (7, 5, 3)
    assert vinfer_ops.letterbox(picture, [7, 5]).dtype == torch.float32


# ---- values ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_is_that_of_vinfer_ops(
    dtype: torch.dtype, aligned: bool, sampling_ratio: int
) -> None:
    features = FEATURES.to(dtype)
    found = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25, sampling_ratio, aligned)
    assert found.dtype == dtype
    arrays = (features.numpy(), BOXES.numpy(), IMAGES.numpy())
    expected = ops.roi_align(*arrays, (3, 2), 0.25, sampling_ratio, aligned)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    exact = references.roi_align(*arrays, (3, 2), 0.25, sampling_ratio, aligned)
    tolerance = 2e-3 if dtype == torch.float16 else 1e-5
    np.testing.assert_allclose(found.numpy(), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("options", [(3, 2), (1, 0, 0.7), (100, 100, -1.0)])
def test_weldon_pool_is_that_of_vinfer_ops(dtype: torch.dtype, options: tuple[Any, ...]) -> None:
    x = random(2, 3, 4, 5, dtype=dtype)
    found = vinfer_ops.weldon_pool(x, *options)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), ops.weldon_pool(x.numpy(), *options), strict=True)
    exact = [references.weldon_pool(m.tolist(), *options)[0] for m in x.flatten(2).flatten(0, 1)]
    tolerance = 2e-3 if dtype == torch.float16 else 1e-6
    np.testing.assert_allclose(found.flatten().numpy(), exact, rtol=0, atol=tolerance)


def test_positional_maps_are_those_of_vinfer_ops() -> None:
    reference = BOXES + torch.tensor([-3.0, -2.0, 5.0, 9.0])
    found = vinfer_ops.positional_maps(BOXES, reference, [3, 4]).numpy()
    expected = ops.positional_maps(BOXES.numpy(), reference.numpy(), (3, 4))
    np.testing.assert_array_equal(found, expected, strict=True)
    exact = references.positional_maps(BOXES.numpy(), reference.numpy(), (3, 4))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "stretch", "layout": "hwc", **IMAGENET},
        {"align": "top_left", "rounding": "floor", "swap_channels": True, "pad_value": 7.0},
    ],
)
def test_letterbox_is_that_of_vinfer_ops(options: dict[str, Any]) -> None:
    # 20 rows become 14.67, so that `rounding` shows.
    found = vinfer_ops.letterbox(PICTURE, [17, 22], **options)
    expected, _ = ops.letterbox(PICTURE.numpy(), (17, 22), **options)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)


def test_letterbox_takes_its_settings_by_position() -> None:
    settings = ("stretch", [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 9.0, "hwc")
    found = vinfer_ops.letterbox(PICTURE, [4, 5], *settings)
    expected, _ = ops.letterbox(PICTURE.numpy(), (4, 5), *settings)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)


def test_memory_layout_does_not_matter() -> None:
    features, x = random(2, 6, 9, 11), random(2, 3, 8, 5)
    expected = vinfer_ops.roi_align(features[:, ::2].clone(), BOXES, IMAGES, [3, 2], 0.25)
    layouts: list[Callable[[Tensor], Tensor]] = [
        lambda t: t[:, ::2],
        lambda t: t[:, ::2].to(memory_format=torch.channels_last),
        lambda t: t[:, ::2].transpose(2, 3).contiguous().transpose(2, 3),
    ]
    boxes, images = BOXES.repeat_interleave(2, 0)[::2], IMAGES.repeat_interleave(2)[::2]
    assert not boxes.is_contiguous()
    for layout in layouts:
        given = layout(features)
        assert not given.is_contiguous()
        found = vinfer_ops.roi_align(given, boxes, images, [3, 2], 0.25)
        assert found.is_contiguous()
        assert torch.equal(found, expected)

    pooled = vinfer_ops.weldon_pool(x.to(memory_format=torch.channels_last), 3, 2)
    assert torch.equal(pooled, vinfer_ops.weldon_pool(x, 3, 2))
    once = vinfer_ops.weldon_pool(x[:1], 3, 2)
    assert torch.equal(vinfer_ops.weldon_pool(x[:1].expand(4, 3, 8, 5), 3, 2), once.expand(4, 3))
    maps = vinfer_ops.positional_maps(boxes, BOXES, [3, 2])
    assert torch.equal(maps, vinfer_ops.positional_maps(BOXES, BOXES, [3, 2]))
    crop = PICTURE[2:18, 3:27]
    assert torch.equal(
        vinfer_ops.letterbox(crop, [7, 9]), vinfer_ops.letterbox(crop.clone(), [7, 9])
    )


def test_arguments_are_not_changed() -> None:
    given = [FEATURES, BOXES, IMAGES, PICTURE]
    before = [tensor.clone() for tensor in given]
    features = FEATURES.clone().requires_grad_()
    vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25).sum().backward()
    vinfer_ops.weldon_pool(features, 3, 2).sum().backward()
    vinfer_ops.positional_maps(BOXES, BOXES, [3, 2])
    vinfer_ops.letterbox(PICTURE, [3, 2])
    assert torch.equal(features, FEATURES)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


# ---- gradients ----


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_gradcheck_of_roi_align(sampling_ratio: int, aligned: bool) -> None:
    features = random(2, 2, 5, 6, dtype=torch.float64).requires_grad_()
    boxes = random_boxes(4, extent=20.0)
    options = ([3, 2], 0.25, sampling_ratio, aligned)

    def call(features: Tensor) -> Tensor:
        pooled: Tensor = vinfer_ops.roi_align(features, boxes, IMAGES[:4], *options)
        return pooled

    assert torch.autograd.gradcheck(call, (features,))


@pytest.mark.parametrize(
    "options", [(3, 2, 0.7), (1, 0, 1.0), (4, 3, 0.0), (100, 100, -1.0), (20, 1, 2.0)]
)
def test_gradcheck_of_weldon_pool(options: tuple[int, int, float]) -> None:
    x = distinct(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: vinfer_ops.weldon_pool(x, *options), (x,))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_float64_gradients_are_the_transpose_to_float64(sampling_ratio: int, aligned: bool) -> None:
    """<roi_align(a), b> is <a, gradient(b)>: closer than float32 gets, and gradcheck looks."""
    features = FEATURES.double().requires_grad_()
    options = ([3, 2], 0.25, sampling_ratio, aligned)
    pooled = vinfer_ops.roi_align(features, BOXES, IMAGES, *options)
    grad_pooled = random(*pooled.shape, dtype=torch.float64, seed=5)
    (gradient,) = torch.autograd.grad(pooled, features, grad_pooled)
    assert gradient.dtype == torch.float64
    torch.testing.assert_close(
        (gradient * features).sum(), (grad_pooled * pooled).sum(), rtol=1e-12, atol=1e-12
    )


def test_known_gradients_of_roi_align() -> None:
    """The one sample of a box over the whole map lies between its four middle pixels, or on one."""
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    for aligned, rows in ((True, slice(1, 3)), (False, slice(2, 3))):
        features = torch.zeros(1, 1, 4, 4, requires_grad=True)
        pooled = vinfer_ops.roi_align(features, box, torch.tensor([0]), [1, 1], 1.0, 1, aligned)
        (8 * pooled.sum()).backward()
        expected = torch.zeros(1, 1, 4, 4)
        expected[..., rows, rows] = 2.0 if aligned else 8.0
        assert torch.equal(features.grad, expected)


def test_known_gradients_of_weldon_pool() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3).requires_grad_()
    vinfer_ops.weldon_pool(x, 2, 1, 0.25).sum().backward()
    assert x.grad.flatten().tolist() == [0.25, 0, 0, 0, 0, 0, 0, 0.5, 0.5]
    # More than the map has: the mean of all of it, twice.
    x.grad = None
    vinfer_ops.weldon_pool(x, 100, 100, 0.5).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1.5 / 9))


def test_of_equal_values_the_first_get_the_gradient() -> None:
    x = torch.zeros(1, 1, 2, 3, requires_grad=True)
    vinfer_ops.weldon_pool(x, 2, 1, 0.5).sum().backward()
    assert x.grad.flatten().tolist() == [1.0, 0.5, 0, 0, 0, 0]


def test_a_map_with_nan_has_no_gradient_and_spares_its_neighbours() -> None:
    x = distinct(1, 3, 3, 4, dtype=torch.float32)
    clean = x.clone().requires_grad_()
    vinfer_ops.weldon_pool(clean, 3, 2, 0.7).sum().backward()
    x[0, 1, 2, 2] = float("nan")
    x.requires_grad_()
    pooled = vinfer_ops.weldon_pool(x, 3, 2, 0.7)
    assert pooled.isnan().tolist() == [[False, True, False]]
    pooled.sum().backward()
    assert torch.equal(x.grad[:, 1], torch.zeros(1, 3, 4))
    assert torch.equal(x.grad[:, ::2], clean.grad[:, ::2])


def test_a_box_of_nan_gives_its_gradient_to_nobody() -> None:
    boxes = BOXES.clone()
    boxes[2, 1] = float("nan")
    features = FEATURES.clone().requires_grad_()
    pooled = vinfer_ops.roi_align(features, boxes, IMAGES, [3, 2], 0.25, 2)
    assert torch.equal(pooled[2], torch.zeros(3, 3, 2))
    pooled[2].sum().backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_no_boxes_give_an_empty_result_and_a_gradient_of_zeros(
    sampling_ratio: int, device: str
) -> None:
    # Memory that was used: a gradient that nobody writes would show.
    torch.full((2, 3, 9, 11), float("nan"), device=device)
    features = FEATURES.to(device, copy=True).requires_grad_()
    boxes, images = BOXES[:0].to(device), IMAGES[:0].to(device)
    pooled = vinfer_ops.roi_align(features, boxes, images, [3, 2], 0.25, sampling_ratio)
    assert pooled.shape == (0, 3, 3, 2)
    pooled.sum().backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5)])
def test_nothing_has_an_empty_gradient(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    pooled = vinfer_ops.weldon_pool(x, 3, 2)
    assert pooled.shape == shape[:2]
    pooled.sum().backward()
    assert x.grad.shape == shape
    features = torch.zeros(shape, requires_grad=True)
    count = min(shape[0], 1)
    pooled = vinfer_ops.roi_align(features, BOXES[:count], IMAGES[:count], [3, 2], 0.25)
    assert pooled.shape == (count, shape[1], 3, 2)
    pooled.sum().backward()
    assert features.grad.shape == shape


def test_gradients_reach_through_views_and_layouts() -> None:
    base = random(2, 6, 9, 11).requires_grad_()
    last = random(2, 3, 9, 11).to(memory_format=torch.channels_last).requires_grad_()
    plain = base.detach()[:, ::2].clone().requires_grad_()
    plain_last = last.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    # What a mean gives as gradient has strides of 0.
    for strided, contiguous in ((base[:, ::2], plain), (last, plain_last)):
        for features in (strided, contiguous):
            pooled = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25)
            (pooled.mean() + vinfer_ops.weldon_pool(features, 3, 2).mean()).backward()
    assert torch.equal(base.grad[:, ::2], plain.grad)
    assert torch.equal(base.grad[:, 1::2], torch.zeros(2, 3, 9, 11))
    assert torch.equal(last.grad, plain_last.grad)


def test_only_features_have_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = BOXES.clone().requires_grad_()
    features = FEATURES.clone().requires_grad_()
    vinfer_ops.roi_align(features, boxes, IMAGES, [3, 2], 0.25).sum().backward()
    assert features.grad is not None
    assert boxes.grad is None

    # Where nobody asks for the gradient of the features, none is computed.
    monkeypatch.setattr(ops, "roi_align_backward", None)
    vinfer_ops.roi_align(FEATURES, boxes, IMAGES, [3, 2], 0.25).sum().backward()
    assert boxes.grad is None


def test_what_requires_a_gradient() -> None:
    features = FEATURES.clone().requires_grad_()
    boxes = BOXES.clone().requires_grad_()
    assert vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25).requires_grad
    assert not vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [3, 2], 0.25).requires_grad
    assert vinfer_ops.weldon_pool(features, 3, 2).requires_grad
    assert not vinfer_ops.weldon_pool(FEATURES, 3, 2).requires_grad
    assert not vinfer_ops.positional_maps(boxes, boxes, [3, 2]).requires_grad
    assert not vinfer_ops.letterbox(PICTURE, [3, 2]).requires_grad
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            pooled = vinfer_ops.roi_align(features, boxes, IMAGES, [3, 2], 0.25)
            assert not pooled.requires_grad
            assert not vinfer_ops.weldon_pool(pooled, 3, 2).requires_grad


def test_a_gradient_of_a_gradient_is_refused() -> None:
    features = FEATURES.clone().requires_grad_()
    for pooled in (
        vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25),
        vinfer_ops.weldon_pool(features, 3, 2),
    ):
        (gradient,) = torch.autograd.grad(pooled.square().sum(), features, create_graph=True)
        with pytest.raises(RuntimeError, match="no autograd formula was registered"):
            gradient.sum().backward()


def test_gradients_agree_across_devices(device: str) -> None:
    gradients = []
    for where in ("cpu", device):
        features = FEATURES.to(where, copy=True).requires_grad_()
        pooled = vinfer_ops.roi_align(features, BOXES.to(where), IMAGES.to(where), [3, 2], 0.25)
        (pooled.square().sum() + vinfer_ops.weldon_pool(features, 3, 2).sum()).backward()
        gradients.append(features.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_a_network_learns_through_the_ops() -> None:
    """Which of two boxes holds the bright square, from the whole chain, in 40 steps."""
    pictures = torch.zeros(8, 1, 16, 16)
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [8.0, 8.0, 16.0, 16.0]]).repeat(8, 1)
    images = torch.arange(8).repeat_interleave(2)
    bright = torch.arange(8) % 2
    for picture, which in zip(pictures, bright.tolist(), strict=True):
        picture[0, 8 * which + 2 : 8 * which + 6, 8 * which + 2 : 8 * which + 6] = 1.0
    truth = torch.nn.functional.one_hot(bright, 2).flatten().float()
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.2)
    losses = []
    for _ in range(40):
        pooled = vinfer_ops.roi_align(network(pictures), boxes, images, [4, 4], 1.0, 2)
        logits = vinfer_ops.weldon_pool(pooled, 3, 3).flatten()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.01


# ---- float16 and autocast ----


def test_float16_gradients_are_summed_in_float32() -> None:
    """4096 boxes on one pixel: a sum in float16 would stop at 2048."""
    features = torch.zeros(1, 1, 1, 1, dtype=torch.float16, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(4096, 1)
    images = torch.zeros(4096, dtype=torch.int64)
    vinfer_ops.roi_align(features, boxes, images, [1, 1], 1.0, 1).sum().backward()
    assert features.grad.dtype == torch.float16
    assert features.grad.item() == 4096.0


def test_float16_gradients_are_those_of_float32_rounded() -> None:
    half, single = FEATURES.half().requires_grad_(), FEATURES.half().float().requires_grad_()
    for features in (half, single):
        vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25).sum().backward()
        vinfer_ops.weldon_pool(features, 4, 2, 0.5).sum().backward()
    assert half.grad.dtype == torch.float16
    torch.testing.assert_close(half.grad.float(), single.grad, rtol=2**-9, atol=2**-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(dtype: torch.dtype) -> None:
    features = FEATURES.to(dtype).requires_grad_()
    boxes = BOXES.to(torch.bfloat16)  # as a head that runs under autocast gives them
    with torch.autocast("cpu", dtype):
        pooled = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25)
        rounded = vinfer_ops.roi_align(features, boxes, IMAGES, [3, 2], 0.25)
        weldon = vinfer_ops.weldon_pool(features, 3, 2)
        maps = vinfer_ops.positional_maps(boxes, BOXES, [3, 2])
    single = features.detach().float()
    # Boxes in float32 keep their precision.
    assert torch.equal(pooled, vinfer_ops.roi_align(single, BOXES, IMAGES, [3, 2], 0.25))
    assert torch.equal(rounded, vinfer_ops.roi_align(single, boxes.float(), IMAGES, [3, 2], 0.25))
    assert torch.equal(weldon, vinfer_ops.weldon_pool(single, 3, 2))
    assert torch.equal(maps, vinfer_ops.positional_maps(boxes.float(), BOXES, [3, 2]))
    assert {t.dtype for t in (pooled, rounded, weldon, maps)} == {torch.float32}
    (pooled.sum() + weldon.sum()).backward()
    assert features.grad.dtype == dtype
    assert features.grad.abs().sum() > 0


def test_autocast_leaves_float64() -> None:
    features = FEATURES.double()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25)
        weldon = vinfer_ops.weldon_pool(features, 3, 2)
    assert pooled.dtype == weldon.dtype == torch.float64


def test_a_network_under_autocast() -> None:
    torch.manual_seed(0)
    stem = torch.nn.Conv2d(3, 4, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        features = stem(FEATURES)
        assert features.dtype == torch.bfloat16
        loss = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25).square().mean()
    loss.backward()
    found = stem.weight.grad.clone()
    stem.zero_grad()
    vinfer_ops.roi_align(stem(FEATURES), BOXES, IMAGES, [3, 2], 0.25).square().mean().backward()
    difference = (found - stem.weight.grad).norm() / stem.weight.grad.norm()
    assert difference < 0.02  # bfloat16 has 8 bits


# ---- compiling ----


def every_op(picture: Tensor, features: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
    height, width = features.shape[2:]
    shifted = features + vinfer_ops.letterbox(picture, [height, width], **IMAGENET).mean()
    pooled = vinfer_ops.roi_align(shifted, boxes, images, [3, 2], 0.25, 2)
    reference = boxes + torch.tensor([-3.0, -2.0, 5.0, 9.0])
    maps = vinfer_ops.positional_maps(boxes, reference, [3, 2])
    pooled_maps: Tensor = vinfer_ops.weldon_pool(torch.cat([pooled, maps], 1), 3, 2, 0.7)
    return pooled_maps.relu()


def test_compiled_without_a_break_is_the_same() -> None:
    compiled = torch.compile(every_op, backend="aot_eager", fullgraph=True, dynamic=True)
    for shape, count in (((2, 3, 9, 11), 5), ((2, 3, 12, 8), 7), ((2, 3, 9, 11), 0)):
        images = torch.arange(count) % 2
        results = []
        for call in (every_op, compiled):
            features = random(*shape, seed=count).requires_grad_()
            pooled = call(PICTURE, features, random_boxes(count), images)
            pooled.square().sum().backward()
            results.append((pooled.detach(), features.grad))
        assert results[0][0].shape == (count, 5)
        torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-6)


def test_compiled_under_autocast_is_the_same() -> None:
    def call(features: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            pooled: Tensor = vinfer_ops.roi_align(features, BOXES, IMAGES, [3, 2], 0.25)
            return pooled

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    features = FEATURES.bfloat16()
    assert torch.equal(compiled(features), call(features))


# ---- refusals ----


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: vinfer_ops.roi_align(FEATURES[0], BOXES, IMAGES, [3, 2], 0.25),
            ShapeError,
            r"features: found shape \[3, 9, 11\], expected rank 4",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES[0], IMAGES, [3, 2], 0.25),
            ShapeError,
            r"boxes: found shape \[4\], expected rank 2",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES[None], [3, 2], 0.25),
            ShapeError,
            r"batch_indices: found shape \[1, 5\]",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES[:3], [3, 2], 0.25),
            ShapeError,
            r"batch_indices has shape \[3\], expected \[5\], one a box",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES.int(), [3, 2], 0.25),
            DTypeError,
            r"batch_indices: found dtype torch.int32, expected torch.int64; convert with "
            r"batch_indices.to\(torch.int64\)",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES.float(), [3, 2], 0.25),
            DTypeError,
            "batch_indices: found dtype torch.float32, expected torch.int64",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES + 7, [3, 2], 0.25),
            InputError,
            r"batch_indices\[0\] is 7, expected an image of the batch, 0 to 1",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES.bfloat16(), BOXES, IMAGES, [3, 2], 0.25),
            DTypeError,
            "features: found dtype torch.bfloat16, expected torch.float32 or torch.float16",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES.double(), IMAGES, [3, 2], 0.25),
            DTypeError,
            "boxes: found dtype torch.float64, expected torch.float32; convert with boxes.to",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [3, -1], 0.25),
            InputError,
            r"output_size: found \[3, -1\], expected \[height, width\] of at least 1 each",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [3], 0.25),
            InputError,
            r"output_size: found \[3\]",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [5000, 1], 0.25),
            InputError,
            r"output_size is \(5000, 1\), expected 1 to 4096",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [3, 2], 0.0),
            InputError,
            "spatial_scale is 0, expected",
        ),
        (
            lambda: vinfer_ops.roi_align(FEATURES, BOXES, IMAGES, [3, 2], 0.25, -1),
            InputError,
            "sampling_ratio is -1",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES[0], BOXES, [3, 2]),
            ShapeError,
            r"boxes: found shape \[4\], expected rank 2",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES, BOXES[0], [3, 2]),
            ShapeError,
            r"reference: found shape \[4\], expected rank 2",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES[:, :3], BOXES, [3, 2]),
            ShapeError,
            r"boxes has shape \[5, 3\], expected \[R, 4\]",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES, BOXES[:2], [3, 2]),
            ShapeError,
            r"reference has shape \[2, 4\], expected \[5, 4\]",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES, BOXES.half(), [3, 2]),
            DTypeError,
            "reference: found dtype torch.float16, expected torch.float32",
        ),
        (
            lambda: vinfer_ops.positional_maps(BOXES, BOXES, [0, 2]),
            InputError,
            r"size: found \[0, 2\], expected \[height, width\] of at least 1 each",
        ),
        (
            lambda: vinfer_ops.weldon_pool(FEATURES[0], 3, 2),
            ShapeError,
            r"x: found shape \[3, 9, 11\], expected rank 4",
        ),
        (
            lambda: vinfer_ops.weldon_pool(FEATURES[:, :, :0], 3, 2),
            ShapeError,
            r"x has shape \[2, 3, 0, 11\]",
        ),
        (
            lambda: vinfer_ops.weldon_pool(FEATURES.long(), 3, 2),
            DTypeError,
            "x: found dtype torch.int64, expected torch.float32 or torch.float16",
        ),
        (lambda: vinfer_ops.weldon_pool(FEATURES, 0, 2), InputError, "k_max is 0, expected at"),
        (lambda: vinfer_ops.weldon_pool(FEATURES, 1, -1), InputError, "k_min is -1, expected at"),
        (
            lambda: vinfer_ops.letterbox(PICTURE.float(), [3, 2]),
            DTypeError,
            "image: found dtype torch.float32, expected torch.uint8",
        ),
        (
            lambda: vinfer_ops.letterbox(PICTURE[0], [3, 2]),
            ShapeError,
            r"image: found shape \[30, 3\], expected \[H, W, 3\]",
        ),
        (
            lambda: vinfer_ops.letterbox(PICTURE.permute(2, 0, 1), [3, 2]),
            ShapeError,
            r"image has shape \[3, 20, 30\], expected \[H, W, 3\]",
        ),
        (
            lambda: vinfer_ops.letterbox(PICTURE, [3, 2], "crop"),
            InputError,
            'mode: found \'crop\', expected "pad" or "stretch"',
        ),
        (
            lambda: vinfer_ops.letterbox(PICTURE, [3, 2], layout="nchw"),
            InputError,
            'layout: found \'nchw\', expected "chw" or "hwc"',
        ),
        (
            lambda: vinfer_ops.letterbox(PICTURE, [3, 0]),
            InputError,
            r"size: found \[3, 0\], expected \[height, width\]",
        ),
    ],
)
def test_refusals(call: Call, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_box_far_outside_is_reported() -> None:
    box = torch.tensor([[0.0, 0.0, 1e9, 1e9]])
    with pytest.warns(RuntimeWarning, match="1 of 1 boxes reach far outside the map"):
        pooled = vinfer_ops.roi_align(FEATURES, box, torch.tensor([0]), [2, 2], 0.25)
    assert pooled.isfinite().all()
