"""The draw of pairs: golden values, bounds, and that order does not matter."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_data import picture_of
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.training.key64 import key64
from vinfer.training.pair_sampling import (
    balanced_first,
    picture_pairs,
    sample_counts,
    smallest_keys,
)
from vinfer.training.relation_data import RelationPicture

GOLDEN = json.loads(Path(__file__).with_name("golden_batches.json").read_text())


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
