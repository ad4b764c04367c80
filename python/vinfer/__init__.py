"""Who does what to what in your video.

`Engine` turns frames into events ``<subject, predicate, object>`` with a start and an end.
Everything public is listed in `__all__`; what needs more than numpy is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vinfer.errors import (
    BackendError,
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    ConfigError,
    DTypeError,
    InputError,
    InvalidBoxError,
    MissingDependencyError,
    ModelOutputError,
    OutputError,
    ProviderUnavailableError,
    ShapeError,
    SourceError,
    SourceNotFoundError,
    TrainingError,
    TruncatedSourceError,
    UnsupportedSourceError,
    VinferError,
)
from vinfer.types import (
    Detections,
    Event,
    Frame,
    FrameResult,
    Participant,
    Relations,
    RunSummary,
    StreamInfo,
)

if TYPE_CHECKING:
    from vinfer import ops
    from vinfer.bundles.bundle import Bundle
    from vinfer.config import Config, load_config
    from vinfer.delivery import Progress
    from vinfer.engine import Engine
    from vinfer.ort_library import ort_library_path
    from vinfer.report.annotate import AnnotatedVideo
    from vinfer.report.html import HtmlReport
    from vinfer.sources import open_source
    from vinfer.stores.jsonl import EventsJsonl, read_events
    from vinfer.stores.sql import SqlStore
    from vinfer.stores.vidvrd import VidvrdJson

__version__ = "0.1.0"

# Imported on first use: onnxruntime, PyAV, SQLAlchemy and pydantic cost a start-up that a caller
# who only wants the types should not pay.
_LAZY = {
    "AnnotatedVideo": "vinfer.report.annotate",
    "Bundle": "vinfer.bundles.bundle",
    "Config": "vinfer.config",
    "Engine": "vinfer.engine",
    "EventsJsonl": "vinfer.stores.jsonl",
    "HtmlReport": "vinfer.report.html",
    "Progress": "vinfer.delivery",
    "SqlStore": "vinfer.stores.sql",
    "VidvrdJson": "vinfer.stores.vidvrd",
    "load_config": "vinfer.config",
    "open_source": "vinfer.sources",
    "ops": "vinfer.ops",
    "ort_library_path": "vinfer.ort_library",
    "read_events": "vinfer.stores.jsonl",
}

__all__ = [
    "AnnotatedVideo",
    "BackendError",
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "BundleNotFoundError",
    "BundleSchemaError",
    "Config",
    "ConfigError",
    "DTypeError",
    "Detections",
    "Engine",
    "Event",
    "EventsJsonl",
    "Frame",
    "FrameResult",
    "HtmlReport",
    "InputError",
    "InvalidBoxError",
    "MissingDependencyError",
    "ModelOutputError",
    "OutputError",
    "Participant",
    "Progress",
    "ProviderUnavailableError",
    "Relations",
    "RunSummary",
    "ShapeError",
    "SourceError",
    "SourceNotFoundError",
    "SqlStore",
    "StreamInfo",
    "TrainingError",
    "TruncatedSourceError",
    "UnsupportedSourceError",
    "VidvrdJson",
    "VinferError",
    "load_config",
    "open_source",
    "ops",
    "ort_library_path",
    "read_events",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vinfer' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if name == "ops" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
