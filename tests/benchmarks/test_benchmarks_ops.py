"""The benchmark of the ops: its grid, its refusal of peers that disagree, its file."""

from __future__ import annotations

import collections
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx writes the benchmark's graphs (extra `export`)")
pytest.importorskip("onnxruntime")

from benchmarks.ops import letterbox, roi_align, table, weldon_pool
from benchmarks.ops.contest import Absent, Case, Contestant, in_turn, run_case

ROOT = Path(__file__).resolve().parents[2]


def test_boxes_lie_in_the_picture_and_name_their_licence() -> None:
    boxes = roi_align.real_boxes()
    assert boxes.shape == (1000, 4)
    height, width = roi_align.PICTURE
    assert (boxes >= 0).all()
    assert (boxes[:, 0] < boxes[:, 2]).all()
    assert (boxes[:, 1] < boxes[:, 3]).all()
    assert (boxes <= [width, height, width, height]).all()
    described = json.loads((ROOT / "benchmarks/ops/boxes.json").read_text())
    assert described["licence"] == "CC BY 4.0"


def test_any_two_levels_of_the_grid_meet() -> None:
    names = ("channels", "stride", "num_rois", "sampling_ratio", "size")
    met = set()
    for entry in roi_align.grid(quick=False):
        met |= set(itertools.combinations(zip(names, entry, strict=True), 2))
    all_levels = (
        roi_align.CHANNELS,
        roi_align.STRIDES,
        roi_align.NUM_ROIS,
        roi_align.SAMPLING_RATIOS,
        roi_align.SIZES,
    )
    factors = dict(zip(names, all_levels, strict=True))
    for (one, levels), (other, others) in itertools.combinations(factors.items(), 2):
        for pair in itertools.product(levels, others):
            assert ((one, pair[0]), (other, pair[1])) in met


def test_the_work_of_a_roi_of_one_pixel_a_bin() -> None:
    # Bins of one pixel: up to 2 weights an axis with ratio 1, a window of 8 x 8 pixels.
    boxes = np.array([[10, 20, 17, 27]], np.float32)
    moved, flops = roi_align.work(boxes, 3, (60, 107), 1.0, 1, 7)
    assert moved == 4 * 3 * (9 * 9 + 49)
    assert flops == 3 * 2 * (7 * 2 * 9 + 7 * 7 * 2)


@pytest.mark.parametrize("count", range(1, 8))
def test_everybody_has_each_place_and_follows_each_other_equally_often(count: int) -> None:
    names = [f"contestant {k}" for k in range(count)]
    rounds = [in_turn(names, number) for number in range(count * (1 + count % 2))]
    places = collections.Counter(place for order in rounds for place in enumerate(order))
    neighbours = collections.Counter(two for order in rounds for two in itertools.pairwise(order))
    assert len(places) == count**2
    assert len(neighbours) == count * (count - 1)
    assert len(set(places.values())) == 1
    assert len(set(neighbours.values())) <= 1


def case(**calls: object) -> Case:
    def make(name: str, result: object) -> Contestant:
        if isinstance(result, str):
            raise Absent(result)
        return Contestant({"only": lambda: result}, tolerance=0.0 if name == "vinfer" else 0.1)

    return Case(
        op="op",
        name="case",
        parameters={},
        moved_bytes=1,
        flops=1,
        make={name: (lambda n=name, r=result: make(n, r)) for name, result in calls.items()},
    )


def test_a_peer_that_disagrees_is_named_and_not_timed() -> None:
    zero = np.zeros(3, np.float32)
    line = run_case(
        case(vinfer=zero, close=zero + 0.05, wrong=zero + 1, nan=zero * np.nan, gone="not here"),
        0.01,
    )
    assert set(line["times_ms"]) == {"vinfer", "close"}
    assert line["absent"]["gone"] == "not here"
    assert "disagrees" in line["absent"]["wrong"]
    assert "disagrees" in line["absent"]["nan"]
    assert line["fastest_peer"] == "close"


def test_the_summary_lists_what_is_slower() -> None:
    lines = [
        {"op": "a", "threads": 1, "case": name, "ratio": {"vinfer": ratio}, "fastest_peer": "p"}
        for name, ratio in (("fast", 4.0), ("slow", 0.25))
    ]
    (entry,) = table.summarise(lines)
    assert entry["vinfer"]["geometric_mean"] == pytest.approx(1.0)
    assert entry["vinfer"]["slower"] == {"slow": 0.25}
    assert entry["fastest_peers"] == {"p": 2}


def test_geometry_of_the_peers_is_that_of_the_op() -> None:
    from vinfer import ops

    for source, target, mode in letterbox.SIZES:
        image = np.zeros((*source, 3), np.uint8)
        _, transform = ops.letterbox(image, target, mode)
        place = letterbox.Geometry(source, target, mode)
        assert (transform.offset_x, transform.offset_y) == (place.left, place.top)
        assert transform.scale_x == place.width / source[1]
        assert transform.scale_y == place.height / source[0]


def test_quick_grids_are_parts_of_the_whole() -> None:
    for module in (weldon_pool, letterbox, roi_align):
        quick = module.grid(quick=True)
        assert quick
        assert set(quick) < set(module.grid(quick=False))


def test_a_run_writes_its_file(tmp_path: Path) -> None:
    output = tmp_path / "ops.json"
    command = [sys.executable, "-m", "benchmarks.ops", "--op", "positional_maps", "--quick"]
    subprocess.run(
        [*command, "--threads", "1", "--output", str(output)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    report = json.loads(output.read_text())
    assert {"machine", "versions", "limits", "summary", "cases"} <= set(report)
    assert report["cases"][0]["times_ms"]["vinfer"]["calls"] > 0
    assert "positional_maps" in table.markdown(report, with_cases=True)
