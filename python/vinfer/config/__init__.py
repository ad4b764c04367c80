"""One configuration for a run: what is read, what counts as object and event, what is written."""

from vinfer.config.settings import (
    Config,
    DetectSettings,
    EventSettings,
    OutputSettings,
    PredicateSettings,
    RelationSettings,
    ShotSettings,
    SourceSettings,
    TrackSettings,
    config_hash,
    config_json_schema,
    load_config,
)

__all__ = [
    "Config",
    "DetectSettings",
    "EventSettings",
    "OutputSettings",
    "PredicateSettings",
    "RelationSettings",
    "ShotSettings",
    "SourceSettings",
    "TrackSettings",
    "config_hash",
    "config_json_schema",
    "load_config",
]
