"""Mini-batches: determinism, and what the network is given."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from batch_data import SMALL, a_dataset, data_of, picture_of, pixels

from vinfer.errors import TrainingError
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.batches import Batch, RelationBatches, keep_hardest
from vinfer.training.picture_tensors import IMAGENET_MEAN, IMAGENET_STD
from vinfer.training.relation_data import no_triplets


def same(a: Batch, b: Batch) -> bool:
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Batch)
    )


def test_a_batch_holds_what_the_network_needs() -> None:
    data = a_dataset()
    batches = RelationBatches(data, SMALL)
    by_name = {picture.name: picture for picture in data.pictures}
    seen = 0
    for batch in batches.epoch(0):
        n = len(batch.names)
        assert batch.images.dtype == np.float32
        assert batch.images.shape[:2] == (n, 3)
        assert batch.images.shape[2:] == tuple(batch.sizes.max(0))
        assert batch.boxes.dtype == np.float32
        assert (batch.pairs.dtype, batch.class_labels.dtype) == (np.int64, np.int64)
        assert (batch.labels.dtype, batch.known.dtype) == (np.float32, np.bool_)
        assert len(batch.pairs) == len(batch.labels) == len(batch.known) <= SMALL.max_pairs
        image, subject, object_ = batch.pairs.T
        np.testing.assert_array_equal(batch.box_images[subject], image)
        np.testing.assert_array_equal(batch.box_images[object_], image)
        assert (subject != object_).all()
        assert len(np.unique(batch.pairs, axis=0)) == len(batch.pairs)
        positive = batch.labels.any(1)
        assert positive.sum() + batch.num_negatives == len(batch.pairs)
        assert positive[: positive.sum()].all()
        assert 0.25 <= positive.mean() <= 0.75
        for position, name in enumerate(batch.names):
            picture = by_name[name]
            rows = np.flatnonzero(batch.box_images == position)
            np.testing.assert_array_equal(batch.class_labels[rows], picture.labels)
            annotated = {tuple(triplet) for triplet in picture.triplets.tolist()}
            for k in np.flatnonzero(image == position):
                s, o = int(subject[k] - rows[0]), int(object_[k] - rows[0])
                for predicate in range(2):
                    assert batch.labels[k, predicate] == ((s, predicate, o) in annotated)
        seen += n
    assert seen > 10


def test_pictures_are_normalised_and_padded_with_zeros() -> None:
    wide, wider = picture_of("wide", size=(24, 32)), picture_of("wider", size=(12, 48))
    data = data_of(wide, wider)
    (batch,) = RelationBatches(data, SMALL).epoch(0)
    assert batch.images.shape == (2, 3, 24, 48)
    sizes = dict(zip(batch.names, batch.sizes.tolist(), strict=True))
    assert sizes == {"wide": [24, 32], "wider": [12, 48]}
    at = batch.names.index("wide")
    # Nothing was resized here, so every pixel is known.
    expected = (pixels(wide) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(batch.images[at, :, :, :32], expected.transpose(2, 0, 1), atol=2e-6)
    assert (batch.images[at, :, :, 32:] == 0).all()
    assert (batch.images[1 - at, :, 12:] == 0).all()
    np.testing.assert_array_equal(batch.boxes[batch.box_images == at], wide.boxes)


def test_training_goes_on_in_the_middle_of_an_epoch() -> None:
    data = a_dataset()
    whole = list(RelationBatches(data, SMALL).epoch(1))
    rest = list(RelationBatches(data, SMALL).epoch(1, start=3, num_threads=3))
    assert len(rest) == len(whole) - 3
    assert all(map(same, whole[3:], rest))


def test_batches_do_not_depend_on_the_order_of_pictures() -> None:
    data = a_dataset()
    backwards = dataclasses.replace(data, pictures=data.pictures[::-1])
    batches = [list(RelationBatches(d, SMALL).epoch(0)) for d in (data, backwards)]
    assert all(map(same, *batches))


def test_only_annotated_relations_where_mining_is_off() -> None:
    data = a_dataset()
    config = dataclasses.replace(SMALL, sampling="gt")
    for batch in RelationBatches(data, config).epoch(0):
        assert batch.labels.any(1).all()
        assert batch.num_negatives == 0


def test_incomplete_annotations_are_not_mined_unless_forced() -> None:
    data = dataclasses.replace(a_dataset(), exhaustive=False)
    batches = RelationBatches(data, SMALL)
    assert not batches.mined
    assert all(batch.num_negatives == 0 for batch in batches.epoch(0))
    forced = RelationBatches(data, dataclasses.replace(SMALL, force_mining=True))
    assert forced.mined
    assert any(batch.num_negatives for batch in forced.epoch(0))
    off = dataclasses.replace(SMALL, force_mining=True, sampling="gt")
    assert not RelationBatches(data, off).mined


def test_doubtful_relations_are_no_samples() -> None:
    doubtful = tuple((i, 0, j) for i in range(4) for j in range(4) if i != j and (i, j) != (0, 1))
    data = data_of(picture_of("a", ignored=(*doubtful, (0, 1, 1))))
    (batch,) = RelationBatches(data, SMALL).epoch(0)
    assert batch.pairs.tolist() == [[0, 0, 1]]
    assert batch.known.tolist() == [[True, False]]


def test_hardest_negatives_are_kept() -> None:
    data = data_of(*(picture_of(f"{k}", num_objects=8) for k in range(3)))
    plain = next(RelationBatches(data, SMALL).epoch(0))
    config = dataclasses.replace(SMALL, hard_negatives=3)
    pool = next(RelationBatches(data, config).epoch(0))
    positive = pool.labels.any(1)
    assert pool.num_negatives == plain.num_negatives
    assert (~positive).sum() == 3 * pool.num_negatives
    rows = {tuple(pair) for pair in pool.pairs.tolist()}
    assert {tuple(pair) for pair in plain.pairs.tolist()} <= rows

    scores = np.random.default_rng(0).normal(size=(len(pool.pairs), 2)).astype(np.float32)
    kept = keep_hardest(pool, scores)
    assert len(kept.pairs) == len(plain.pairs)
    assert kept.labels.any(1).sum() == positive.sum()
    highest = np.sort(scores[~positive].max(1))[-pool.num_negatives :]
    score_of = {
        tuple(pair): float(score)
        for pair, score in zip(pool.pairs.tolist(), scores.max(1), strict=True)
    }
    left = [score_of[tuple(pair)] for pair in kept.pairs[~kept.labels.any(1)].tolist()]
    np.testing.assert_allclose(np.sort(left), highest)
    # Equal scores: the first ones.
    equal = keep_hardest(pool, np.zeros(len(pool.pairs), np.float32))
    np.testing.assert_array_equal(equal.pairs, pool.pairs[: len(plain.pairs)])
    for bad in (scores[:-1], np.full_like(scores, np.nan)):
        with pytest.raises(TrainingError, match="expected finite scores"):
            keep_hardest(pool, bad)


def test_half_of_the_pictures_are_mirrored_others_in_each_epoch() -> None:
    data = data_of(*(picture_of(f"{k}") for k in range(20)))
    config = dataclasses.replace(SMALL, mirror=True)
    sets = []
    for epoch in range(3):
        flipped = set()
        for plain, batch in zip(
            RelationBatches(data, SMALL).epoch(epoch),
            RelationBatches(data, config).epoch(epoch, num_threads=2),
            strict=True,
        ):
            assert batch.names == plain.names
            np.testing.assert_array_equal(batch.pairs, plain.pairs)
            np.testing.assert_array_equal(batch.labels, plain.labels)
            for k, name in enumerate(batch.names):
                height, width = batch.sizes[k]
                found, usual = (each.images[k, :, :height, :width] for each in (batch, plain))
                mine = batch.box_images == k
                x1, y1, x2, y2 = plain.boxes[mine].T
                if (found == usual).all():
                    np.testing.assert_array_equal(batch.boxes[mine], plain.boxes[mine])
                    continue
                flipped.add(name)
                np.testing.assert_array_equal(found, usual[:, :, ::-1])
                expected = np.stack([width - x2, y1, width - x1, y2], 1)
                np.testing.assert_allclose(batch.boxes[mine], expected, rtol=0, atol=1e-5)
        assert 4 <= len(flipped) <= 16
        sets.append(flipped)
    assert sets[0] != sets[1] != sets[2]


def test_rare_predicates_fill_a_small_batch() -> None:
    common = tuple((i, 0, j) for i in range(6) for j in range(6) if i != j and (i, j) != (5, 4))
    data = data_of(picture_of("a", num_objects=6, triplets=(*common, (5, 1, 4))), exhaustive=False)
    config = dataclasses.replace(SMALL, max_pairs=4, balanced=True)
    for seed in range(5):
        (batch,) = RelationBatches(data, dataclasses.replace(config, seed=seed)).epoch(0)
        assert batch.labels.sum(0).tolist() == [3, 1]


# What is refused


def test_data_that_can_not_be_batched_is_refused() -> None:
    with pytest.raises(TrainingError, match="annotations without pictures"):
        RelationBatches(data_of(picture_of("a"), read=None), SMALL)
    without_size = dataclasses.replace(picture_of("a"), size=None)
    with pytest.raises(TrainingError, match="annotations without pictures"):
        RelationBatches(data_of(without_size), SMALL)
    with pytest.raises(TrainingError, match="two pictures 'a'"):
        RelationBatches(data_of(picture_of("a"), picture_of("a")), SMALL)
    wrong = data_of(picture_of("a"), read=lambda _: np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(TrainingError, match="found a picture 6x5 px, expected 32x24 px"):
        next(RelationBatches(wrong, SMALL).epoch(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"num_pictures": 0},
        {"max_pairs": 1},
        {"hard_negatives": 0},
        {"least_positive_percent": 0},
        {"least_positive_percent": 51},
        {"short_side": 0},
        {"short_side": 500, "long_side": 400},
        {"sampling": "all"},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"{list(wrong)[-1]}: found"):
        BatchSettings(**wrong)


def test_a_picture_without_relations_has_no_triplet() -> None:
    assert picture_of("a", triplets=()).triplets.shape == no_triplets().shape == (0, 3)
