"""Configuration: what is accepted, what is refused and in which words, what the hash covers."""

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pydantic
import pytest
import yaml

import vinfer.config
from vinfer.bundles.manifest import EventThresholds
from vinfer.config import (
    Config,
    EventSettings,
    PredicateSettings,
    config_hash,
    config_json_schema,
    load_config,
)
from vinfer.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "vinfer.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def refused(path: Path, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment=environment)
    return str(caught.value).replace(str(path.parent) + "/", "")


def test_no_file_an_empty_file_and_empty_sections_are_the_defaults(write: Write) -> None:
    assert load_config() == Config()
    assert load_config(write("")) == Config()
    assert load_config(write("# only a comment\n")) == Config()
    assert load_config(write("detect:\n  # score_threshold: 0.3\nthreads:\n")) == Config()


def test_a_full_file(write: Write) -> None:
    config = load_config(
        write("""
        bundle: relation-prior
        provider: cpu
        threads: 2
        source: {stride: 2, start: 1.5, duration: 10}
        detect: {score_threshold: 0.4}
        events:
          only: [wear, ride, ride]
          predicates:
            ride: {on: 0.7, off: 0.5, min_duration: 1}
        outputs:
          video: false
          database: postgresql://me:secret@host/events
        """)
    )
    assert (config.threads, config.source.stride, config.source.start) == (2, 2, 1.5)
    assert config.events.only == ("ride", "wear")
    assert config.events.predicates["ride"].on == 0.7
    assert config.outputs.video is False
    assert config.outputs.database is not None
    assert config.outputs.database.get_secret_value().endswith("secret@host/events")


def test_a_database_password_is_in_no_dump() -> None:
    config = load_config(overrides={"outputs.database": "postgresql://me:secret@host/events"})
    assert "secret" not in repr(config) + json.dumps(config.model_dump(mode="json"))


def test_on_and_off_are_keys_not_booleans(write: Write) -> None:
    """YAML 1.1 reads a plain `on` as true: {True: 0.8} would be refused or, worse, lost."""
    text = "events: {predicates: {ride: {on: 0.8, off: 0.5}}}\n"
    assert list(yaml.safe_load(text)["events"]["predicates"]["ride"]) == [True, False]
    ride = load_config(write(text)).events.predicates["ride"]
    assert (ride.on, ride.off) == (0.8, 0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-1", 0.1),
        ("1", 1.0),
        (".5", 0.5),
        ("'0.5'", 0.5),
        ("0x1", "expected a valid number"),
        ("0:30", "expected a valid number"),
        (".inf", "expected a finite number"),
        ("yes", "expected a valid number"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(write: Write, text: str, expected: float | str) -> None:
    path = write(f"detect: {{score_threshold: {text}}}")
    if isinstance(expected, float):
        assert load_config(path).detect.score_threshold == expected
    else:
        assert expected in refused(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "detect:\n  score_treshold: 0.4\n",
            "vinfer.yaml line 2: unknown key detect.score_treshold; "
            "did you mean detect.score_threshold?",
        ),
        ("thread: 2\n", "vinfer.yaml line 1: unknown key thread; did you mean threads?"),
        (
            "stride: 2\n",
            "vinfer.yaml line 1: unknown key stride; did you mean source.stride?",
        ),
        (
            "events:\n  predicates:\n    ride:\n      minduration: 1\n",
            "vinfer.yaml line 4: unknown key events.predicates.ride.minduration; "
            "did you mean events.predicates.ride.min_duration?",
        ),
        (
            "shots: {zzz: 1}\n",
            "vinfer.yaml line 1: unknown key shots.zzz; "
            "known here: shots.enabled, shots.floor, shots.ratio",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(write: Write, text: str, message: str) -> None:
    assert refused(write(text)) == message


def test_every_problem_is_named_in_the_order_of_the_file(write: Write) -> None:
    message = refused(write("threads: -1\ndetect: 3\nprovider: gpu\nshots: {enabled: maybe}\n"))
    lines = message.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"vinfer.yaml line {i}" for i in (1, 2, 3, 4)]
    assert lines[0].endswith("threads: found -1, expected greater than or equal to 0")
    assert lines[1].endswith("detect: found 3, expected a section with keys of its own")
    assert lines[2].endswith("provider: found 'gpu', expected 'auto', 'cpu' or 'cuda'")
    assert "shots.enabled: found 'maybe', expected a valid boolean" in lines[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "found a list at the top, expected a mapping"),
        ("just text", "found a str at the top, expected a mapping"),
        ("threads: 1\nthreads: 2\n", "line 2: threads stands twice, first in line 1; keep one"),
        ("detect:\n  a: 1\n  a: 2\n", "line 3: detect.a stands twice, first in line 2"),
        ("1: 2\n", "line 1: found the key 1, expected text"),
        ("a: [1\nb: 2\n", "line 2, column 2: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "unknown key a"),
        ("threads: !!python/name:os.getcwd\n", "line 1, column 10: not valid YAML"),
        ("a: &a [*a]\n", "16 levels after expanding aliases"),
        ("a: 1\n---\nb: 1\n", "not valid YAML"),
    ],
)
def test_what_is_no_configuration_is_refused(write: Write, text: str, message: str) -> None:
    assert message in refused(write(text))


def test_a_bomb_of_aliases_is_refused_quickly(write: Write) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    assert "more than 20000 values" in refused(write("\n".join(levels)))


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at .*none\.yaml"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="can't read the configuration"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"bundle: caf\xe9\n")
    with pytest.raises(ConfigError, match="can't read the configuration"):
        load_config(tmp_path / "latin.yaml")


class TestEnvironment:
    def test_values_get_their_type(self, write: Write) -> None:
        path = write("""
            threads: ${THREADS}
            bundle: ${HOME_OF_BUNDLES}/mine.vinfer
            detect: {score_threshold: "${SCORE:-0.25}"}
            outputs:
              video: ${VIDEO:-false}
        """)
        config = load_config(path, environment={"THREADS": "3", "HOME_OF_BUNDLES": "/b"})
        assert (config.threads, config.bundle) == (3, "/b/mine.vinfer")
        assert config.detect.score_threshold == 0.25
        assert config.outputs.video is False

    def test_the_default_stands_in_for_unset_and_empty(self, write: Write) -> None:
        path = write("bundle: ${NAME:-plain}")
        assert load_config(path, environment={}).bundle == "plain"
        assert load_config(path, environment={"NAME": ""}).bundle == "plain"
        assert load_config(path, environment={"NAME": "x"}).bundle == "x"

    def test_a_value_that_becomes_empty_is_the_default_of_the_key(self, write: Write) -> None:
        path = write("threads: ${NAME}\noutputs:\n  database: ${URL:-}\n")
        assert load_config(path, environment={"NAME": ""}) == Config()

    def test_a_missing_variable_is_named_with_its_key(self, write: Write) -> None:
        message = refused(write("detect:\n  score_threshold: ${SCORE}\n"))
        assert message.startswith(
            "vinfer.yaml line 2: detect.score_threshold needs the environment"
        )
        assert "variable SCORE, which is not set" in message
        assert "${SCORE:-default}" in message

    def test_two_dollars_escape(self, write: Write) -> None:
        assert load_config(write("bundle: a$${B}c$d"), environment={}).bundle == "a${B}c$d"

    @pytest.mark.parametrize("text", ["${", "${1A}", "${A", "${A:?}", "${}"])
    def test_other_forms_are_refused(self, write: Write, text: str) -> None:
        assert "expected ${NAME} or ${NAME:-default}" in refused(write(f"bundle: '{text}'"), A="1")

    def test_a_variable_can_not_add_keys_or_be_expanded_again(self, write: Write) -> None:
        nasty = "x\nthreads: 9\nprovider: cuda # ${B}"
        config = load_config(write("bundle: ${A}"), environment={"A": nasty, "B": "b"})
        assert config == Config(bundle=nasty)

    def test_variables_of_the_process_are_used(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VINFER_TEST_THREADS", "5")
        assert load_config(write("threads: ${VINFER_TEST_THREADS}")).threads == 5


class TestOverrides:
    def test_they_win_over_the_file(self, write: Write) -> None:
        path = write("threads: 1\nsource: {stride: 2, start: 3}\n")
        config = load_config(path, {"source.stride": 5, "detect.score_threshold": 0.5})
        assert (config.threads, config.source.stride, config.source.start) == (1, 5, 3.0)
        assert config.detect.score_threshold == 0.5

    def test_their_errors_name_no_line(self, write: Write) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(write("threads: 1\n"), {"threads": -1, "source.strid": 1})
        assert str(caught.value).splitlines() == [
            "threads: found -1, expected greater than or equal to 0",
            "unknown key source.strid; did you mean source.stride?",
        ]

    def test_a_section_that_is_none(self, write: Write) -> None:
        with pytest.raises(ConfigError, match=r"source\.stride: found 3 for source"):
            load_config(write("source: 3\n"), {"source.stride": 1})


class TestHash:
    def test_it_is_stable_across_processes_and_machines(self) -> None:
        """A known value: a change here changes the identity of every run ever recorded."""
        assert config_hash(Config(), {"bundle": "0" * 64}) == KNOWN_HASH

    @pytest.mark.parametrize(
        "overrides",
        [
            {"threads": 3},
            {"provider": "cpu"},
            {"backend": "openvino"},
            {"bundle": "other"},
            {"detector": "other"},
            {"outputs.video": False, "outputs.database": "sqlite:///x"},
        ],
    )
    def test_what_does_not_decide_is_left_out(self, overrides: dict[str, Any]) -> None:
        assert config_hash(load_config(overrides=overrides), {}) == config_hash(Config(), {})

    def test_every_other_key_decides(self) -> None:
        changed = {
            "source.stride": 2,
            "source.start": 1,
            "source.duration": 5,
            "source.rate": 10,
            "detect.score_threshold": 0.1,
            "detect.iou_threshold": 0.1,
            "detect.max_detections": 7,
            "track.activation": 0.123,
            "track.min_iou": 0.3,
            "track.lost_seconds": 7,
            "track.min_frames": 9,
            "shots.enabled": False,
            "shots.floor": 0.123,
            "shots.ratio": 5,
            "relations.min_score": 0.123,
            "events.update_interval": 9,
            "events.only": ["ride"],
            "events.predicates": {"ride": {"on": 0.9}},
        }
        sections = set(Config.model_fields) - {
            "bundle",
            "detector",
            "provider",
            "backend",
            "threads",
            "outputs",
        }
        keys = {
            f"{section}.{name}"
            for section in sections
            for name in type(getattr(Config(), section)).model_fields
        }
        assert keys == set(changed), "a new key needs a line here"
        hashes = {config_hash(load_config(overrides={k: v}), {}) for k, v in changed.items()}
        assert len(hashes | {config_hash(Config(), {})}) == len(changed) + 1

    def test_what_ran_decides(self) -> None:
        assert config_hash(Config(), {"bundle": "a"}) != config_hash(Config(), {"bundle": "b"})
        assert config_hash(Config(), {"a": "x", "b": "y"}) == config_hash(
            Config(), {"b": "y", "a": "x"}
        )

    def test_notation_does_not_matter(self, write: Write) -> None:
        one = load_config(write("events: {only: [b, a]}\nsource: {start: 1}"))
        other = load_config(write("source: {start: 1.0}\nevents: {only: [a, b, a]}"))
        assert config_hash(one, {}) == config_hash(other, {})


class TestThresholds:
    SHIPPED: ClassVar = {"ride": EventThresholds(on=0.8, off=0.5), "wear": EventThresholds()}
    PREDICATES = ("ride", "wear", "near")

    def settings(self, **values: Any) -> EventSettings:
        return EventSettings.model_validate(values)

    def test_without_settings_they_are_the_bundles(self) -> None:
        assert EventSettings().thresholds(self.PREDICATES, self.SHIPPED) == self.SHIPPED

    def test_an_override_keeps_what_it_leaves_out(self) -> None:
        settings = self.settings(predicates={"ride": {"on": 0.9}, "near": {"min_duration": 2}})
        merged = settings.thresholds(self.PREDICATES, self.SHIPPED)
        assert merged["ride"] == EventThresholds(on=0.9, off=0.5)
        assert merged["near"] == EventThresholds(min_duration=2)
        assert merged["wear"] == self.SHIPPED["wear"]

    def test_only_selects(self) -> None:
        assert list(self.settings(only=["wear"]).thresholds(self.PREDICATES, self.SHIPPED)) == [
            "wear"
        ]

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                {"only": ["rode"]},
                "events.only: the bundle has no predicate 'rode'; did you mean 'ride'?",
            ),
            ({"predicates": {"fly": {}}}, "'fly'; known: ride, wear, near"),
            ({"only": ["near"]}, "scores 'near' but has no event thresholds"),
            (
                {"predicates": {"ride": {"on": 0.3}}},
                "events.predicates.ride: on (0.3) must not be below off (0.5); set both",
            ),
        ],
    )
    def test_what_can_not_be_is_refused(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.settings(**values).thresholds(self.PREDICATES, self.SHIPPED)
        assert message in str(caught.value)

    def test_only_must_name_something(self) -> None:
        with pytest.raises(ConfigError, match=r"events\.only"):
            load_config(overrides={"events.only": []})


class TestManual:
    def rows(self) -> list[str]:
        """The table of keys in docs/configuration.md, as the code has it."""
        return list(_rows(Config))

    def test_it_lists_every_key_with_its_default(self) -> None:
        manual = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
        table = [line for line in manual.read_text().splitlines() if line.startswith("| `")]
        assert table == self.rows()


def _rows(section: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        default, kind = field.default, field.annotation
        if name == "predicates":
            prefix, kind = f"{prefix}predicates.", PredicateSettings
            name = "NAME"
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
            continue
        if default is None:
            text = "the bundle's" if "NAME" in prefix else "—"
        elif isinstance(default, bool):
            text = "yes" if default else "no"
        else:
            text = default if isinstance(default, str) else f"{default:g}"
        meaning = (field.description or "").replace("``", "`")
        yield f"| `{prefix}{name}` | {text} | {meaning} |"


class TestSchema:
    def test_the_published_file_is_the_one_of_the_code(self) -> None:
        published = Path(vinfer.config.__file__).with_name("config.schema.json")
        assert published.read_text() == json.dumps(config_json_schema(), indent=2) + "\n", (
            "write json.dumps(config_json_schema(), indent=2) and a newline to config.schema.json"
        )

    def test_it_accepts_and_refuses_what_load_config_does(self) -> None:
        schema = config_json_schema()
        validator = jsonschema.Draft202012Validator(schema)
        jsonschema.Draft202012Validator.check_schema(schema)
        good = {
            "threads": "${N:-2}",
            "detect": {"score_threshold": 0.5},
            "shots": {"enabled": True},
        }
        assert validator.is_valid(good)
        assert not validator.is_valid({"thread": 2})
        assert not validator.is_valid({"detect": {"score_threshold": 2}})
        assert not validator.is_valid({"threads": "two"})

    def test_every_key_is_described(self) -> None:
        schema = config_json_schema()
        sections = [schema, *schema["$defs"].values()]
        for section in sections:
            for name, key in section["properties"].items():
                assert "description" in key or "$ref" in key, name


KNOWN_HASH = "c9fa745ac320f2f9"
