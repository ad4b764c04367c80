"""What `vinfer train relations` does, as a YAML file says it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
import yaml

from vinfer.errors import ConfigError
from vinfer.training.batch_plan import BatchSettings, Sampling
from vinfer.training.coco_relations import load_coco_relations
from vinfer.training.open_images import PREDICATES, load_open_images
from vinfer.training.relation_data import RelationData
from vinfer.training.relation_network import Embedding, Head, NetworkConfig
from vinfer.training.sprites import make_clip_frames, make_sprite_data
from vinfer.training.vrd import load_vrd

_Count = Annotated[int, pydantic.Field(ge=1)]
_Seed = Annotated[int, pydantic.Field(ge=0)]
_Positive = Annotated[float, pydantic.Field(gt=0)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Source(_Section):
    is_sprites: ClassVar[bool] = False
    """Whether it is of the synthetic pictures' vocabulary, for which there are clips."""

    def fewer(self, train_pictures: int) -> Self:
        """The same with about so many training pictures where they are made; files stay whole."""
        return self


class SpritesSource(_Source):
    """Synthetic pictures (docs/sprites.md); the seeds keep training and validation apart."""

    is_sprites: ClassVar[bool] = True
    kind: Literal["sprites"] = "sprites"
    train_pictures: _Count = 3000
    validation_pictures: _Count = 500
    train_seed: _Seed = 1
    validation_seed: _Seed = 1001

    def fewer(self, train_pictures: int) -> Self:
        """The first training pictures only."""
        return self.model_copy(update={"train_pictures": min(self.train_pictures, train_pictures)})

    def load(self) -> tuple[RelationData, RelationData]:
        """Training and validation."""
        return (
            make_sprite_data(self.train_pictures, self.train_seed, keep=True),
            make_sprite_data(self.validation_pictures, self.validation_seed, keep=True),
        )


class SpriteClipsSource(_Source):
    """Frames of synthetic clips, boxes as a detector's (`sprites.make_clip_frames`).

    Clip k of a split has its seed + k; ``train_singles`` are single frames composed as stills,
    ``train_hard_clips`` are clips of what takes most examples. ``drop_percent`` is 0 where boxes
    are a detector's. ``video_colours`` is of the training pictures alone.
    """

    is_sprites: ClassVar[bool] = True
    kind: Literal["sprite_clips"] = "sprite_clips"
    train_clips: _Count = 1000
    train_singles: Annotated[int, pydantic.Field(ge=0)] = 0
    train_hard_clips: Annotated[int, pydantic.Field(ge=0)] = 0
    validation_clips: _Count = 100
    train_seed: _Seed = 100_001
    validation_seed: _Seed = 9001
    frames_per_clip: Annotated[int, pydantic.Field(ge=1, le=20)] = 4
    jitter: Annotated[int, pydantic.Field(ge=0, le=8)] = 1
    drop_percent: Annotated[int, pydantic.Field(ge=0, le=100)] = 5
    video_colours: bool = False

    def fewer(self, train_pictures: int) -> Self:
        """The first training clips only."""
        clips = -(-train_pictures // self.frames_per_clip)
        return self.model_copy(
            update={
                "train_clips": min(self.train_clips, clips),
                "train_singles": 0,
                "train_hard_clips": 0,
            }
        )

    def load(self) -> tuple[RelationData, RelationData]:
        """Training and validation."""
        training, validation = (
            make_clip_frames(
                clips,
                seed,
                num_singles=singles,
                num_hard_clips=hard_clips,
                frames_per_clip=self.frames_per_clip,
                jitter=self.jitter,
                drop_percent=self.drop_percent,
                video_colours=video_colours,
            )
            for clips, singles, hard_clips, seed, video_colours in (
                (
                    self.train_clips,
                    self.train_singles,
                    self.train_hard_clips,
                    self.train_seed,
                    self.video_colours,
                ),
                (self.validation_clips, 0, 0, self.validation_seed, False),
            )
        )
        return training, validation


class CocoSource(_Source):
    """COCO-style boxes with relations (`coco_relations.load_coco_relations`)."""

    kind: Literal["coco"] = "coco"
    train_annotations: Path
    train_relations: Path
    train_images: Path
    validation_annotations: Path
    validation_relations: Path
    validation_images: Path

    def load(self) -> tuple[RelationData, RelationData]:
        """Training and validation."""
        return (
            load_coco_relations(
                self.train_annotations, self.train_relations, images=self.train_images
            ),
            load_coco_relations(
                self.validation_annotations,
                self.validation_relations,
                images=self.validation_images,
            ),
        )


class OpenImagesSource(_Source):
    """Open Images V4 to V7 (`open_images.load_open_images`), one list of classes for both."""

    kind: Literal["open_images"] = "open_images"
    classes: Path
    train_relations: Path
    train_images: Path
    train_boxes: Path | None = None
    validation_relations: Path
    validation_images: Path
    validation_boxes: Path | None = None
    predicates: Annotated[tuple[str, ...], pydantic.Field(min_length=1)] = PREDICATES

    def load(self) -> tuple[RelationData, RelationData]:
        """Training and validation."""
        training, validation = (
            load_open_images(
                relations, self.classes, images, boxes=boxes, predicates=self.predicates
            )
            for relations, images, boxes in (
                (self.train_relations, self.train_images, self.train_boxes),
                (self.validation_relations, self.validation_images, self.validation_boxes),
            )
        )
        return training, validation


class VrdSource(_Source):
    """VRD's labels (`vrd.load_vrd`); not exhaustive, so `BatchSection.force_mining` is needed."""

    kind: Literal["vrd"] = "vrd"
    train_annotations: Path
    train_images: Path
    validation_annotations: Path
    validation_images: Path

    def load(self) -> tuple[RelationData, RelationData]:
        """Training and validation."""
        return (
            load_vrd(self.train_annotations, images=self.train_images),
            load_vrd(self.validation_annotations, images=self.validation_images),
        )


Source = SpritesSource | SpriteClipsSource | CocoSource | OpenImagesSource | VrdSource


class NetworkSection(_Section):
    """See `relation_network.NetworkConfig`; ``weights`` starts the trunk from a state dict."""

    trunk: str = "resnet18"
    weights: Path | None = None
    visual: bool = True
    coord: bool = True
    union_extent: _Positive | None = None
    embedding: bool = True
    filters: _Count = 512
    features: _Count = 512
    embedding_size: _Count = 64
    embedding_form: Embedding = "linear"
    head: Head = "sigmoid"

    def config(self, data: RelationData) -> NetworkConfig:
        """For this data's vocabularies."""
        fields = {f.name for f in dataclasses.fields(NetworkConfig)}
        chosen = {name: value for name, value in self if name in fields}
        return NetworkConfig(
            num_classes=len(data.classes), num_predicates=len(data.predicates), **chosen
        )


class BatchSection(_Section):
    """See `batch_plan.BatchSettings`."""

    pictures: _Count = 40
    max_pairs: Annotated[int, pydantic.Field(ge=2)] = 400
    least_positive_percent: Annotated[int, pydantic.Field(ge=1, le=50)] = 25
    sampling: Sampling = "mined"
    force_mining: bool = False
    hard_negatives: _Count = 1
    mirror: bool = False
    balanced: bool = False
    short_side: _Count = 480
    long_side: _Count = 960


class RelationTrainingConfig(_Section):
    """A whole training.

    Attributes:
        data, network, batches: see there.
        detector: name or path of a detection bundle whose boxes the training pictures get in place
            of the annotated ones (`detected_boxes`), so that its mistakes are mined as negatives.
        epochs: most epochs.
        patience: end when the validation mAP* has not risen for this many epochs; None: never.
        learning_rate: of Adam, falling to 0 along a cosine.
        weight_decay: of Adam.
        precision: "bfloat16" runs convolutions and products in it (autocast).
        ignored: predicates that mAP* leaves out.
        seed: of the weights and the batches.
        threads: of PyTorch; None: as many as the process may use.
        checkpoint_minutes: between checkpoints within an epoch.
    """

    data: Annotated[Source, pydantic.Field(discriminator="kind")]
    network: NetworkSection = NetworkSection()
    batches: BatchSection = BatchSection()
    detector: str | None = None
    epochs: _Count = 14
    patience: _Count | None = None
    learning_rate: _Positive = 2e-3
    weight_decay: Annotated[float, pydantic.Field(ge=0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    ignored: tuple[str, ...] = ("under",)
    seed: _Seed = 0
    threads: _Count | None = None
    checkpoint_minutes: _Positive = 5.0

    @pydantic.model_validator(mode="after")
    def _detector_can_find_what_is_annotated(self) -> Self:
        data = self.data
        if self.detector is not None and isinstance(data, SpriteClipsSource) and data.drop_percent:
            raise ValueError(
                f"drop_percent: found {data.drop_percent}, expected 0 with a detector: it finds "
                "what the annotations leave out, and its relations would pass for none"
            )
        return self

    def batch_settings(self) -> BatchSettings:
        """For `batches.RelationBatches`."""
        section = self.batches.model_dump()
        return BatchSettings(seed=self.seed, num_pictures=section.pop("pictures"), **section)


def read_training_config(path: Path) -> RelationTrainingConfig:
    """Read a YAML file.

    Raises:
        ConfigError: it can't be read, or a field is missing, unknown or out of range.
    """
    try:
        content: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}: can't be read as YAML: {exc}") from exc
    return parse_training_config(content, str(path))


def parse_training_config(content: Any, where: str = "config") -> RelationTrainingConfig:
    """Check what a YAML file holds.

    Raises:
        ConfigError: a field is missing, unknown or out of range; the message names it.
    """
    try:
        return RelationTrainingConfig.model_validate(content)
    except pydantic.ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}"
            for e in exc.errors(include_url=False)[:5]
        )
        raise ConfigError(f"{where}: {problems}") from exc
