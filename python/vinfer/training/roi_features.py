"""What a frozen trunk sees in the two objects of a pair and around them, as plain vectors.

For data too small to train a network on: fit something linear to these (`ridge_logistic`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vinfer.errors import InputError
from vinfer.training import torch_ops
from vinfer.training.picture_tensors import normalised, resized_boxes, resized_size
from vinfer.training.relation_network import ROI_BINS, ROLES, SAMPLING_RATIO, union_boxes
from vinfer.training.relation_trunks import Trunk
from vinfer.types import Float32Array, Int64Array, UInt8Array

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""On 0..1: what TensorFlow's EfficientNet-Lite was trained with, not ImageNet's usual ones."""

ROIS_AT_ONCE = 64
"""Lite0 widens a RoI to 1152 channels: more at once would only need memory."""


class RoiFeatures:
    """Features as the relation network makes them, each RoI's averaged over its bins.

    Args:
        trunk: with its weights; put into evaluation mode.
        short_side, long_side: how pictures are resized (`picture_tensors.resized_size`).
        mean, std: a channel (RGB) on 0..1, subtracted and divided by.
    """

    def __init__(
        self,
        trunk: Trunk,
        *,
        short_side: int = 480,
        long_side: int = 960,
        mean: tuple[float, float, float] = LITE_MEAN,
        std: tuple[float, float, float] = LITE_STD,
    ) -> None:
        self._trunk = trunk.eval()
        self._sides = short_side, long_side
        self._mean, self._std = mean, std

    @torch.inference_mode()
    def __call__(self, image: UInt8Array, boxes: Float32Array, pairs: Int64Array) -> Float32Array:
        """Features of pairs of objects of one picture.

        Args:
            image: uint8 ``[H, W, 3]`` RGB.
            boxes: float32 ``[n, 4]``, xyxy in its pixels.
            pairs: int64 ``[m, 2]``: subject and object, indices into ``boxes``.

        Returns:
            float32 ``[m, 3 * roi_channels]``: of subject, object and their union.

        Raises:
            InputError: a pair names a box that is not there.
        """
        if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(boxes):
            raise InputError(
                f"pairs: found indices {pairs.min()} to {pairs.max()}, expected those of "
                f"{len(boxes)} boxes"
            )
        if not len(pairs):
            return np.zeros((0, ROLES * self._trunk.roi_channels), np.float32)
        size = (int(image.shape[0]), int(image.shape[1]))
        resized = resized_size(*size, short_side=self._sides[0], long_side=self._sides[1])
        pixels = torch.from_numpy(normalised(image, resized, self._mean, self._std)[None])
        picture = self._trunk.picture(pixels)
        corners = torch.from_numpy(resized_boxes(boxes, size, resized))
        # The union of (i, j) is that of (j, i).
        unordered, union_of = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
        unions = union_boxes(corners[unordered[:, 0]], corners[unordered[:, 1]])
        means = torch.cat([self._means(picture, corners), self._means(picture, unions)]).numpy()
        rows = pairs[:, 0], pairs[:, 1], len(boxes) + union_of.reshape(-1)
        features: Float32Array = np.concatenate([means[row] for row in rows], 1)
        return features

    def _means(self, picture: Tensor, rois: Tensor) -> Tensor:
        """``[R, roi_channels]``."""
        parts = []
        for some in torch.split(rois, ROIS_AT_ONCE):
            pooled = torch_ops.roi_align(
                picture,
                some,
                torch.zeros(len(some), dtype=torch.int64),
                [ROI_BINS, ROI_BINS],
                1.0 / self._trunk.stride,
                SAMPLING_RATIO,
                True,
            )
            parts.append(self._trunk.rois(pooled).mean(dim=(2, 3)))
        return torch.cat(parts)
