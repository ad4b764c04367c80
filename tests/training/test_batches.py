"""Mini-batches: golden values, bounds, determinism, and what the network is given."""

import collections
import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import TrainingError
from vinfer.training.batch_plan import BatchSettings, image_id, plan_epoch
from vinfer.training.batches import Batch, RelationBatches, keep_hardest
from vinfer.training.key64 import key64
from vinfer.training.pair_sampling import (
    balanced_first,
    picture_pairs,
    sample_counts,
    smallest_keys,
)
from vinfer.training.picture_tensors import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    resized_boxes,
    resized_size,
)
from vinfer.training.relation_data import RelationData, RelationPicture, UInt8Image, no_triplets

GOLDEN = json.loads(Path(__file__).with_name("golden_batches.json").read_text())


def pixels(picture: RelationPicture) -> UInt8Image:
    assert picture.size is not None
    generator = np.random.default_rng(image_id(picture.name) % 2**32)
    return generator.integers(0, 256, (*picture.size, 3), np.uint8)


def picture_of(
    name: str,
    size: tuple[int, int] = (24, 32),
    num_objects: int = 4,
    triplets: tuple[tuple[int, int, int], ...] = ((0, 0, 1),),
    ignored: tuple[tuple[int, int, int], ...] = (),
) -> RelationPicture:
    generator = np.random.default_rng(image_id(name) % 2**32)
    height, width = size
    corner = generator.uniform(0, 0.5, (num_objects, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + np.array([width, height]) * 0.4], 1)
    return RelationPicture(
        name=name,
        size=size,
        labels=generator.integers(0, 3, num_objects),
        boxes=boxes.astype(np.float32),
        triplets=np.array(triplets, np.int64).reshape(-1, 3),
        ignored=np.array(ignored, np.int64).reshape(-1, 3),
    )


def data_of(
    *pictures: RelationPicture,
    exhaustive: bool = True,
    read: Callable[[RelationPicture], UInt8Image] | None = pixels,
) -> RelationData:
    return RelationData(
        ("a", "b", "c"), ("on", "holds"), pictures, exhaustive, collections.Counter(), read
    )


SMALL = BatchSettings(num_pictures=3, max_pairs=16, short_side=24, long_side=48)


def a_dataset(count: int = 20) -> RelationData:
    return data_of(
        *(
            picture_of(
                f"{k}.png",
                size=(24, 32) if k % 3 else (40, 20),
                num_objects=3 + k % 4,
                triplets=((0, k % 2, 1), (1, 0, 0)) if k % 4 else (),
            )
            for k in range(count)
        )
    )


# Golden values


@pytest.mark.parametrize("case", GOLDEN["resize"], ids=lambda case: "x".join(map(str, case["in"])))
def test_resized_size_is_golden(case: dict[str, Any]) -> None:
    (width, height), (new_width, new_height) = case["in"], case["out"]
    assert resized_size(height, width) == (new_height, new_width)


@pytest.mark.parametrize(
    "case", GOLDEN["sampler_counts"], ids=lambda case: f"{case['P']}+{case['N']}"
)
def test_sample_counts_are_golden(case: dict[str, int]) -> None:
    assert sample_counts(case["P"], case["N"]) == (case["n_pos"], case["n_neg"])


@pytest.mark.parametrize(
    ("key", "seed", "epoch"), [("seed1", 1, 0), ("seed1_epoch1", 1, 1), ("seed2", 2, 0)]
)
def test_drawn_samples_are_golden(key: str, seed: int, epoch: int) -> None:
    example = GOLDEN["sampler_example"]
    triplets = [(i, p, j) for i, j, predicates in example["annotated"] for p in predicates]
    picture = RelationPicture(
        name="5",
        size=(10, 10),
        labels=np.zeros(example["n_objects"], np.int64),
        boxes=np.tile(np.float32([0, 0, 5, 5]), (example["n_objects"], 1)),
        triplets=np.array(triplets, np.int64),
    )
    candidates = picture_pairs(picture, 4, mined=True)
    positive = candidates.labels.any(1)
    image = np.full((len(positive), 1), example["image_id"], np.int64)
    samples = np.concatenate([image, candidates.pairs], 1)
    positives, negatives = samples[positive], samples[~positive]
    assert positives.tolist() == example["positives"]
    assert negatives.tolist() == example["negatives"]
    counts = sample_counts(len(positives), len(negatives), example["M"])
    assert counts == (example["n_pos"], example["n_neg"])
    for kind, pool, count in (("pos", positives, counts[0]), ("neg", negatives, counts[1])):
        rows = smallest_keys(pool, count, seed=seed, epoch=epoch, batch=0)
        assert sorted(pool[rows].tolist()) == example[key][kind]
    assert str(key64(1, 0, 0, 5, 0, 2)) == example["key(seed=1,epoch=0,batch=0,image=5,0,2)"]


# Properties


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(2, 600), st.integers(1, 50))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_counts_keep_their_bounds(positives: int, negatives: int, most: int, least: int) -> None:
    chosen, mined = sample_counts(positives, negatives, most, least_percent=least)
    assert 0 <= chosen <= positives
    assert 0 <= mined <= negatives
    assert chosen + mined <= most
    if positives == 0:
        assert (chosen, mined) == (0, 0)
    elif negatives == 0:
        assert chosen == min(positives, most)
    else:
        total = chosen + mined
        assert Fraction(least, 100) <= Fraction(chosen, total) <= Fraction(3, 4)
        # No larger total would do.
        for larger in range(total + 1, min(most, positives + negatives) + 1):
            allowed = range(-(-larger * least // 100), 3 * larger // 4 + 1)
            assert not any(k <= positives and larger - k <= negatives for k in allowed)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=40,
        unique=True,
    ),
    st.randoms(use_true_random=False),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_draws_do_not_depend_on_order(samples: list[tuple[int, int, int]], random: Any) -> None:
    shuffled = samples[:]
    random.shuffle(shuffled)
    count = len(samples) // 2
    drawn = [
        {rows[k] for k in smallest_keys(np.array(rows, np.uint64), count, seed=3, epoch=1, batch=2)}
        for rows in (samples, shuffled)
    ]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == count
    # By the definition, one sample at a time.
    expected = sorted(samples, key=lambda sample: (key64(3, 1, 2, *sample), sample))[:count]
    assert drawn[0] == set(expected)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600), st.integers(0, 600))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_resized_sides_keep_their_bounds(height: int, width: int, short: int, more: int) -> None:
    long = short + more
    size = resized_size(height, width, short_side=short, long_side=long)
    assert min(size) <= short
    assert max(size) <= long
    # One of the two is reached: a picture is made as large as it may be.
    assert min(size) == short or max(size) == long
    assert size[::-1] == resized_size(width, height, short_side=short, long_side=long)
    scale = min(Fraction(short, min(height, width)), Fraction(long, max(height, width)))
    for before, after in zip((height, width), size, strict=True):
        assert after == 1 or abs(after - before * scale) <= Fraction(1, 2)


# What a picture offers


def test_candidates_are_all_ordered_pairs_that_somebody_is_sure_of() -> None:
    picture = picture_of(
        "a", triplets=((0, 0, 1), (0, 1, 1), (2, 1, 0)), ignored=((0, 1, 2), (2, 0, 0))
    )
    mined = picture_pairs(picture, 2, mined=True)
    pairs = [tuple(pair) for pair in mined.pairs.tolist()]
    # (0, 2) has only a doubtful relation; (2, 0) has a sure one besides.
    assert pairs == [(i, j) for i in range(4) for j in range(4) if i != j and (i, j) != (0, 2)]
    assert mined.labels[pairs.index((0, 1))].tolist() == [1, 1]
    assert mined.labels[pairs.index((2, 0))].tolist() == [0, 1]
    assert mined.known[pairs.index((2, 0))].tolist() == [False, True]
    assert mined.known.sum() == mined.known.size - 1
    assert mined.labels.sum() == 3
    annotated = picture_pairs(picture, 2, mined=False)
    assert annotated.pairs.tolist() == [[0, 1], [2, 0]]


def test_rare_predicates_take_turns() -> None:
    labels = np.zeros((10, 3), bool)
    labels[:8, 0] = labels[8:, 1] = labels[0, 2] = True
    order = np.arange(10)
    # Rarest first: predicate 2 gives row 0, then 1 gives 8, then 0 gives 1 (0 is taken).
    assert balanced_first(labels, order, 4).tolist() == [0, 8, 1, 9]
    assert sorted(balanced_first(labels, order, 10).tolist()) == list(range(10))
    assert balanced_first(labels, order, 0).tolist() == []


# Plans


def names_of(data: RelationData, config: BatchSettings, epoch: int) -> list[list[str]]:
    plan = plan_epoch(data, config, epoch)
    return [[data.pictures[k].name for k in batch.pictures] for batch in plan.batches]


@given(st.randoms(use_true_random=False), st.integers(0, 3), st.integers(0, 3))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_plans_do_not_depend_on_the_order_of_pictures(random: Any, seed: int, epoch: int) -> None:
    data = a_dataset()
    pictures = list(data.pictures)
    random.shuffle(pictures)
    config = dataclasses.replace(SMALL, seed=seed)
    shuffled = dataclasses.replace(data, pictures=tuple(pictures))
    assert names_of(data, config, epoch) == names_of(shuffled, config, epoch)


def test_an_epoch_takes_each_picture_once_and_one_bin_a_batch() -> None:
    data = a_dataset(50)
    plan = plan_epoch(data, SMALL, 0)
    sizes = {picture.name: picture.size for picture in data.pictures}
    batches = names_of(data, SMALL, 0)
    for batch in batches:
        assert len({sizes[name] for name in batch}) == 1
    taken = [name for batch in batches for name in batch]
    assert len(set(taken)) == len(taken)
    dropped = plan.skipped["batch_without_positives"]
    assert len(taken) + 3 * dropped >= 50
    # Only the last batch of a bin is short.
    assert sum(len(batch) < 3 for batch in batches) <= 2
    assert [batch.number for batch in plan.batches] == sorted({b.number for b in plan.batches})


def test_seeds_and_epochs_differ() -> None:
    data = a_dataset()
    plans = [names_of(data, dataclasses.replace(SMALL, seed=s), e) for s in (0, 1) for e in (0, 1)]
    assert all(plans[0] != other for other in plans[1:])


def test_bins_are_drawn_by_what_they_have_left() -> None:
    data = data_of(*(picture_of(f"{k}", size=(20, 30) if k % 4 else (30, 20)) for k in range(40)))
    first_is_wide = []
    for epoch in range(100):
        plan = plan_epoch(data, dataclasses.replace(SMALL, num_pictures=40), epoch)
        size = data.pictures[plan.batches[0].pictures[0]].size
        assert size is not None
        first_is_wide.append(size[1] > size[0])
    # 75 % of the pictures are wide; four standard deviations of 100 draws are 17 points.
    assert 0.58 < np.mean(first_is_wide) < 0.92


def test_square_pictures_are_wide() -> None:
    data = data_of(picture_of("square", size=(30, 30)), picture_of("wide", size=(20, 30)))
    assert len(plan_epoch(data, SMALL, 0).batches) == 1


def test_batches_without_positives_are_dropped_and_counted() -> None:
    data = data_of(
        picture_of("a", triplets=()),
        picture_of("b", triplets=()),
        picture_of("c", size=(40, 20)),
        picture_of("one object", num_objects=1, triplets=()),
    )
    plan = plan_epoch(data, SMALL, 0)
    assert names_of(data, SMALL, 0) == [["c"]]
    assert plan.skipped == {"batch_without_positives": 1, "picture_without_pairs": 1}
    annotated_only = plan_epoch(data, dataclasses.replace(SMALL, sampling="gt"), 0)
    assert annotated_only.skipped == {"picture_without_pairs": 3}


def test_a_dropped_batch_keeps_its_number() -> None:
    """Else the draws of later batches would depend on whether an earlier one was of use."""
    data = a_dataset(40)
    config = dataclasses.replace(SMALL, num_pictures=1)
    plan = plan_epoch(data, config, 0)
    assert plan.skipped["batch_without_positives"] == 10
    assert plan.batches[-1].number > len(plan.batches) - 1


def test_nothing_to_train_on_gives_no_batch() -> None:
    assert plan_epoch(data_of(), SMALL, 0).batches == ()
    assert list(RelationBatches(data_of(), SMALL).epoch(0)) == []


# Batches


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


def test_boxes_are_scaled_by_the_rounded_sides_and_clipped() -> None:
    boxes = np.float32([[0, 0, 333, 500], [-5, 10, 400, 510], [100, 100, 200, 300]])
    size = resized_size(500, 333)
    assert size == (721, 480)
    scaled = resized_boxes(boxes, (500, 333), size)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[0], np.float32([0, 0, 480, 721]))
    np.testing.assert_array_equal(scaled[1], np.float32([0, 10 * 721 / 500, 480, 721]))
    np.testing.assert_array_equal(
        scaled[2], np.float32([100 * 480 / 333, 144.2, 200 * 480 / 333, 432.6])
    )


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
