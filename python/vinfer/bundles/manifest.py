"""`manifest.json` of a bundle: what the graph is, how to feed it and how to read it.

The manifest, never a model's name, decides how a graph is used: `Preprocess` says how a picture
becomes its input, `decode` how its outputs become boxes, `inputs` which array goes where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal, NoReturn

import pydantic

from vinfer.errors import BundleSchemaError

SCHEMA_FAMILY = "vinfer.bundle"
SCHEMA_VERSION = 1
SCHEMA = f"{SCHEMA_FAMILY}/{SCHEMA_VERSION}"

# Folder/file in plain ASCII, no part starting with a dot: the same name on every file system, and
# never a way out of the bundle.
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
FileName = Annotated[
    str, pydantic.Field(pattern=rf"^{_PART}(/{_PART})*$", min_length=1, max_length=200)
]

_Positive = Annotated[float, pydantic.Field(gt=0)]
_Count = Annotated[int, pydantic.Field(ge=1)]


def _must_hold(what: str, names: Collection[str], known: Collection[str], where: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{what}: found {unknown}, expected names from {where} {list(known)}")


def _must_differ(what: str, names: Collection[str]) -> None:
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise ValueError(f"{what}: found {twice} more than once, expected each name once")


class _Model(pydantic.BaseModel):
    # NaN compares false with every limit, so it would pass as a threshold; in `quality`, which
    # takes anything, pydantic would write it as null without a word unless told "constants".
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


class FileEntry(_Model):
    """One file of the bundle: its SHA-256 (hexadecimal) and size in bytes."""

    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, pydantic.Field(ge=0)]


class TensorSpec(_Model):
    """A graph input or output; ``shape`` holds numbers, names of free dimensions, or both."""

    name: str
    dtype: Literal["float32", "float16", "int64", "int32", "uint8"]
    shape: tuple[int | str, ...]


class Preprocess(_Model):
    """How a picture becomes the graph's input: what `vinfer.ops.letterbox` does.

    ``(x - mean) / std`` is applied to values 0..255, in the order of ``color``. ``pad_value`` is a
    pixel value (0..255), normalised like the picture. ``rounding``: how a padded picture's shorter
    side becomes whole pixels; a network finds most with the one that it was trained with.
    """

    size: tuple[_Count, _Count]
    mode: Literal["pad", "stretch"]
    align: Literal["center", "top_left"] = "center"
    rounding: Literal["nearest", "floor"] = "nearest"
    color: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)
    pad_value: float = 114.0


class PicturePreprocess(_Model):
    """How a picture of any size becomes a relation graph's ``images``: stretched, never padded.

    It is resized until its short side has ``short_side`` pixels, or its long side ``long_side``
    where that comes first, the aspect ratio kept but for whole pixels. ``(x - mean) / std`` is
    applied to values 0..255, RGB.
    """

    short_side: _Count
    long_side: _Count
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> PicturePreprocess:
        if self.long_side < self.short_side:
            raise ValueError(
                f"long_side ({self.long_side}) must not be below short_side ({self.short_side})"
            )
        return self


class BoxesScoresDecode(_Model):
    """Outputs are decoded already: ``boxes [N, a, 4]`` xyxy and ``scores [N, a, classes]``.

    ``normalized``: boxes are fractions of the network input rather than its pixels.
    """

    kind: Literal["boxes_scores"] = "boxes_scores"
    boxes: str
    scores: str
    normalized: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """Graph outputs that this decode reads."""
        return self.boxes, self.scores


class YoloxDecode(_Model):
    """One output ``[N, a, 5 + classes]``: centre offsets and log sizes in units of the stride,
    objectness and class probabilities (both already through a sigmoid); cells row by row, stride by
    stride (YOLOX, Ge et al. 2021, section 2.1)."""

    kind: Literal["yolox"] = "yolox"
    output: str
    strides: Annotated[tuple[_Count, ...], pydantic.Field(min_length=1)] = (8, 16, 32)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Graph outputs that this decode reads."""
        return (self.output,)


class Nms(_Model):
    """Greedy suppression: order (score descending, box index ascending); IoU > threshold goes."""

    score_threshold: Annotated[float, pydantic.Field(ge=0, le=1)]
    iou_threshold: Annotated[float, pydantic.Field(ge=0, le=1)]
    max_detections: Annotated[int, pydantic.Field(ge=1)] = 100
    class_agnostic: bool = False


class Provenance(_Model):
    """Where the weights come from and how the bundle was made."""

    source: str
    created_by: str
    trained_on: str
    notes: str = ""


class _Manifest(_Model):
    schema_: Annotated[str, pydantic.Field(alias="schema")] = SCHEMA
    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    version: Annotated[str, pydantic.Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$")]
    graph: FileName = "model.onnx"
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: dict[FileName, FileEntry]
    provenance: Provenance
    licence: str
    quality: dict[str, Any] = {}

    model_config = pydantic.ConfigDict(validate_by_name=True, validate_by_alias=True)

    @pydantic.model_validator(mode="after")
    def _tensors_differ(self) -> _Manifest:
        _must_differ("inputs", [tensor.name for tensor in self.inputs])
        _must_differ("outputs", [tensor.name for tensor in self.outputs])
        return self


class DetectionManifest(_Manifest):
    """A detector: a picture in, boxes with class scores out.

    ``labels[i]`` names score column i; ``category_ids[i]`` is its COCO category id, where it has
    one.
    """

    task: Literal["detection"] = "detection"
    labels: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    category_ids: tuple[int, ...] | None = None
    preprocess: Preprocess
    decode: Annotated[BoxesScoresDecode | YoloxDecode, pydantic.Field(discriminator="kind")]
    nms: Nms

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> DetectionManifest:
        outputs = [tensor.name for tensor in self.outputs]
        _must_hold("decode", self.decode.output_names, outputs, "outputs")
        if self.category_ids is not None and len(self.category_ids) != len(self.labels):
            raise ValueError(
                f"category_ids: found {len(self.category_ids)} ids, expected one for each of the "
                f"{len(self.labels)} labels"
            )
        return self


class EventThresholds(_Model):
    """When a predicate's score becomes an event (docs/events.md).

    ``on`` opens, below ``off`` closes, and an event whose best score is below ``min_peak`` is none;
    times are seconds of stream time.
    """

    on: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.6
    off: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.4
    min_peak: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    min_duration: Annotated[float, pydantic.Field(ge=0)] = 0.2
    merge_gap: Annotated[float, pydantic.Field(ge=0)] = 0.3
    max_missing: Annotated[float, pydantic.Field(ge=0)] = 0.3

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> EventThresholds:
        if self.on < self.off:
            raise ValueError(f"on ({self.on}) must not be below off ({self.off})")
        return self


RelationInputRole = Literal[
    "subject_labels",
    "object_labels",
    "subject_boxes",
    "object_boxes",
    "images",
    "boxes",
    "box_images",
    "labels",
    "pairs",
]
_Roles = tuple[RelationInputRole, ...]
PAIR_ROLES: _Roles = ("subject_labels", "object_labels", "subject_boxes", "object_boxes")
PICTURE_ROLES: _Roles = ("images", "boxes", "box_images", "labels", "pairs")

AllowedPrecision = Literal["float32", "bfloat16"]


class RelationManifest(_Manifest):
    """A relation model: pairs of objects in, one calibrated probability a predicate out.

    ``labels`` is the model's object vocabulary; ``aliases`` maps other names (a detector's) to it,
    an object whose class is in neither is not paired. ``input_roles`` says which array feeds which
    graph input. A model that does not see the picture has `PAIR_ROLES`:
    ``subject_labels``/``object_labels`` int64 ``[m]``, indices into ``labels``;
    ``subject_boxes``/``object_boxes`` float32 ``[m, 4]`` xyxy in pixels. One that does has
    `PICTURE_ROLES`, and ``picture`` says how it is resized: ``images`` float32 ``[N, 3, H, W]``;
    ``boxes`` float32 ``[n, 4]`` xyxy in pixels of the resized picture; ``box_images`` int64
    ``[n]``, the picture of each box; ``labels`` int64 ``[n]``; ``pairs`` int64 ``[m, 2]``, subject
    and object as indices into ``boxes``.

    ``scores`` names the output, float32 ``[m, predicates]`` in [0, 1]. ``events`` holds thresholds
    for the predicates that may become events: one that is absent is scored, never reported as an
    event. ``allowed_precisions``: those in which the model was measured to be good enough.
    """

    task: Literal["relations"] = "relations"
    labels: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    aliases: dict[str, str] = {}
    predicates: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    symmetric: tuple[str, ...] = ()
    input_roles: dict[RelationInputRole, str]
    picture: PicturePreprocess | None = None
    scores: str = "scores"
    detector: str
    events: dict[str, EventThresholds]
    allowed_precisions: tuple[AllowedPrecision, ...] = ("float32",)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> RelationManifest:
        inputs = [tensor.name for tensor in self.inputs]
        outputs = [tensor.name for tensor in self.outputs]
        _must_differ("labels", self.labels)
        _must_differ("predicates", self.predicates)
        _must_hold("aliases", self.aliases.values(), self.labels, "labels")
        _must_hold("symmetric", self.symmetric, self.predicates, "predicates")
        _must_hold("events", self.events, self.predicates, "predicates")
        _must_hold("input_roles", self.input_roles.values(), inputs, "inputs")
        _must_hold("scores", [self.scores], outputs, "outputs")
        self._check_roles()
        _must_differ("allowed_precisions", self.allowed_precisions)
        if "float32" not in self.allowed_precisions:
            raise ValueError(
                f"allowed_precisions: found {list(self.allowed_precisions)}, expected float32 "
                "among them: what others are measured against"
            )
        return self

    def _check_roles(self) -> None:
        if self.input_roles.keys() not in (set(PAIR_ROLES), set(PICTURE_ROLES)):
            raise ValueError(
                f"input_roles: found {sorted(self.input_roles)}, expected all of "
                f"{', '.join(PAIR_ROLES)}, or all of {', '.join(PICTURE_ROLES)} for a model that "
                "sees the picture"
            )
        sees = self.input_roles.keys() == set(PICTURE_ROLES)
        if sees and self.picture is None:
            raise ValueError(
                "picture: not there, expected how the picture is resized (short_side, long_side, "
                "mean, std), as input_roles has images"
            )
        if not sees and self.picture is not None:
            raise ValueError(
                "picture: found it with input_roles of pairs only, which take no picture; remove "
                "it or feed images"
            )

    @pydantic.model_serializer(mode="wrap")
    def _as_before(self, serialise: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where they say nothing: a bundle of pairs is the same bytes as before there were
        # others, and older versions still read it.
        fields: dict[str, Any] = serialise(self)
        if self.picture is None:
            fields.pop("picture", None)
        if self.allowed_precisions == ("float32",):
            fields.pop("allowed_precisions", None)
        return fields


Manifest = DetectionManifest | RelationManifest

_adapter: pydantic.TypeAdapter[Manifest] = pydantic.TypeAdapter(
    Annotated[Manifest, pydantic.Field(discriminator="task")]
)


def parse_manifest(text: str | bytes) -> Manifest:
    """Read a manifest.

    Args:
        text: the content of ``manifest.json``.

    Raises:
        BundleSchemaError: not JSON, another or newer schema, or a field that is missing, unknown or
            out of range; the message names the field.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise BundleSchemaError(f"manifest.json is not JSON: {exc}; pack the bundle again") from exc
    schema = data.get("schema") if isinstance(data, dict) else None
    version = re.fullmatch(rf"{re.escape(SCHEMA_FAMILY)}/([1-9][0-9]{{0,8}})", str(schema))
    if version is None:
        raise BundleSchemaError(
            f'manifest.json: found schema {str(schema)[:60]!r}, expected "{SCHEMA}"; '
            "this is not the manifest of a vinfer bundle"
        )
    if int(version[1]) > SCHEMA_VERSION:
        raise BundleSchemaError(
            f'manifest.json: found schema "{schema}", this vinfer reads up to "{SCHEMA}"; '
            "upgrade vinfer"
        )
    try:
        return _adapter.validate_python(data)
    except pydantic.ValidationError as exc:
        raise BundleSchemaError(f"manifest.json is not valid: {_problems(exc)}") from exc


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"found {name}, which JSON does not have")


def _problems(exc: pydantic.ValidationError, limit: int = 5) -> str:
    errors = exc.errors(include_url=False, include_input=False)
    shown = [f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in errors[:limit]]
    if len(errors) > limit:
        shown.append(f"and {len(errors) - limit} more")
    return "; ".join(shown)


def manifest_json(manifest: Manifest) -> str:
    """The text of ``manifest.json``, keys in a fixed order, ending in a newline.

    Raises:
        BundleSchemaError: ``quality`` holds something that JSON can't.
    """
    try:
        fields = manifest.model_dump(mode="json", by_alias=True)
        return json.dumps(fields, indent=1, allow_nan=False) + "\n"
    except ValueError as exc:
        raise BundleSchemaError(f"quality can't be written as JSON: {exc}") from exc
