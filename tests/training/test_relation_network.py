"""The relation network: shapes, what each part does, and that sharing RoIs changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

from vinfer.errors import TrainingError
from vinfer.training.relation_network import NetworkConfig, RelationNetwork
from vinfer.training.relation_trunks import TRUNKS, make_trunk

SMALL = NetworkConfig(
    5, 4, trunk="slim", filters=16, features=16, embedding_size=3, embedding_form="linear"
)
PAIRS = [[0, 1], [1, 0], [2, 0], [1, 2], [3, 4]]


def network_of(config: NetworkConfig, seed: int = 0) -> RelationNetwork:
    torch.manual_seed(seed)
    network = RelationNetwork(config).eval()
    for module in network.modules():  # fresh BatchNorm does nothing that a test could see
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return network


def inputs(seed: int = 1) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(5, 2, generator=generator) * 60
    boxes = torch.cat([low, low + 5 + torch.rand(5, 2, generator=generator) * 50], 1)
    return (
        torch.randn(2, 3, 96, 128, generator=generator),
        boxes,
        torch.tensor([0, 0, 0, 1, 1]),
        torch.tensor([0, 4, 2, 1, 3]),
        torch.tensor(PAIRS),
    )


@pytest.mark.parametrize("trunk", TRUNKS)
def test_logits_and_the_size_of_a_trunk(trunk: str) -> None:
    made = make_trunk(trunk)
    features = made.picture(torch.zeros(1, 3, 64, 96))
    assert features.shape[2:] == (64 // made.stride, 96 // made.stride)
    pooled = torch.zeros(2, features.shape[1], 14, 14)
    assert made.rois(pooled).shape == (2, made.roi_channels, 7, 7)
    logits = network_of(dataclasses.replace(SMALL, trunk=trunk))(*inputs())
    assert logits.shape == (5, 4)
    assert logits.isfinite().all()


def test_number_of_weights_of_resnet18_is_the_published_one() -> None:
    # 11,689,512 with the classifier of 512 x 1000 + 1000 (torchvision's documentation).
    count = sum(weight.numel() for weight in make_trunk("resnet18").parameters())
    assert count == 11_689_512 - 513_000


def test_a_pair_alone_has_the_logits_that_it_has_among_others() -> None:
    network, (*given, pairs) = network_of(SMALL), inputs()
    together = network(*given, pairs)
    for row, pair in enumerate(pairs):
        alone = network(*given, pair[None])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)


def test_no_pair_gives_no_logits() -> None:
    *given, _ = inputs()
    assert network_of(SMALL)(*given, torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 4)


@pytest.mark.parametrize("source", ["visual", "coord", "embedding"])
def test_each_source_of_information_is_used_when_on_and_not_when_off(source: str) -> None:
    images, boxes, box_images, labels, pairs = inputs()
    if source == "coord":
        # One colour everywhere: only the positions can tell these boxes apart.
        images = torch.zeros_like(images)
    moved = boxes + torch.tensor([[9.0, 3, 9, 3], *[[0.0] * 4] * 4])
    given = (images, boxes, box_images, labels, pairs)
    changed = {
        "visual": (images + 1, boxes, box_images, labels, pairs),
        "coord": (images, moved, box_images, labels, pairs),
        "embedding": (images, boxes, box_images, (labels + 1) % 5, pairs),
    }[source]
    others = {name: name != source for name in ("visual", "coord", "embedding")}
    only = {name: name == source for name in ("visual", "coord", "embedding")}
    network = network_of(dataclasses.replace(SMALL, **only))
    assert (network(*given) - network(*changed)).abs().max() > 1e-4
    if source == "coord":
        others["visual"] = False  # a box that moves over one colour still meets its border
    network = network_of(dataclasses.replace(SMALL, **others))
    torch.testing.assert_close(network(*given), network(*changed), rtol=0, atol=0)


def test_linear_embeddings_add_up_and_bilinear_ones_do_not() -> None:
    images, boxes, box_images, _, _ = inputs()
    pairs = torch.tensor([[0, 1]])

    def logits(network: RelationNetwork, subject: int, object_: int) -> Any:
        labels = torch.tensor([subject, object_, 0, 0, 0])
        return network(images, boxes, box_images, labels, pairs)[0]

    for form, adds_up in (("linear", True), ("bilinear", False)):
        network = network_of(
            dataclasses.replace(SMALL, visual=False, coord=False, embedding_form=form)
        )
        left = logits(network, 1, 2) - logits(network, 1, 3)
        right = logits(network, 4, 2) - logits(network, 4, 3)
        assert bool((left - right).abs().max() < 1e-5) is adds_up


def test_scores_are_probabilities() -> None:
    network = network_of(SMALL)
    scores = network.scores(network(*inputs()))
    assert ((scores > 0) & (scores < 1)).all()
    network = network_of(dataclasses.replace(SMALL, head="softmax_bg"))
    logits = network(*inputs())
    assert logits.shape == (5, 5)
    scores = network.scores(logits)
    assert scores.shape == (5, 4)
    assert (scores.sum(1) < 1).all()


def test_loss_of_the_sigmoid_head_is_the_mean_of_what_is_known() -> None:
    network = network_of(SMALL)
    logits = torch.tensor([[0.0, 100.0, -100.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    known = torch.tensor([[True, False, False, True]])
    # Two logits of 0 are log 2 each, whatever the target; the two wrong ones are not known.
    assert network.loss(logits, targets, known).item() == pytest.approx(0.6931472)


def test_loss_of_the_softmax_head_shares_a_pair_among_its_labels() -> None:
    network = network_of(dataclasses.replace(SMALL, head="softmax_bg"))
    logits = torch.zeros(3, 5)
    targets = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    known = torch.ones(3, 4, dtype=torch.bool)
    known[2, 1] = False
    assert network.loss(logits, targets, known).item() == pytest.approx(1.6094379)  # log 5
    logits[1, 4] = 100.0  # background, and the pair is that
    assert network.loss(logits, targets, known).item() == pytest.approx(1.6094379 / 2)


def test_batch_norm_of_a_pretrained_trunk_is_frozen_in_training() -> None:
    network = RelationNetwork(dataclasses.replace(SMALL, trunk="resnet18")).train()
    assert network.trunk is not None
    assert network.pair is not None
    assert not network.trunk.bn1.training  # type: ignore[union-attr]
    assert network.pair.bn1.training
    slim = RelationNetwork(SMALL).train()
    assert all(m.training for m in slim.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_published_weights_are_taken_over(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = make_trunk("resnet18")
    state = source.state_dict() | {"fc.weight": torch.zeros(1000, 512)}
    path = tmp_path / "resnet18.pth"
    torch.save({k: v for k, v in state.items() if not k.endswith("tracked")}, path)
    target = make_trunk("resnet18")
    target.load_weights(path)
    for name, value in source.state_dict().items():
        if not name.endswith("tracked"):
            assert torch.equal(target.state_dict()[name], value), name


def test_gradients_do_not_depend_on_the_timing_of_threads() -> None:
    torch.manual_seed(2)
    network = RelationNetwork(NetworkConfig(5, 4, trunk="slim", filters=16, features=16)).train()
    boxes = torch.tensor([[4.0 * k, 3.0 * k, 4.0 * k + 30, 3.0 * k + 40] for k in range(8)])
    inputs = (
        torch.rand(1, 3, 96, 96),
        boxes,
        torch.zeros(8, dtype=torch.int64),
        torch.arange(8) % 5,
        torch.tensor([[i, j] for i in range(8) for j in range(8) if i != j] * 8),
    )

    def gradient() -> torch.Tensor:
        network.zero_grad()
        network(*inputs).square().sum().backward()
        assert network.trunk is not None
        return next(network.trunk.parameters()).grad.clone()  # type: ignore[union-attr]

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(10))
    finally:
        torch.set_num_threads(before)


def test_a_trunk_starts_from_an_earlier_training(tmp_path: Path) -> None:
    torch.manual_seed(1)
    earlier = RelationNetwork(dataclasses.replace(SMALL, trunk="slim", coord=False))
    torch.save(earlier.state_dict(), tmp_path / "network.pt")
    target = make_trunk("slim")
    target.load_weights(tmp_path / "network.pt")
    assert earlier.trunk is not None
    for name, value in earlier.trunk.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_other_files_are_refused(tmp_path: Path) -> None:
    trunk = make_trunk("resnet18")
    with pytest.raises(TrainingError, match="no such file"):
        trunk.load_weights(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(TrainingError, match="not a state dict"):
        trunk.load_weights(tmp_path / "text.pth")
    torch.save(make_trunk("slim").state_dict(), tmp_path / "slim.pth")
    with pytest.raises(TrainingError, match=r"weights are missing.*ResNet18Trunk"):
        trunk.load_weights(tmp_path / "slim.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(TrainingError, match="found a list"):
        trunk.load_weights(tmp_path / "list.pth")


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(TrainingError, match='found "vgg", expected one of slim'):
        RelationNetwork(dataclasses.replace(SMALL, trunk="vgg"))
    with pytest.raises(TrainingError, match="all off"):
        NetworkConfig(5, 4, visual=False, coord=False, embedding=False)
