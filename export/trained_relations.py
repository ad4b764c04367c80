"""A folder that `vinfer train relations` wrote as a bundle, thresholds of events included."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vinfer.backends import SessionOptions
from vinfer.bundles import (
    Bundle,
    EventThresholds,
    PicturePreprocess,
    default_bundle_dir,
    find_bundle,
)
from vinfer.export.relation_bundle import BundleText, checked_graph, pack_relation_graph
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.stages.resizing import resized_size
from vinfer.threads import usable_threads

if TYPE_CHECKING:
    from vinfer.training.batch_plan import BatchSettings
    from vinfer.training.relation_config import Source
    from vinfer.training.training_folder import TrainedRelations

THRESHOLD_CLIPS = 600
"""An hour of synthetic clips: what is false once in ten minutes has to be seen more than once."""

LEAST_PRECISION = 0.9
"""Of an event's threshold on validation pictures, where there are no clips."""

SPRITES_LICENCE = "Apache-2.0"

SPRITES_LIMITS = (
    "It knows flat shapes drawn by code, and nothing of photographs: it shows that relations which "
    "boxes and classes do not tell are found by looking, and is for no other use (docs/sprites.md)"
)

Progress = Callable[[str], None]


def export_trained_relations(
    folder: Path,
    *,
    name: str,
    detector: str,
    version: str = "1.0.0",
    licence: str | None = None,
    events: Mapping[str, EventThresholds] | None = None,
    num_clips: int = THRESHOLD_CLIPS,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Pack a finished training.

    Args:
        folder: that `vinfer train relations` wrote.
        name, version: of the bundle.
        detector: name of the bundle that it is to follow.
        licence: of the weights; default: of what they were trained on, where it is known.
        events: thresholds; default: chosen on synthetic clips for a network trained on sprites,
            otherwise on the validation pictures.
        num_clips: synthetic clips to choose on.
        output: the bundle to write; default ``NAME.vinfer`` in the folder for bundles.
        progress: takes a line for each step.

    Returns:
        The bundle's path.

    Raises:
        TrainingError: it is not the folder of a finished training, or its data can't be read.
        BundleError: thresholds are chosen on clips, and the detector is not there.
        ConfigError: a field can't stand in a manifest.
        ModelOutputError: the graph does not give PyTorch's logits.
        MissingDependencyError: PyTorch, onnx or onnxscript is not installed.
        OutputError: the bundle can't be written.
    """
    from vinfer.training.training_folder import load_trained

    report = progress or (lambda _: None)
    report(f"reading {folder}")
    trained = load_trained(folder)
    kind = trained.config.data.kind
    is_sprites = trained.config.data.is_sprites
    symmetric = _symmetric(trained) if is_sprites else ()
    picture = _clip_sized(trained) if kind == "sprites" else _as_trained(trained)
    report("exporting the graph and comparing it with PyTorch")
    graph = checked_graph(
        trained.network, classes=trained.classes, predicates=trained.predicates, picture=picture
    )
    text = BundleText(
        name=name,
        version=version,
        detector=detector,
        trained_on=_trained_on(trained),
        licence=licence or (SPRITES_LICENCE if is_sprites else "not stated"),
        notes=f"Configuration: {trained.config.model_dump_json(exclude={'threads'})}.",
        limits=SPRITES_LIMITS if is_sprites else "",
    )
    fields: dict[str, Any] = {
        "classes": trained.classes,
        "predicates": trained.predicates,
        "picture": picture,
        "text": text,
        "symmetric": symmetric,
    }
    quality: dict[str, Any] = {"validation pictures": {"mAP*": round(trained.map_star, 4)}}
    if events is None:
        if is_sprites:
            report(f"choosing thresholds of events on {num_clips} synthetic clips")
            with tempfile.TemporaryDirectory() as place:
                scored = pack_relation_graph(
                    Path(place) / "scored.vinfer", graph, events={}, **fields
                )
                events, figures = _on_clips(Bundle.open(scored), detector, symmetric, num_clips)
            quality["events on the clips that thresholds were chosen on"] = figures
        else:
            report("choosing thresholds of events on the validation pictures")
            events, figures = _on_pictures(trained)
            quality["events on the validation pictures"] = figures
    return pack_relation_graph(
        output or default_bundle_dir() / f"{name}.vinfer",
        graph,
        events=events,
        quality=quality,
        **fields,
    )


def picture_preprocess(
    settings: BatchSettings, short_side: int, long_side: int
) -> PicturePreprocess:
    """How a manifest says that pictures are normalised as in training, at such sizes."""
    from vinfer.training.picture_tensors import on_bytes

    return PicturePreprocess(
        short_side=short_side,
        long_side=long_side,
        mean=on_bytes(settings.mean),
        std=on_bytes(settings.std),
    )


def _on_clips(
    bundle: Bundle, detector: str, symmetric: tuple[str, ...], num_clips: int
) -> tuple[dict[str, EventThresholds], dict[str, Any]]:
    from vinfer.training.clip_thresholds import (
        ScoredClip,
        choose_event_thresholds,
        clips_with_cuts,
        score_clip,
        seen_objects,
    )
    from vinfer.training.sprites import SpriteClip

    # Pictures are small: clips side by side use more of the cores than one picture can.
    options = SessionOptions(provider="cpu", threads=1)
    detector_bundle = Bundle.open(find_bundle(detector))
    with (
        Relator(bundle, options) as relator,
        Detector(detector_bundle, options) as detect,
        ThreadPoolExecutor(usable_threads()) as threads,
    ):

        def score(clip: SpriteClip) -> ScoredClip:
            return score_clip(relator, clip, seen_objects(clip, detect))

        clips = list(threads.map(score, clips_with_cuts(num_clips)))
        chosen = choose_event_thresholds(clips, relator.predicates, symmetric=symmetric)
    figures = {name: each.to_dict() for name, each in chosen.items()}
    return {name: each.thresholds for name, each in chosen.items()}, figures


def _on_pictures(
    trained: TrainedRelations,
) -> tuple[dict[str, EventThresholds], dict[str, Any]]:
    from vinfer.training.relation_scoring import score_pairs
    from vinfer.training.thresholds import choose_thresholds, event_thresholds

    _, validation = trained.config.data.load()
    scored = score_pairs(trained.network, validation, trained.config.batch_settings())
    chosen = choose_thresholds(
        scored.scores,
        scored.labels,
        trained.predicates,
        candidates=trained.predicates,
        least_precision=LEAST_PRECISION,
    )
    figures = {name: each.to_dict() for name, each in chosen.items()}
    return event_thresholds(chosen), figures


def _as_trained(trained: TrainedRelations) -> PicturePreprocess:
    settings = trained.config.batch_settings()
    return picture_preprocess(settings, settings.short_side, settings.long_side)


def _clip_sized(trained: TrainedRelations) -> PicturePreprocess:
    """Sprites are of one size in pixels, in stills and in the larger frames of clips.

    So frames have to be resized by the factor that the stills were, not to the same size.
    """
    from vinfer.training.sprites import CLIP_SIZE, STILL_SIZE

    settings = trained.config.batch_settings()
    still, _ = resized_size(
        *STILL_SIZE, short_side=settings.short_side, long_side=settings.long_side
    )
    short, long = (round(side * still / STILL_SIZE[0]) for side in sorted(CLIP_SIZE))
    return picture_preprocess(settings, short, long)


def _symmetric(trained: TrainedRelations) -> tuple[str, ...]:
    from vinfer.training.sprites import SYMMETRIC

    return tuple(name for name in SYMMETRIC if name in trained.predicates)


def _trained_on(trained: TrainedRelations) -> str:
    start = trained.config.network.weights
    return _named(trained.config.data) + ("" if start is None else f"; its trunk {_before(start)}")


def _before(start: Path) -> str:
    """What weights that a training started from had been trained on, where their folder says so."""
    from vinfer.training.training_folder import RECORD, read_record

    if not (start.parent / RECORD).exists():
        return f"started from {start.name}"
    return f"before on {_named(read_record(start.parent).config.data)}"


def _named(data: Source) -> str:
    if data.kind == "sprites":
        return f"{data.train_pictures} synthetic pictures (docs/sprites.md), seed {data.train_seed}"
    if data.kind == "sprite_clips":
        parts = [f"{data.frames_per_clip} frames of each of {data.train_clips} synthetic clips"]
        if data.train_hard_clips:
            parts.append(f"{data.train_hard_clips} hard ones")
        if data.train_singles:
            parts.append(f"{data.train_singles} single frames")
        return f"{' and '.join(parts)} (docs/sprites.md), seeds from {data.train_seed}"
    if data.kind == "vrd":
        return f"VRD (Lu et al. 2016; research use only), {data.train_annotations.name}"
    if data.kind == "open_images":
        return f"Open Images, relations of {data.train_relations.name}"
    return f"pictures of {data.train_annotations.name}, relations of {data.train_relations.name}"
