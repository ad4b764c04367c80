"""Writing stills: PNG pictures, boxes in COCO's format and the relations between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from vinfer.errors import MissingDependencyError, TrainingError
from vinfer.stores.files import output_error
from vinfer.training.relation_data import RelationData, UInt8Image

RELATIONS_SCHEMA = "vinfer-relations-truth/1"

Progress = Callable[[int, int], None]
"""Takes the number of pictures written and of all."""


def write_stills(data: RelationData, folder: Path | str, progress: Progress | None = None) -> None:
    """Write a data set to where `coco_relations.load_coco_relations` reads it back.

    Args:
        data: with pixels; boxes are written as they are.
        folder: gets ``images/NAME.png``, ``annotations.json`` and ``relations.json``; files of
            these names are replaced.
        progress: called after each picture.

    Raises:
        TrainingError: the data has no pixels.
        MissingDependencyError: PyAV is not installed.
        OutputError: a file can't be written.
    """
    if data.read is None:
        raise TrainingError("found a data set without pictures, expected one with; pass `read`")
    folder = Path(folder)
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(data.pictures):
            content = png(data.read(picture))
            (folder / "images" / f"{picture.name}.png").write_bytes(content)
            if progress is not None:
                progress(number + 1, len(data.pictures))
        coco, relations = coco_documents(data)
        (folder / "annotations.json").write_text(json.dumps(coco) + "\n")
        (folder / "relations.json").write_text(json.dumps(relations) + "\n")
    except OSError as exc:
        raise output_error(folder, exc) from exc


def coco_documents(data: RelationData) -> tuple[dict[str, Any], dict[str, Any]]:
    """The annotations in COCO's format, and the relations; all ids count from 1.

    Args:
        data: every picture with its size.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    relations: dict[str, Any] = {}
    for number, picture in enumerate(data.pictures, 1):
        if picture.size is None:
            raise TrainingError(f"picture {picture.name}: found no size, expected one")
        height, width = picture.size
        name = f"{picture.name}.png"
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        ids = []
        for label, (x1, y1, x2, y2) in zip(
            picture.labels.tolist(), picture.boxes.tolist(), strict=True
        ):
            ids.append(len(annotations) + 1)
            annotations.append(
                {
                    "id": ids[-1],
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        relations[str(number)] = {
            "kept": ids,
            "relations": [
                [ids[s], data.predicates[p], ids[o], "sure"]
                for s, p, o in picture.triplets.tolist()
            ],
        }
    categories = [{"id": k, "name": name} for k, name in enumerate(data.classes, 1)]
    return (
        {"images": images, "annotations": annotations, "categories": categories},
        {
            "schema": RELATIONS_SCHEMA,
            "predicates": list(data.predicates),
            "exhaustive": data.exhaustive,
            "images": relations,
        },
    )


def png(image: UInt8Image) -> bytes:
    """A PNG file of a picture, uint8 ``[height, width, 3]`` RGB.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as exc:
        raise MissingDependencyError.of("PyAV", "video", exc) from exc
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
