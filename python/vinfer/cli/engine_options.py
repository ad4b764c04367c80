"""The options that say what runs and how, the same for each verb that makes an engine."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vinfer.config import Config


class Provider(enum.StrEnum):
    """What runs the graphs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Backend(enum.StrEnum):
    """What runs the graphs on the CPU."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    AUTO = "auto"


SOURCE_HELP = (
    "Video file, image, folder or quoted pattern of images, rtsp:// or http:// URL, or camera:0."
)
BundleOption = Annotated[
    str | None,
    typer.Option(help="Relation bundle, name or path.", show_default="relation-prior"),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(help="Detector bundle, name or path.", show_default="the relation bundle's"),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; options here win over it.")
]
ProviderOption = Annotated[
    Provider | None, typer.Option(help="What runs the models.", show_default="auto")
]
BackendOption = Annotated[
    Backend | None,
    typer.Option(
        help="What runs them on the CPU; auto measures once which is faster.",
        show_default="onnxruntime",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=0, help="CPU threads; 0: all cores.", show_default="0")
]
StrideOption = Annotated[
    int | None, typer.Option(min=1, help="Take every n-th frame.", show_default="1")
]
ConfOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Least score of a detection.", show_default="the bundle's"),
]
PredicatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--predicates",
        "-p",
        help="Report these only: ride,on or one a -p.",
        show_default="all of the bundle",
    ),
]


def engine_config(
    path: Path | None,
    *,
    bundle: str | None,
    detector: str | None,
    provider: Provider | None,
    backend: Backend | None,
    threads: int | None,
    stride: int | None,
    conf: float | None,
    predicates: list[str] | None,
    **others: Any,
) -> Config:
    """The configuration of a file with the options on top.

    Args:
        path: the file, or None.
        others: values by dotted key with ``__`` for the dot, None where not given.

    Raises:
        ConfigError: as `load_config`.
    """
    from vinfer.config import load_config  # slow to import, and --help needs none of it

    given: dict[str, Any] = {
        "bundle": bundle,
        "detector": detector,
        "provider": None if provider is None else provider.value,
        "backend": None if backend is None else backend.value,
        "threads": threads,
        "source.stride": stride,
        "detect.score_threshold": conf,
        "events.only": _split(predicates),
        **{key.replace("__", "."): value for key, value in others.items()},
    }
    return load_config(path, {key: value for key, value in given.items() if value is not None})


def _split(names: list[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [name.strip() for part in names for name in part.split(",") if name.strip()]
