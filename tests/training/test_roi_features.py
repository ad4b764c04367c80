"""Features of a frozen trunk: the relation network's own, averaged; one picture at a time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

from vinfer.errors import InputError
from vinfer.training.picture_tensors import normalised
from vinfer.training.relation_network import NetworkConfig, RelationNetwork
from vinfer.training.roi_features import RoiFeatures

MEAN, STD = (0.5,) * 3, (0.25,) * 3
BOXES = np.array([[2, 3, 30, 40], [10, 12, 60, 44], [0, 0, 64, 48], [5, 5, 5, 5]], np.float32)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def test_as_the_relation_network_pools_them() -> None:
    torch.manual_seed(0)
    network = RelationNetwork(NetworkConfig(3, 2, trunk="slim", filters=4, features=4)).eval()
    assert network.trunk is not None
    features = RoiFeatures(network.trunk, short_side=48, long_side=64, mean=MEAN, std=STD)
    pairs = np.array([[0, 1], [1, 0], [2, 0], [3, 1]])
    found = features(picture(), BOXES, pairs)

    maps = []
    assert network.pair is not None
    network.pair.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    with torch.no_grad():
        network(
            torch.from_numpy(normalised(picture(), (48, 64), MEAN, STD)[None]),
            torch.from_numpy(BOXES),
            torch.zeros(4, dtype=torch.int64),
            torch.zeros(4, dtype=torch.int64),
            torch.from_numpy(pairs),
        )
    # The network's maps: 32 features and 2 positions of subject, object and union.
    means = maps[0].mean(dim=(2, 3)).numpy().reshape(4, 3, 34)[:, :, :32]
    np.testing.assert_allclose(found, means.reshape(4, 96), atol=1e-5)


def test_boxes_move_with_the_resized_picture() -> None:
    torch.manual_seed(0)
    trunk = RelationNetwork(NetworkConfig(3, 2, trunk="slim")).trunk
    assert trunk is not None
    features = RoiFeatures(trunk, short_side=48, long_side=64, mean=MEAN, std=STD)
    pairs = np.array([[0, 1]])
    twice = picture().repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(
        features(twice, 2 * BOXES, pairs), features(picture(), BOXES, pairs), atol=1e-5
    )


def test_no_pairs_and_pairs_of_no_box() -> None:
    trunk = RelationNetwork(NetworkConfig(3, 2, trunk="slim")).trunk
    assert trunk is not None
    features = RoiFeatures(trunk)
    assert features(picture(), BOXES[:0], np.zeros((0, 2), np.int64)).shape == (0, 96)
    with pytest.raises(InputError, match="indices 0 to 4, expected those of 4 boxes"):
        features(picture(), BOXES, np.array([[0, 4]]))
