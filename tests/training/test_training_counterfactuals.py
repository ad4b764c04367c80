"""Made-up pairs of somebody in front of what is ridden."""

import json
from pathlib import Path

import numpy as np

from vinfer.training.counterfactuals import COPIES, FEET_BELOW, in_front_of_ridden
from vinfer.training.relation_data import pair_table
from vinfer.training.vocabulary import PREDICATES, reported_labels
from vinfer.training.vrd import load_vrd


def test_copies_end_below_the_object_and_only_riders_are_copied(tmp_path: Path) -> None:
    box, bike = [0, 100, 50, 160, 200], [1, 80, 150, 180, 230]
    board = [2, 100, 190, 160, 210]
    data = {
        "classes": ["person", "bike", "skateboard"],
        "predicates": ["ride", "next to"],
        "images": [
            {"image": str(k), "objects": [box, bike, board], "relations": [[0, 0, 1], [0, 0, 2]]}
            for k in range(50)
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(data))
    split = load_vrd(tmp_path / "train.json")
    pairs = pair_table(split)
    rides = reported_labels(pairs, split.classes, split.predicates)[:, PREDICATES.index("ride")]
    source, moved = in_front_of_ridden(pairs, rides, split.classes, np.random.default_rng(0))

    assert len(source) == 50 * COPIES
    assert (pairs.object_labels[source] == 1).all()  # who rides a skateboard may be in the air
    below = (moved[:, 3] - 230) / 80
    assert (below >= FEET_BELOW[0] - 1e-5).all()
    assert (below <= FEET_BELOW[1] + 1e-5).all()
    width, height = (moved[:, 2:] - moved[:, :2]).T
    np.testing.assert_allclose(width / height, 60 / 150, rtol=1e-4)
    assert (height >= 0.9 * 150 - 1e-3).all()
    again = in_front_of_ridden(pairs, rides, split.classes, np.random.default_rng(0))
    np.testing.assert_array_equal(moved, again[1])
