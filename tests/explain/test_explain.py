"""Events of small clips explained: by a network that looks at one place, and by a blind one."""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from looking import NAME, SPOT, lit, pack_looking
from tiny_bundles import (
    APART,
    RIDING,
    detector_graph,
    pack_detector,
    pack_relations,
    plain,
    relation_graph,
)
from videos import write_video

from vinfer.config import load_config
from vinfer.engine import Engine
from vinfer.errors import ConfigError, SourceError, UnsupportedSourceError
from vinfer.explain import (
    Explanation,
    OcclusionSettings,
    choose_event,
    explain_event,
    explain_events,
    score_history,
    trace_events,
)
from vinfer.explain.explainer import NOT_LOOKED_AT
from vinfer.types import UInt8Array

RATE = 10
GREENS = [20] * 6 + [200] * 8 + [240] + [200] * 7 + [20] * 20 + [180] * 6


def write(path: Path, pictures: list[UInt8Array]) -> Path:
    return write_video(path, pictures, rate=RATE, options={"crf": "0"}, pix_fmt="yuv444p")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    pack_detector(folder, detector_graph())
    pack_relations(folder, relation_graph())
    pack_looking(folder)
    write(folder / "lit.mkv", [lit(green) for green in GREENS])
    return folder


@pytest.fixture
def lit_clip(folder: Path) -> Path:
    return folder / "lit.mkv"


@pytest.fixture(scope="module")
def looking(folder: Path) -> Iterator[Engine]:
    config = load_config(None, {"threads": 2})
    with Engine(
        folder / f"{NAME}.vinfer", detector=folder / "tiny-detector.vinfer", config=config
    ) as engine:
        yield engine


@pytest.fixture(scope="module")
def prior(folder: Path) -> Iterator[Engine]:
    with Engine(
        folder / "tiny-relations.vinfer", detector=folder / "tiny-detector.vinfer"
    ) as engine:
        yield engine


@pytest.fixture(scope="module")
def explained(looking: Engine, folder: Path) -> Explanation:
    """The first event of the clip, the better one of two."""
    return explain_event(looking, folder / "lit.mkv", settings=OcclusionSettings(patches=10))


class TestHeatMap:
    def test_it_lights_up_at_the_place_that_is_looked_at_and_nowhere_else(
        self, explained: Explanation
    ) -> None:
        found = explained
        assert (found.event.predicate, found.event.peak_frame) == ("ride", 14)
        heat = found.heat_map
        assert heat is not None
        assert heat.values.shape == found.image.shape[:2] == (64, 64)
        assert heat.values.dtype == np.float32
        y, x = np.nonzero(np.abs(heat.values) > 1e-6)
        reach = heat.patch - 1
        assert x.min() >= SPOT[0] - reach
        assert x.max() < SPOT[2] + reach
        assert y.min() >= SPOT[1] - reach
        assert y.max() < SPOT[3] + reach
        y, x = np.unravel_index(heat.values.argmax(), heat.values.shape)
        assert SPOT[0] <= x < SPOT[2]
        assert SPOT[1] <= y < SPOT[3]
        # One patch hides so much of the place, and puts the mean colour there.
        share = min(heat.patch, 8) ** 2 / 64
        lost = share * (found.image[SPOT[1], SPOT[0], 1] - heat.fill.color[1]) / 255
        assert heat.drops.max() <= lost + 1e-6

    def test_what_is_hidden_counts_exactly(self, explained: Explanation) -> None:
        found = explained
        assert found.heat_map is not None
        scores = {row.change: row.score for row in found.what_if}
        fill = found.heat_map.fill.color[1] / 255
        assert scores["person covered"] == pytest.approx(fill, abs=1e-6)
        assert scores["whole picture covered"] == pytest.approx(fill, abs=1e-6)
        assert scores["all but the two covered"] == pytest.approx(found.base_score, abs=1e-6)
        assert scores["other direction: bicycle ride person"] == 0

    def test_the_map_does_not_depend_on_threads(
        self, explained: Explanation, lit_clip: Path, folder: Path
    ) -> None:
        config = load_config(None, {"threads": 1})
        with Engine(
            folder / f"{NAME}.vinfer", detector=folder / "tiny-detector.vinfer", config=config
        ) as single:
            alone = explain_event(single, lit_clip, settings=OcclusionSettings(patches=10))
        assert alone.heat_map is not None
        assert explained.heat_map is not None
        np.testing.assert_array_equal(alone.heat_map.values, explained.heat_map.values)

    def test_scores_below_the_least_score_are_exact(
        self, looking: Engine, explained: Explanation
    ) -> None:
        """Covered, the score is below relations.min_score and yet not 0."""
        covered = next(row.score for row in explained.what_if if row.change == "person covered")
        assert 0 < covered < looking.config.relations.min_score

    def test_the_network_s_mean_is_the_fill(self, folder: Path, lit_clip: Path) -> None:
        other = folder / "mean"
        other.mkdir()
        pack_looking(other, mean=(0.0, 0.4, 0.0))
        with Engine(other / f"{NAME}.vinfer", detector=folder / "tiny-detector.vinfer") as engine:
            heat = explain_event(engine, lit_clip, 1).heat_map
        assert (heat.fill.color, heat.fill.name) == ((0, 0, 0), "the network's mean colour")


class TestTrace:
    def test_scores_over_the_event_and_a_second_around_it(self, explained: Explanation) -> None:
        found, event = explained, explained.event
        times = [Fraction(k, RATE) for k in range(len(GREENS))]
        kept = [k for k, t in enumerate(times) if event.start - 1 <= t <= event.end + 1]
        assert list(found.trace.times) == [times[k] for k in kept]
        expected = np.array([GREENS[k] for k in kept]) / 255
        # The tracker takes two frames to know an object; then every score is there.
        assert np.isnan(found.trace.scores[:1]).all()
        np.testing.assert_allclose(found.trace.scores[1:], expected[1:], atol=0.02)
        assert float(np.nanmax(found.trace.scores)) == event.peak_score == found.base_score

    def test_a_score_below_the_least_one_counts_as_nought(
        self, prior: Engine, tmp_path: Path
    ) -> None:
        leaving = [plain(red) for red in range(RIDING, APART, 15)]
        clip = write(tmp_path / "ride.mkv", [plain(RIDING)] * 8 + leaving)
        found = explain_event(prior, clip)
        by_time = dict(zip(found.trace.times, found.trace.scores.tolist(), strict=True))
        after = [s for t, s in by_time.items() if t > found.event.end and not math.isnan(s)]
        assert after[-1] == 0
        assert all(score == 0 or score >= 0.05 for score in after)

    def test_only_the_best_are_kept(self, looking: Engine, lit_clip: Path) -> None:
        history = score_history(looking, keep=1)
        summary = looking.run(lit_clip, history)
        assert len(summary.events) == 2
        (kept,) = history.events()
        assert kept == max(summary.events, key=lambda event: event.score)


class TestPrior:
    def test_there_is_no_heat_map_and_it_says_why(self, prior: Engine, tmp_path: Path) -> None:
        clip = write(tmp_path / "ride.mkv", [plain(RIDING)] * 10)
        found = explain_event(prior, clip)
        assert found.heat_map is None
        assert found.no_heat_map == NOT_LOOKED_AT
        assert NOT_LOOKED_AT in found.to_text()
        scores = {row.change: row.score for row in found.what_if}
        # The model's own rule: sigmoid((15 - distance of the left edges) / 3).
        subject, object_ = found.event.subject.box, found.event.object.box
        width = subject[2] - subject[0]
        right = subject[0] + subject[2] >= object_[0] + object_[2]
        middle = object_[2] + 1.5 * width if right else object_[0] - 1.5 * width
        distance = abs(middle - width / 2 - object_[0])
        assert scores["person a width beside bicycle"] == pytest.approx(
            1 / (1 + math.exp((distance - 15) / 3)), abs=1e-5
        )
        assert scores["other direction: bicycle ride person"] == 0
        assert scores["boxes exchanged"] == pytest.approx(found.base_score, abs=1e-6)

    def test_json(self, prior: Engine, tmp_path: Path) -> None:
        clip = write(tmp_path / "ride.mkv", [plain(RIDING)] * 10)
        record = json.loads(json.dumps(explain_event(prior, clip).to_dict(), allow_nan=False))
        assert record["schema"] == "vinfer.explanation/1"
        assert record["heat_map"] is None
        assert record["scores"][0]["score"] is None


class TestChoice:
    def test_by_number_id_and_event(self, looking: Engine, lit_clip: Path) -> None:
        traced = trace_events(looking, lit_clip)
        first, second = traced.summary.events
        for wanted in (2, second.event_id, second):
            assert choose_event(traced, wanted) == second
        assert choose_event(traced) == first  # the better one
        coarse = OcclusionSettings(patches=1, steps=1)
        assert explain_event(looking, lit_clip, 2, settings=coarse).event == second

    def test_unknown(self, looking: Engine, lit_clip: Path) -> None:
        traced = trace_events(looking, lit_clip)
        for wanted in (0, 3, "nope", "0123456789abcdef"):
            with pytest.raises(ConfigError, match=rf"no event {wanted}, expected .* 1 to 2") as got:
                choose_event(traced, wanted)
            assert all(event.event_id in str(got.value) for event in traced.summary.events)

    def test_no_events(self, looking: Engine, tmp_path: Path) -> None:
        clip = write(tmp_path / "dark.mkv", [lit(10)] * 5)
        with pytest.raises(ConfigError, match="no event was found in 5 frames"):
            explain_event(looking, clip)

    @pytest.mark.parametrize("source", ["camera:0", "rtsp://user:secret@host/live"])
    def test_live(self, looking: Engine, source: str) -> None:
        with pytest.raises(UnsupportedSourceError, match="second time") as got:
            explain_event(looking, source)
        assert "secret" not in str(got.value)

    def test_a_source_that_has_changed(
        self, looking: Engine, lit_clip: Path, tmp_path: Path
    ) -> None:
        traced = trace_events(looking, lit_clip)
        events, trace = traced.summary.events, traced.history.trace
        other = write(tmp_path / "other.mkv", [lit(30)] * len(GREENS))
        short = write(tmp_path / "short.mkv", [lit(200)] * 3)
        for changed in (other, short):
            with pytest.raises(SourceError, match="is not what it was"):
                list(explain_events(looking, changed, events, trace))
