"""A small convolutional detector: a score a class and one box at every fourth pixel.

Centres as in "Objects as Points" (Zhou et al. 2019), distances to the box's four sides as in FCOS
(Tian et al. 2019); features of three strides are summed from coarse to fine (FPN, Lin et al. 2017).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vinfer.training.sprite_detector_targets import STRIDE
from vinfer.training.sprites.scene import CLASSES

STEM, FINE, MIDDLE, COARSE, HEAD = 16, 32, 64, 64, 48
"""Channels at strides 2, 4, 8 and 16, and of the last hidden layer."""

FIRST_SCORE = 0.01
"""Nearly all cells are empty: training starts from there."""

FIRST_DISTANCE = 10.0
"""Pixels from a sprite's centre to its sides, about."""


class ConvNorm(nn.Sequential):
    """A convolution without bias and a batch norm."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        )


class Residual(nn.Module):
    """Two convolutions beside a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class SpriteDetectorNetwork(nn.Module):
    """0.28 million parameters, 0.13 billion multiplications a picture of 144x192."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, stride=2)
        self.fine = ConvNorm(STEM, FINE, stride=2)
        self.fine_block = Residual(FINE)
        self.middle = ConvNorm(FINE, MIDDLE, stride=2)
        self.middle_block = Residual(MIDDLE)
        self.coarse = ConvNorm(MIDDLE, COARSE, stride=2)
        self.coarse_block = Residual(COARSE)
        self.coarse_to_middle = nn.Conv2d(COARSE, MIDDLE, 1)
        self.middle_merge = ConvNorm(MIDDLE, MIDDLE)
        self.middle_to_fine = nn.Conv2d(MIDDLE, FINE, 1)
        self.fine_merge = ConvNorm(FINE, HEAD)
        self.heat = nn.Conv2d(HEAD, len(CLASSES), 1)
        self.sides = nn.Conv2d(HEAD, 4, 1)
        with torch.no_grad():
            assert self.heat.bias is not None
            assert self.sides.bias is not None
            self.heat.bias.fill_(math.log(FIRST_SCORE / (1 - FIRST_SCORE)))
            self.sides.bias.fill_(FIRST_DISTANCE / STRIDE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and distances.

        Args:
            images: float32 ``[n, 3, height, width]``, normalised; sides are multiples of 16.

        Returns:
            Logits ``[n, classes, height / 4, width / 4]``, and distances in pixels
            ``[n, 4, height / 4, width / 4]``, as `CellTargets` has them.
        """
        relu = functional.relu
        fine = self.fine_block(relu(self.fine(relu(self.stem(images)))))
        middle = self.middle_block(relu(self.middle(fine)))
        coarse = self.coarse_block(relu(self.coarse(middle)))
        middle = relu(self.middle_merge(middle + _doubled(self.coarse_to_middle(coarse))))
        hidden = relu(self.fine_merge(fine + _doubled(self.middle_to_fine(middle))))
        return self.heat(hidden), STRIDE * self.sides(hidden)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
