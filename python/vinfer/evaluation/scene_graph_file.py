"""Scene graphs of pictures, true or predicted, in JSON (``vinfer-scene-graphs/1``)."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.types import Float32Array

SCHEMA = "vinfer-scene-graphs/1"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PictureObjects:
    """Objects of a picture: their class names, and boxes float32 ``[n, 4]`` xyxy in pixels."""

    classes: tuple[str, ...]
    boxes: Float32Array

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def none(cls) -> PictureObjects:
        """No object."""
        return cls((), np.zeros((0, 4), np.float32))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SceneGraph:
    """Objects of a picture and relations between them.

    Attributes:
        objects: None where predictions are about the annotated objects.
        relations: by (subject, predicate, object) its score, 1 if true; subject and object are
            indices of objects. In ascending order of the indices.
        verified: classes that are verified as present or absent beside those of the relations.
    """

    objects: PictureObjects | None
    relations: dict[tuple[int, str, int], float]
    verified: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SceneGraphs:
    """What a file holds.

    Attributes:
        path: of the file, for messages.
        predicates: the truth's vocabulary; empty for predictions.
        pictures: by name, in alphabetical order.
    """

    path: Path
    predicates: tuple[str, ...]
    pictures: dict[str, SceneGraph]

    @property
    def has_objects(self) -> bool:
        """Whether the relations are between objects of the file's own."""
        return any(graph.objects is not None for graph in self.pictures.values())


def load_true_scene_graphs(path: Path | str) -> SceneGraphs:
    """Read the truth: its ``predicates``; a relation is a row ``[subject, predicate, object]``.

    Raises:
        SourceNotFoundError: the file can't be opened.
        InputError: it is not valid; the message names the picture.
    """
    return _load(Path(path), scored=False)


def load_predicted_scene_graphs(path: Path | str) -> SceneGraphs:
    """Read predictions: a relation is a row ``[subject, predicate, object, score]``.

    Raises:
        SourceNotFoundError: the file can't be opened.
        InputError: it is not valid; the message names the picture.
    """
    return _load(Path(path), scored=True)


def _load(path: Path, *, scored: bool) -> SceneGraphs:
    try:
        data = json.loads(path.read_bytes())
    except OSError as exc:
        raise SourceNotFoundError(
            f"can't read {path}: {exc.strerror}; expected scene graphs ({SCHEMA})"
        ) from exc
    except ValueError as exc:
        raise InputError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise InputError(f'{path}: found schema {found!r}, expected "{SCHEMA}"')
    pictures = {}
    where = str(path)
    try:
        predicates = () if scored else tuple(map(str, data["predicates"]))
        for name in sorted(data["pictures"]):
            where = f"{path}: picture {name}"
            pictures[name] = _picture(data["pictures"][name], scored)
    except KeyError as exc:
        raise InputError(f"{where}: found no {exc.args[0]!r} where {SCHEMA} needs it") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise InputError(f"{where}: not valid {SCHEMA}: {exc}") from exc
    if len({graph.objects is None for graph in pictures.values()}) > 1:
        raise InputError(
            f"{path}: found objects in some pictures only, expected them in all (predictions on "
            "detected boxes) or in none (on the annotated boxes)"
        )
    return SceneGraphs(path, predicates, pictures)


def _picture(data: dict[str, Any], scored: bool) -> SceneGraph:
    objects = None if scored and "objects" not in data else _objects(data["objects"])
    relations: dict[tuple[int, str, int], float] = {}
    for row in data["relations"]:
        if not isinstance(row, list) or len(row) != 3 + scored:
            expected = "[subject, predicate, object" + (", score]" if scored else "]")
            raise ValueError(f"found relation {row}, expected {expected}")
        subject, predicate, object_ = _index(row[0]), str(row[1]), _index(row[2])
        if subject == object_:
            raise ValueError(f"found relation {row} of an object with itself")
        score = float(row[3]) if scored else 1.0
        if math.isnan(score):
            raise ValueError(f"found relation {row}, expected a score that is a number")
        if relations.setdefault((subject, predicate, object_), score) != score:
            raise ValueError(f"found two scores of {[subject, predicate, object_]}, expected one")
    return SceneGraph(
        objects, dict(sorted(relations.items())), frozenset(map(str, data.get("verified", ())))
    )


def _objects(rows: list[dict[str, Any]]) -> PictureObjects:
    boxes: Float32Array = np.array([row["box"] for row in rows], np.float32)
    if rows and boxes.shape != (len(rows), 4):
        raise ValueError("found a box without four numbers, expected [x1, y1, x2, y2]")
    boxes = boxes.reshape(-1, 4)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] >= boxes[:, :2]).all()):
        raise ValueError("found a box that is not finite with x1 <= x2 and y1 <= y2")
    return PictureObjects(tuple(str(row["class"]) for row in rows), boxes)


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"found {value!r}, expected the index of an object")
    return value
