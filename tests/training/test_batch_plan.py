"""Which pictures stand together: each once, one bin a batch, in an order of the seed's."""

import dataclasses
from typing import Any

import numpy as np
from batch_data import SMALL, a_dataset, data_of, picture_of
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.training.batch_plan import BatchSettings, plan_epoch
from vinfer.training.batches import RelationBatches
from vinfer.training.relation_data import RelationData


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
