"""The settings, each with its range and default, and what is made of them.

docs/configuration.md lists every key; `config_json_schema` publishes them for editors.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from vinfer.bundles.manifest import EventThresholds
from vinfer.config.yaml_file import KeyPath, read_config_file
from vinfer.errors import ConfigError

Score = Annotated[float, pydantic.Field(ge=0, le=1)]
Seconds = Annotated[float, pydantic.Field(ge=0)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SourceSettings(_Section):
    """Which frames are read."""

    stride: Annotated[int, pydantic.Field(ge=1)] = 1
    """Take every n-th frame."""
    start: Seconds = 0.0
    """Stream time at which to begin, seconds."""
    duration: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Stream time to read, seconds; default: to the end."""
    rate: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Images a second that a folder, pattern or single image stands for; videos have their own."""


class DetectSettings(_Section):
    """What counts as an object; a value left out is the detector bundle's."""

    score_threshold: Score | None = None
    """Least score of a detection."""
    iou_threshold: Score | None = None
    """Overlap above which the weaker of two boxes of a class goes."""
    max_detections: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Most objects kept a frame."""


class TrackSettings(_Section):
    """How objects are followed from frame to frame."""

    activation: Score = 0.5
    """Score from which an object that no track explains starts one; weaker ones continue tracks."""
    min_frames: Annotated[int, pydantic.Field(ge=2)] = 2
    """Frames in a row in which an object must be seen before it has a track."""
    lost_seconds: Annotated[float, pydantic.Field(ge=0, lt=3600)] = 1.0
    """How long an object that is not seen keeps its track, seconds of stream time."""
    min_iou: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.1
    """Overlap of the expected and the found box from which they can be the same object."""


class ShotSettings(_Section):
    """Shot cuts: a cut ends every track and every event."""

    enabled: bool = True
    """Look for cuts; switch off for a camera that never cuts."""
    floor: Annotated[float, pydantic.Field(gt=0, lt=2)] = 0.35
    """Least difference of two pictures at a cut: 0 for one scene, about 1 for unrelated ones."""
    ratio: Annotated[float, pydantic.Field(ge=1)] = 3.0
    """How many times the shot's own recent motion a cut must exceed."""


class RelationSettings(_Section):
    """Which candidate relations reach the events."""

    min_score: Score = 0.05
    """Least score of a relation in a frame's result."""


class PredicateSettings(_Section):
    """Thresholds of one predicate; a value left out is the bundle's."""

    on: Score | None = None
    """Score from which an event opens."""
    off: Score | None = None
    """Score below which it closes; at most ``on``."""
    min_peak: Score | None = None
    """Events whose best score is lower are not reported."""
    min_duration: Seconds | None = None
    """Shorter events are not reported, seconds."""
    merge_gap: Seconds | None = None
    """Runs this close become one event, seconds."""
    max_missing: Seconds | None = None
    """How long subject or object may be unseen within an event, seconds."""


class EventSettings(_Section):
    """When relations become events."""

    update_interval: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Stream time between two ``update`` records of an event that goes on, seconds."""
    only: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] | None = None
    """Report these predicates only; default: all that the bundle has thresholds for."""
    predicates: dict[str, PredicateSettings] = {}
    """Thresholds by predicate that replace the bundle's."""

    @pydantic.field_validator("only")
    @classmethod
    def _as_a_set(cls, only: tuple[str, ...] | None) -> tuple[str, ...] | None:
        # The order has no meaning; one form keeps config_hash the same.
        return None if only is None else tuple(sorted(set(only)))

    def thresholds(
        self, predicates: Sequence[str], shipped: Mapping[str, EventThresholds]
    ) -> dict[str, EventThresholds]:
        """The thresholds of every predicate that may become an event.

        A predicate that the bundle scores but does not report becomes an event when it is in
        ``self.predicates``, with `EventThresholds`' defaults for what is left out there.

        Args:
            predicates: all that the bundle scores.
            shipped: the bundle's own thresholds, by predicate.

        Raises:
            ConfigError: the bundle knows no such predicate, has no thresholds for one in ``only``,
                or ``on`` is below ``off``.
        """
        for key, names in (("only", self.only or ()), ("predicates", self.predicates)):
            for name in names:
                if name not in predicates:
                    raise ConfigError(
                        f"events.{key}: the bundle has no predicate {name!r}"
                        + _suggestion(name, predicates)
                    )
        merged = dict(shipped)
        for name, override in self.predicates.items():
            values = merged.get(name, EventThresholds()).model_dump()
            values |= override.model_dump(exclude_none=True)
            try:
                merged[name] = EventThresholds.model_validate(values)
            except pydantic.ValidationError as exc:
                reason = exc.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"events.predicates.{name}: {reason}; set both") from exc
        if self.only is None:
            return merged
        for name in self.only:
            if name not in merged:
                raise ConfigError(
                    f"events.only: the bundle scores {name!r} but has no event thresholds for it; "
                    f"set them in events.predicates.{name}, or leave it out"
                )
        return {name: merged[name] for name in self.only}


class OutputSettings(_Section):
    """What `vinfer run` writes into its output folder."""

    jsonl: bool = True
    """``events.jsonl``, one record a line as events happen."""
    vidvrd: bool = True
    """``events.vidvrd.json`` for public evaluators."""
    sqlite: bool = True
    """``events.sqlite``, the event store."""
    database: pydantic.SecretStr | None = None
    """URL of a database that is written besides, such as ``postgresql+psycopg://user@host/name``."""
    video: bool = True
    """``annotated.mp4``."""
    report: bool = True
    """``report.html``, one page that needs nothing else."""
    explain: Annotated[int, pydantic.Field(ge=0)] = 0
    """Explain so many of the best events in the report; the source is read a second time."""

    @pydantic.model_validator(mode="after")
    def _explained_in_the_report(self) -> OutputSettings:
        if self.explain and not self.report:
            raise ValueError("a report, as explain adds to it: leave out one or the other")
        return self


class Config(_Section):
    """Everything that a run can be told."""

    bundle: str = "relation-prior"
    """Relation bundle: a name or a path."""
    detector: str | None = None
    """Detector bundle: a name or a path; default: the one the relation bundle names."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """What runs the graphs; ``auto`` takes CUDA where it works, else the CPU."""
    backend: Literal["onnxruntime", "openvino", "auto"] = "onnxruntime"
    """What runs them on the CPU; ``auto`` measures once which is faster (docs/backends.md)."""
    threads: Annotated[int, pydantic.Field(ge=0)] = 0
    """CPU threads; 0: all cores that this process may use."""
    source: SourceSettings = SourceSettings()
    detect: DetectSettings = DetectSettings()
    track: TrackSettings = TrackSettings()
    shots: ShotSettings = ShotSettings()
    relations: RelationSettings = RelationSettings()
    events: EventSettings = EventSettings()
    outputs: OutputSettings = OutputSettings()


# These change where or how fast the result is made, never the result. The bundles, the provider and
# the backend that really ran are hashed by what they are, not by what they were called.
_NOT_DECISIVE = {"bundle", "detector", "provider", "backend", "threads", "outputs"}


def config_hash(config: Config, digests: Mapping[str, str]) -> str:
    """16 hexadecimal digits of everything that decides the result of a run.

    Outputs, threads and the names of bundles are left out; vinfer's version is not part of it, so
    that two versions can be compared under one configuration (it stands in the run's record).

    Args:
        config: the configuration.
        digests: what ran: the digest of each bundle, providers and backends, by any fixed names.
    """
    decisive = config.model_dump(mode="json", exclude=_NOT_DECISIVE)
    text = json.dumps(
        {"config": decisive, "digests": dict(digests)},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_config(
    path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read a configuration.

    Args:
        path: a YAML file (docs/configuration.md); None for the defaults.
        overrides: values that win over the file's, by dotted key, such as
            ``{"detect.score_threshold": 0.4}``.
        environment: variables for ``${NAME}``; None for those of this process.

    Raises:
        ConfigError: the file can't be read, a key is unknown or a value is out of range; the
            message names every such key with its line.
    """
    values: dict[str, Any] = {}
    lines: dict[KeyPath, int] = {}
    if path is not None:
        values, lines = read_config_file(Path(path), environment)
    given = {tuple(key.split(".")): value for key, value in (overrides or {}).items()}
    for key, value in given.items():
        section = values
        for part in key[:-1]:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigError(
                    f"{'.'.join(key)}: found {section!r} for {part} in {path}, expected a section"
                )
        section[key[-1]] = value
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as exc:
        problems = []
        for error in exc.errors(include_url=False):
            key = tuple(map(str, error["loc"]))
            line = 0 if key in given else _line(lines, key)
            where = f"{path} line {line}: " if line else ""
            problems.append((line, where + _problem(key, error)))
        raise ConfigError("\n".join(text for _, text in sorted(problems))) from exc


def config_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file, for editors and checkers."""
    schema = Config.model_json_schema(schema_generator=_FileSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "vinfer configuration"}


class _FileSchema(GenerateJsonSchema):
    """In a file every number or truth value may also be ``${NAME}``."""

    def int_schema(self, schema: Any) -> JsonSchemaValue:
        return self._or_variable(super().int_schema(schema))

    def float_schema(self, schema: Any) -> JsonSchemaValue:
        return self._or_variable(super().float_schema(schema))

    def bool_schema(self, schema: Any) -> JsonSchemaValue:
        return self._or_variable(super().bool_schema(schema))

    @staticmethod
    def _or_variable(schema: JsonSchemaValue) -> JsonSchemaValue:
        return {"anyOf": [schema, {"type": "string", "pattern": r"\$\{"}]}


def _line(lines: Mapping[KeyPath, int], key: KeyPath) -> int:
    """The line of the key or of the nearest section around it; 0 where none is known."""
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key, 0)


def _problem(key: KeyPath, error: Any) -> str:
    dotted = ".".join(key)
    if error["type"] == "extra_forbidden":
        return f"unknown key {dotted}{_nearest_key(key)}"
    if error["type"] in {"model_type", "dict_type"}:
        return f"{dotted}: found {error['input']!r}, expected a section with keys of its own"
    # A list's and a union's location end in an index or a type name that is not a key.
    expected = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{dotted}: found {error['input']!r}, expected {expected}"


def _nearest_key(key: KeyPath) -> str:
    section = _section_at(key[:-1])
    prefix = ".".join(key[:-1])
    known = [f"{prefix}.{name}" if prefix else name for name in section.model_fields]
    everywhere = [dotted for dotted in _dotted_keys(Config) if dotted.split(".")[-1] == key[-1]]
    close = difflib.get_close_matches(key[-1], list(section.model_fields), n=1)
    if close:
        return f"; did you mean {prefix + '.' if prefix else ''}{close[0]}?"
    if everywhere:
        return f"; did you mean {everywhere[0]}?"
    return f"; known here: {', '.join(known)}"


def _section_at(path: KeyPath) -> type[_Section]:
    current: Any = Config
    for part in path:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            current = current.model_fields[part].annotation
    result: type[_Section] = current
    return result


def _dotted_keys(section: type[_Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, _Section):
            yield from _dotted_keys(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
